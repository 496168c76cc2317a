"""What a score follows from, besides the review: rules, model, engine, format."""

from typing import Any

from reviewbeam.components.common import artifacts
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.language_detector import check_same
from reviewbeam.components.common.model_directory import ModelDirectory, ModelMetadata
from reviewbeam.components.common.score_config import ScoreConfig
from reviewbeam.components.inference.handler import ClassifierHandler
from reviewbeam.components.inference.resolve import ResolvedInference
from reviewbeam.components.validation.excluded import load_excluded_ids
from reviewbeam.components.validation.rules import ReviewRules
from reviewbeam.pipelines.scores_manifest import Manifest

# What of the way a model is run decides on the last digits of a score.
_EXACT = ("engine", "batch_tokens", "xla", "engine_fingerprint")


def review_rules(config: ScoreConfig, model: ModelMetadata) -> ReviewRules:
    """Makes the rules that rows are held against.

    Raises:
      UserError: the model's language detector isn't at hand, or there is none.
    """
    detector = model.language_detector
    if detector is not None:
        check_same(detector)
    elif config.rules.languages is not None and config.columns.language is None:
        raise UserError(
            "rules.languages needs columns.language: this model doesn't detect "
            "languages."
        )
    return ReviewRules(
        config.rules,
        detect_language=detector is not None,
        excluded_ids=load_excluded_ids(config.exclude_ids),
        keep_raw=config.rejects.keep_raw,
    )


def settings(
    config: ScoreConfig, model: ModelDirectory, resolved: ResolvedInference
) -> dict[str, Any]:
    """Returns all that a score's bytes follow from, besides the review."""
    return {
        "format": artifacts.FORMAT,
        "model": model.core_fingerprint,
        "labels": list(model.metadata.labels.names),
        "inference": {name: getattr(resolved, name) for name in _EXACT},
        "chunk_rows": config.inference.chunk_rows,
        "output_format": config.output_format,
        "config": config.model_dump(
            mode="json",
            include={
                "format": True,
                "csv_delimiter": True,
                "columns": True,
                "rejects": True,
                "slice_bytes": True,
                "rules": {
                    "min_characters",
                    "max_characters",
                    "languages",
                    "actions",
                },
            },
        ),
    }


def classifier(
    config: ScoreConfig,
    model: ModelDirectory,
    resolved: ResolvedInference,
    **folders: str | None,
) -> ClassifierHandler:
    """Makes the stage that runs the model."""
    labels = model.metadata.labels
    return ClassifierHandler(
        model,
        resolved,
        len(labels.names),
        labels.type,
        config.inference.max_faults,
        **folders,
    )


def staging_conditions(config: ScoreConfig, rules: ReviewRules) -> dict[str, Any]:
    """Returns what else decides which rows a run scores: work is staged apart by it."""
    return {
        "on_damaged_file": config.on_damaged_file,
        "excluded_ids": sorted(rules.excluded_ids),
    }


def check_format(config: ScoreConfig, manifest: Manifest) -> None:
    """Refuses a folder that holds scores in another format.

    Raises:
      UserError: says which.
    """
    for version in manifest.data["versions"].values():
        if (found := version["settings"]["output_format"]) != config.output_format:
            raise UserError(
                f"The output holds scores as {found}, and output_format asks for "
                f"{config.output_format}: a folder of both can't be read as one "
                "table. Choose another --output."
            )
