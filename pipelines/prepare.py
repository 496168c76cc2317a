"""`prepare`: raw review files to a validated, tokenized dataset."""

import dataclasses
import math
import os
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from reviewbeam.components.common import artifacts, publishing
from reviewbeam.components.common.encoder_directory import (
    EncoderDirectory,
    open_encoder,
)
from reviewbeam.components.common.errors import ReviewbeamError, UserError
from reviewbeam.components.common.host_copies import origin
from reviewbeam.components.common.language_detector import describe_detector
from reviewbeam.components.common.places import (
    Place,
    make_private,
    names_in,
    remove_tree,
)
from reviewbeam.components.common.prepare_config import PrepareConfig
from reviewbeam.components.common.run_record import RunRecord
from reviewbeam.components.ingestion.files import (
    CorpusFile,
    FileSlice,
    changed_files,
    find_files,
    slice_file,
)
from reviewbeam.components.ingestion.lines import DamagedFileError
from reviewbeam.components.tokenization.tokenizer import Tokenizer
from reviewbeam.components.validation import drift as drifts
from reviewbeam.components.validation import statistics as stats
from reviewbeam.components.validation.excluded import load_excluded_ids
from reviewbeam.components.validation.rules import ReviewRules
from reviewbeam.pipelines.data_gate import check_statistics, pass_gate
from reviewbeam.pipelines.dataset_facts import DatasetFacts, check_classes, refuse_all
from reviewbeam.pipelines.flink_runner import end_earlier_job
from reviewbeam.pipelines.launching import launching
from reviewbeam.pipelines.options import with_processes
from reviewbeam.pipelines.prepare_graph import REJECTS, STATISTICS, PrepareGraph
from reviewbeam.pipelines.quiet import quiet_workers
from reviewbeam.pipelines.watching import Show

KIND = "dataset"
SCHEMA_KIND = "schema"  # of an output without examples
SCHEMA = "schema.pbtxt"
REPORT = "report.json"  # what stopped a dataset, beside what it would have held
_WORK = "_work"  # what workers tell the launcher; gone when the dataset is published
_MIN_PARTITIONS = 8
_SMALL_BYTES = 16 * 2**20  # of input; below, processes cost more than they gain
_COMPRESSION = 5  # bytes of text behind a compressed one, to be on the safe side


def prepare(
    config: PrepareConfig,
    output: Place,
    options: PipelineOptions,
    *,
    overwrite: bool = False,
    infer_schema: bool = False,
    lock: bool = True,
    show: Show = None,
) -> tuple[dict[str, Any], bool]:
    """Makes a dataset, or with `infer_schema` only its schema and statistics.

    Args:
      config: of the job.
      output: the dataset's place.
      options: Beam's.
      overwrite: replace an output made from something else.
      infer_schema: write no examples.
      lock: keep other runs out of an output in a store that can do so.
      show: is told how far it is, from a thread.

    Returns:
      Its manifest, and whether it was made now rather than found.

    Raises:
      UserError: the config, the corpus or the output can't be used.
      DataGateError: too many rejects, or an anomaly that the config calls fatal. The
        report, the rejects and the statistics are in `OUTPUT.failed`.
      BusyError: another run makes the same output.
    """
    encoder = open_encoder(config.encoder)
    rules = review_rules(config)
    _check_config(config, encoder)
    baseline = config.baseline and drifts.load_baseline(config.baseline)
    files = find_files(config)
    kind = SCHEMA_KIND if infer_schema else KIND
    identity = _identity(config, encoder, files, kind)
    if publishing.is_done(output, kind, identity, overwrite=overwrite):
        return artifacts.read_manifest(output, kind), False
    run = RunRecord("prepare", recover=end_earlier_job)
    with publishing.staged_output(
        output,
        "prepare",
        run=run,
        overwrite=overwrite,
        lock=lock,
        evidence=(REJECTS, STATISTICS, SCHEMA, REPORT),
    ) as staging:
        (staging / REJECTS).mkdir(mode=0o700)
        (staging / _WORK).mkdir(mode=0o700)
        graph = PrepareGraph(
            config=config,
            rules=rules,
            vocabulary=os.path.abspath(encoder.vocabulary),
            slices=[piece for file in files for piece in _slices(file, config)],
            partitions=_partitions(files, config),
            staging=staging,
            work=staging / _WORK,
            with_shards=not infer_schema,
            show=show,
        )
        if _size(files) > _SMALL_BYTES:
            options = with_processes(options)
        facts = DatasetFacts(config, files, _run(graph, files, options, run))
        described, hashes = _settle(graph, facts, encoder, baseline)
        run.note(
            runner=options.get_all_options()["runner"],
            input=[file.path for file in files],
            encoder=origin(encoder.path),
            config=config.model_dump(mode="json"),
        )
        run.check()
        manifest = artifacts.write_manifest(
            staging, kind, identity, files=hashes, hashes=hashes, **described
        )
    return manifest, True


def _settle(
    graph: PrepareGraph, facts: DatasetFacts, encoder: EncoderDirectory, baseline: Any
) -> tuple[dict[str, Any], dict[str, str]]:
    """Completes the staged files and passes the gate.

    Returns:
      The facts for the manifest, and the names of the files that it describes, each
      with its SHA-256 if whoever wrote it has told that.

    Raises:
      UserError: no row became an example, or a class has none.
      DataGateError: the config doesn't allow what was found.
    """
    config, staging = graph.config, graph.staging
    rejects = names_in(staging / REJECTS)
    make_private(staging / REJECTS, rejects)
    if not facts.written:  # without examples there are no statistics
        pass_gate(config, facts.describe([]), [], staging / REPORT)
        refuse_all(facts, config)
    shards = []
    if graph.with_shards:
        shards = facts.complete_shards(staging, graph.partitions)
    schema, anomalies, drift = check_statistics(
        staging / STATISTICS, config.schema_rules, baseline, facts.places()
    )
    for part in (schema.feature, schema.string_domain):
        part.sort(key=lambda item: item.name)  # TFDV's order is the workers'
    stats.write_schema(schema, staging / SCHEMA)
    remove_tree(graph.work)
    described = facts.describe(shards) | {
        "text": config.text.model_dump(mode="json"),
        "split": config.split.model_dump(mode="json"),
        "columns": config.columns.model_dump(mode="json"),
        "gold": config.gold,
        "language_detector": _detector(config),
        "vocabulary_sha256": encoder.vocabulary_sha256,
        "anomalies": [str(anomaly) for anomaly in anomalies],
        "drift": [dataclasses.asdict(distance) for distance in drift],
    }
    if graph.with_shards:
        check_classes(described, config)
    else:  # zeros would say that the splits are empty
        described |= {"splits": {}, "augmented": None}
    pass_gate(config, described, anomalies, staging / REPORT)
    hashes = {shard.name: shard.sha256 for shard in shards}
    others = [SCHEMA, *(f"{REJECTS}/{name}" for name in rejects)]
    return described, hashes | dict.fromkeys(others, "")


def review_rules(config: PrepareConfig) -> ReviewRules:
    """Makes the record rules of a config.

    Raises:
      UserError: `exclude_ids` can't be read, or the language detector isn't there.
    """
    return ReviewRules(
        config.rules,
        labels=config.labels,
        split=config.split,
        detect_language=_detector(config) is not None,
        excluded_ids=load_excluded_ids(config.exclude_ids),
        keep_raw=config.rejects.keep_raw,
    )


def _run(
    graph: PrepareGraph,
    files: list[CorpusFile],
    options: PipelineOptions,
    run: RunRecord,
) -> dict[str, Any]:
    """Runs the pipeline over files that stay as they are.

    Raises:
      ReviewbeamError: a file changed or vanished meanwhile.
    """
    quiet_workers()
    try:
        with launching(options, "prepare", run) as ready:
            told = graph.run(ready)
    except Exception:
        _refuse_changed(files)  # the likelier cause
        raise
    _refuse_changed(files)
    return told


def _refuse_changed(files: list[CorpusFile]) -> None:
    for path, what in changed_files(files).items():
        raise ReviewbeamError(
            f"{path}: {what}. Nothing was published; run it again when the file is "
            "complete."
        )


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
            and artifacts.read_manifest(config.baseline, KIND)["fingerprint"],
            "language_detector": _detector(config),
            "vocabulary": encoder.vocabulary_sha256,
            "files": [[file.name, file.format, file.sha256] for file in files],
        }
    )


def _detector(config: PrepareConfig) -> dict[str, str] | None:
    return describe_detector() if config.text.language == "detect" else None


def _slices(file: CorpusFile, config: PrepareConfig) -> list[FileSlice]:
    try:
        return slice_file(file, config.slice_bytes)
    except DamagedFileError as error:
        if config.on_damaged_file == "salvage":  # the reader will meet it again
            return [FileSlice(file, 0, 0, 0)]
        raise UserError(f"{file.path} is damaged: {error}. Copy it again.") from None


def _partitions(files: list[CorpusFile], config: PrepareConfig) -> int:
    return max(_MIN_PARTITIONS, math.ceil(_size(files) / config.partition_bytes))


def _size(files: list[CorpusFile]) -> int:
    """Bytes of all files, about as many as they are when decompressed."""
    return sum(
        file.size * (1 if file.compression == "none" else _COMPRESSION)
        for file in files
    )
