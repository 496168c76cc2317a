"""What `prepare` holds its config, encoder and files to before anything runs."""

from reviewbeam.components.common import artifacts
from reviewbeam.components.common.encoder_directory import EncoderDirectory
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.language_detector import describe_detector
from reviewbeam.components.common.prepare_config import PrepareConfig
from reviewbeam.components.ingestion.files import CorpusFile
from reviewbeam.components.tokenization.tokenizer import Tokenizer
from reviewbeam.components.validation import statistics as stats
from reviewbeam.components.validation.anomalies import check_anomaly_kinds
from reviewbeam.components.validation.excluded import load_excluded_ids
from reviewbeam.components.validation.rules import ReviewRules


def review_rules(config: PrepareConfig) -> ReviewRules:
    """Makes the record rules of a config.

    Raises:
      UserError: `exclude_ids` can't be read, or the language detector isn't there.
    """
    return ReviewRules(
        config.rules,
        labels=config.labels,
        split=config.split,
        detect_language=detector(config) is not None,
        excluded_ids=load_excluded_ids(config.exclude_ids),
        keep_raw=config.rejects.keep_raw,
    )


def check_config(config: PrepareConfig, encoder: EncoderDirectory) -> None:
    """Refuses a config that doesn't fit the encoder, or names a bad schema.

    Raises:
      UserError: says what doesn't fit.
    """
    positions = encoder.architecture.positions
    if config.text.max_tokens > positions:
        raise UserError(
            f"text.max_tokens is {config.text.max_tokens}; the encoder "
            f"{config.encoder!r} reads at most {positions}."
        )
    rows = encoder.architecture.vocabulary
    largest = Tokenizer(encoder.vocabulary, config.text).largest_id
    if largest >= rows:
        raise UserError(
            f"The vocabulary of the encoder {config.encoder!r} has token ids up to "
            f"{largest}, its embeddings only {rows} rows. Bring the encoder again."
        )
    check_anomaly_kinds(config.schema_rules)
    if config.schema_rules.schema_file is not None:
        stats.load_schema(config.schema_rules.schema_file)


def identity(
    config: PrepareConfig,
    encoder: EncoderDirectory,
    files: list[CorpusFile],
    kind: str,
) -> str:
    """Fingerprint of all that the dataset follows from, wherever it lies."""
    elsewhere = {"input", "encoder", "exclude_ids", "baseline"}
    data = config.model_dump(mode="json", exclude=elsewhere)
    schema_file = data["schema_rules"].pop("schema_file")
    return artifacts.fingerprint(
        {
            "job": "prepare",
            "kind": kind,
            "format": artifacts.FORMAT,
            "config": data,
            "schema": schema_file and artifacts.file_sha256(schema_file),
            "exclude_ids": config.exclude_ids
            and artifacts.file_sha256(config.exclude_ids),
            "baseline": config.baseline
            and artifacts.read_manifest(config.baseline, "dataset")["fingerprint"],
            "language_detector": detector(config),
            "vocabulary": encoder.vocabulary_sha256,
            "files": [[file.name, file.format, file.sha256] for file in files],
        }
    )


def detector(config: PrepareConfig) -> dict[str, str] | None:
    """Returns what a manifest says of the language detector; None: it isn't asked."""
    return describe_detector() if config.text.language == "detect" else None
