"""The header of a model card, as the Hugging Face hub reads it."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from reviewbeam.components.common.model_directory import ModelMetadata

_LANGUAGE = re.compile("[a-z]{2,3}")
METRICS = {  # key -> how a person reads it
    "rows": "examples",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "error": "mean absolute error",
    "loss": "loss",
}


def header(
    metadata: ModelMetadata,
    history: Mapping[str, Any],
    by_language: Mapping[str | None, Mapping[str, Any]],
) -> str:
    """Returns the header as YAML between dashes; see `model_card`.

    Nothing that a user's data could say otherwise is in it.
    """
    languages = {
        code
        for code in metadata.training_statistics.get("train", {}).get("languages", {})
        if _LANGUAGE.fullmatch(code)
    }
    results = [
        _result(metadata, language, metrics)
        for language, metrics in [
            (None, history.get("validation")),
            *_known(by_language),
        ]
        if metrics
    ]
    data = {
        "language": sorted(languages),
        "library_name": "keras",
        "pipeline_tag": "text-classification",
        "tags": ["reviewbeam", "reviews", "xlm-roberta"],
        "model-index": [{"name": model_name(metadata), "results": results}],
    }
    if not results:
        del data["model-index"]
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=False)
    return f"---\n{text}---"


def model_name(metadata: ModelMetadata) -> str:
    """Returns a name that tells the model from others."""
    return f"reviewbeam-{metadata.core_fingerprint()[:12]}"


def in_order(by_language: Mapping[str | None, Any]) -> list[tuple[str | None, Any]]:
    """Returns the pairs by language, the one that is not known first."""
    return sorted(by_language.items(), key=lambda item: item[0] or "")


def _known(by_language):
    return [
        (code, found)
        for code, found in in_order(by_language)
        if _LANGUAGE.fullmatch(code or "")
    ]


def _result(metadata, language: str | None, metrics) -> dict[str, Any]:
    dataset = {
        "name": f"dataset {metadata.dataset_fingerprint[:12]}",
        "type": "reviews",
        "split": "validation",
    }
    figures = [
        {"type": {"macro_f1": "f1"}.get(key, key), "name": name, "value": metrics[key]}
        for key, name in METRICS.items()
        if key != "rows" and metrics.get(key) is not None
    ]
    return {
        "task": {"type": "text-classification"},
        "dataset": dataset | ({"config": language} if language else {}),
        "metrics": figures,
    }
