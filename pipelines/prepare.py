"""`prepare`: raw review files to a validated, tokenized dataset."""

import math
import os
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from tensorflow_metadata.proto.v0 import statistics_pb2

from reviewbeam.components.common import artifacts, publishing
from reviewbeam.components.common.coders import register_record_batch_coder
from reviewbeam.components.common.encoder_directory import (
    EncoderDirectory,
    open_encoder,
)
from reviewbeam.components.common.errors import DataGateError, UserError
from reviewbeam.components.common.job_configs import PrepareConfig
from reviewbeam.components.examples.keys import SPLITS
from reviewbeam.components.examples.write import ShardInfo, WriteExamples
from reviewbeam.components.ingestion.files import (
    CorpusFile,
    FileSlice,
    find_files,
    slice_file,
)
from reviewbeam.components.ingestion.lines import DamagedFileError
from reviewbeam.components.ingestion.read import (
    ReadReviews,
    SliceSummary,
    check_summaries,
    line_offsets,
)
from reviewbeam.components.tokenization.tokenize import TokenizeReviews
from reviewbeam.components.tokenization.tokenizer import Tokenizer
from reviewbeam.components.validation import statistics as stats
from reviewbeam.components.validation.rules import ReviewRules
from reviewbeam.components.validation.validate import ValidateReviews, WriteRejects
from reviewbeam.pipelines.dataset_manifest import (
    account,
    check_classes,
    check_rejects,
    describe_labels,
    describe_split,
    refuse_damaged,
    with_empty_shards,
)

KIND = "dataset"
SCHEMA = "schema.pbtxt"
STATISTICS = "statistics.tfrecord"
REJECTS = "rejects"
_WORK = "_work"  # what workers tell the launcher; gone when the dataset is published
_MIN_PARTITIONS = 8
_COMPRESSION = 5  # bytes of text behind a compressed one, to be on the safe side


def prepare(
    config: PrepareConfig,
    output: Path,
    options: PipelineOptions,
    *,
    overwrite: bool = False,
) -> tuple[dict[str, Any], bool]:
    """Makes a dataset.

    Returns:
      Its manifest, and whether it was made now rather than found.

    Raises:
      UserError: the config, the corpus or the output can't be used.
      DataGateError: too many rejects, or an anomaly that the config calls fatal.
      BusyError: another run makes the same output.
    """
    encoder = open_encoder(config.encoder)
    _check_config(config, encoder)
    files = find_files(config)
    identity = _identity(config, encoder, files)
    if publishing.is_done(output, KIND, identity, overwrite=overwrite):
        return artifacts.read_manifest(output, KIND), False
    with publishing.staged_output(output, "prepare", overwrite=overwrite) as staging:
        (staging / REJECTS).mkdir(mode=0o700)
        (staging / _WORK).mkdir()
        partitions = _partitions(files, config)
        _run_pipeline(config, encoder, files, staging, partitions, options)
        facts, published = _settle(config, encoder, files, staging, partitions)
        manifest = artifacts.write_manifest(
            staging, KIND, identity, files=published, **facts
        )
        publishing.add_to_run_record(
            staging,
            runner=options.get_all_options()["runner"],
            input=[file.path for file in files],
            encoder=str(encoder.path),
            config=config.model_dump(mode="json"),
        )
    return manifest, True


def _run_pipeline(
    config: PrepareConfig,
    encoder: EncoderDirectory,
    files: list[CorpusFile],
    staging: Path,
    partitions: int,
    options: PipelineOptions,
) -> None:
    register_record_batch_coder()
    slices = [piece for file in files for piece in _slices(file, config)]
    work = staging / _WORK
    with beam.Pipeline(options=options) as pipeline:
        read = (
            pipeline
            | "ListSlices" >> beam.Create(slices)
            | "ReadReviews" >> ReadReviews(config)
        )
        checked = read.reviews | "ValidateReviews" >> ValidateReviews(
            ReviewRules(config.rules, config.labels)
        )
        written = (
            checked.reviews
            | "TokenizeReviews" >> TokenizeReviews(encoder.vocabulary, config.text)
            | "WriteExamples" >> WriteExamples(config, os.fspath(staging), partitions)
        )
        summaries = read.summaries | "ListSummaries" >> beam.combiners.ToList()
        offsets = beam.pvalue.AsSingleton(
            summaries | "AddUpLines" >> beam.Map(line_offsets)
        )
        _ = checked.rejects | "WriteRejects" >> WriteRejects(
            os.fspath(staging / REJECTS),
            [file.name for file in files],
            offsets,
            partitions,
        )
        outcomes = (
            (checked.outcomes, written.outcomes)
            | "FlattenOutcomes" >> beam.Flatten()
            # ((file, outcome), rows)
            | "SumOutcomes" >> beam.CombinePerKey(sum)
            | "ListOutcomes" >> beam.combiners.ToList()
        )
        labels = (
            checked.labels
            # (label value, rows)
            | "SumLabels" >> beam.CombinePerKey(sum)
            | "ListLabels" >> beam.combiners.ToList()
        )
        shards = written.shards | "ListShards" >> beam.combiners.ToList()
        _ = summaries | "TellSummaries" >> beam.Map(
            artifacts.write_items, work / "summaries.json"
        )
        _ = outcomes | "TellOutcomes" >> beam.Map(
            artifacts.write_items, work / "outcomes.json"
        )
        _ = labels | "TellLabels" >> beam.Map(
            artifacts.write_items, work / "labels.json"
        )
        _ = shards | "TellShards" >> beam.Map(
            artifacts.write_items, work / "shards.json"
        )
        _ = (
            written.features
            | "GenerateStatistics" >> stats.GenerateStatistics()
            | "WriteStatistics" >> beam.Map(_write_statistics, staging / STATISTICS)
        )


def _settle(
    config: PrepareConfig,
    encoder: EncoderDirectory,
    files: list[CorpusFile],
    staging: Path,
    partitions: int,
) -> tuple[dict[str, Any], list[str]]:
    """Checks what the workers told; returns the manifest's facts and files."""
    work = staging / _WORK
    read, settled, wrote, labels = (
        artifacts.read_json(work / f"{what}.json")
        for what in ("summaries", "outcomes", "shards", "labels")
    )
    summaries = [SliceSummary(**item) for item in read]
    outcomes = {(file, outcome): rows for (file, outcome), rows in settled}
    shards = [ShardInfo(**item) for item in wrote]
    refuse_damaged(files, summaries)
    check_summaries(config, files, summaries)
    inputs = account(files, summaries, outcomes)
    shards = with_empty_shards(shards, staging, partitions)
    splits = {split: describe_split(split, shards, config) for split in SPLITS}
    label_values = describe_labels(config, labels)
    check_classes(config, splits, label_values)
    check_rejects(config, inputs)
    anomalies = _check_statistics(config, staging)
    rejects = sorted((staging / REJECTS).iterdir())
    for path in rejects:
        path.chmod(0o600)
    for path in work.iterdir():
        path.unlink()
    work.rmdir()
    facts = {
        "labels": config.labels.model_dump(mode="json"),
        "text": config.text.model_dump(mode="json"),
        "split": config.split.model_dump(mode="json"),
        "columns": config.columns.model_dump(mode="json"),
        "vocabulary_sha256": encoder.vocabulary_sha256,
        "splits": splits,
        "label_values": label_values,
        "inputs": inputs,
        "anomalies": [str(anomaly) for anomaly in anomalies],
    }
    published = [shard.name for shard in shards]
    published += [f"{REJECTS}/{path.name}" for path in rejects]
    return facts, [*published, SCHEMA]


def _check_config(config: PrepareConfig, encoder: EncoderDirectory) -> None:
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
    stats.check_anomaly_kinds(config.schema_rules)
    if config.schema_rules.schema_file is not None:
        stats.load_schema(config.schema_rules.schema_file)


def _identity(
    config: PrepareConfig, encoder: EncoderDirectory, files: list[CorpusFile]
) -> str:
    """Fingerprint of all that the dataset follows from, wherever it lies."""
    schema_file = config.schema_rules.schema_file
    return artifacts.fingerprint(
        {
            "job": "prepare",
            "format": artifacts.FORMAT,
            "config": config.model_dump(mode="json", exclude={"input", "encoder"}),
            "schema": schema_file and artifacts.file_sha256(schema_file),
            "vocabulary": encoder.vocabulary_sha256,
            "files": [[file.name, file.format, file.sha256] for file in files],
        }
    )


def _slices(file: CorpusFile, config: PrepareConfig) -> list[FileSlice]:
    try:
        return slice_file(file, config.slice_bytes)
    except DamagedFileError as error:
        raise UserError(f"{file.path} is damaged: {error}. Copy it again.") from None


def _partitions(files: list[CorpusFile], config: PrepareConfig) -> int:
    size = sum(
        file.size * (1 if file.compression == "none" else _COMPRESSION)
        for file in files
    )
    return max(_MIN_PARTITIONS, math.ceil(size / config.partition_bytes))


def _check_statistics(config: PrepareConfig, staging: Path) -> list[stats.Anomaly]:
    (record,) = tf.data.TFRecordDataset(os.fspath(staging / STATISTICS))
    statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(record.numpy())
    rules = config.schema_rules
    if rules.schema_file is None:
        schema = stats.infer_schema(statistics)
    else:
        schema = stats.load_schema(rules.schema_file)
    stats.write_schema(schema, staging / SCHEMA)
    anomalies = stats.find_anomalies(statistics, schema)
    fatal = [anomaly for anomaly in anomalies if stats.is_fatal(anomaly, rules)]
    if fatal:
        raise DataGateError(
            "The dataset's statistics don't fit the schema, and schema_rules.fatal "
            "stops on it; nothing was published:\n"
            + "\n".join(f"  - {anomaly}" for anomaly in fatal)
        )
    return anomalies


def _write_statistics(
    statistics: statistics_pb2.DatasetFeatureStatisticsList, path: Path
) -> None:
    with tf.io.TFRecordWriter(os.fspath(path)) as writer:
        writer.write(statistics.SerializeToString(deterministic=True))
