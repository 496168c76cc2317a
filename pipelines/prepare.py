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
from reviewbeam.components.ingestion.read import check_header
from reviewbeam.components.validation import drift as drifts
from reviewbeam.components.validation import statistics as stats
from reviewbeam.components.validation.rules import ReviewRules
from reviewbeam.pipelines.data_gate import check_statistics, pass_gate
from reviewbeam.pipelines.dataset_facts import (
    DatasetFacts,
    check_classes,
    refuse_all,
)
from reviewbeam.pipelines.dataset_report import put_dataset_report
from reviewbeam.pipelines.flink_runner import end_earlier_job
from reviewbeam.pipelines.launching import launching
from reviewbeam.pipelines.options import with_processes
from reviewbeam.pipelines.prepare_graph import REJECTS, STATISTICS, PrepareGraph
from reviewbeam.pipelines.prepare_settings import (
    check_config,
    detector,
    identity,
    review_rules,
)
from reviewbeam.pipelines.quiet import quiet_workers
from reviewbeam.pipelines.report_file import REPORT_PAGE, page_beside
from reviewbeam.pipelines.watching import Show

KIND = "dataset"
SCHEMA_KIND = "schema"  # of an output without examples
SCHEMA = "schema.pbtxt"
REPORT = "report.json"  # what stopped a dataset, beside what it would have held
_EVIDENCE = (REJECTS, STATISTICS, SCHEMA, REPORT, REPORT_PAGE)
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
      Its manifest with `report`, the name of its page, and whether it was made now.

    Raises:
      UserError: the config, the corpus or the output can't be used.
      DataGateError: too many rejects, or a fatal anomaly; `OUTPUT.failed` tells more.
      BusyError: another run makes the same output.
    """
    encoder = open_encoder(config.encoder)
    rules = review_rules(config)
    check_config(config, encoder)
    baseline = config.baseline and drifts.load_baseline(config.baseline)
    files = find_files(config)
    kind = SCHEMA_KIND if infer_schema else KIND
    fingerprint = identity(config, encoder, files, kind)
    if publishing.is_done(output, kind, fingerprint, overwrite=overwrite):
        return artifacts.read_manifest(output, kind) | page_beside(output), False
    check_header(config, files[0])  # before what takes long
    run = RunRecord("prepare", recover=end_earlier_job)
    with publishing.staged_output(
        output, "prepare", run=run, overwrite=overwrite, lock=lock, evidence=_EVIDENCE
    ) as staging:
        shards = not infer_schema
        graph = _graph(config, rules, encoder, files, staging, with_shards=shards)
        facts = DatasetFacts(config, files, _run(graph, files, options, run, show))
        described, hashes = _settle(graph, facts, encoder, baseline)
        run.note(
            runner=options.get_all_options()["runner"],
            input=[file.path for file in files],
            encoder=origin(encoder.path),
            config=config.model_dump(mode="json"),
        )
        run.check()
        put_dataset_report(staging / REPORT_PAGE, described, config, fingerprint)
        manifest = artifacts.write_manifest(
            staging, kind, fingerprint, files=hashes, hashes=hashes, **described
        )
    return manifest | page_beside(output), True


def _graph(
    config: PrepareConfig,
    rules: ReviewRules,
    encoder: EncoderDirectory,
    files: list[CorpusFile],
    staging: Place,
    *,
    with_shards: bool,
) -> PrepareGraph:
    """Makes the folders that workers write to, and plans what they do."""
    (staging / REJECTS).mkdir(mode=0o700)
    (staging / _WORK).mkdir(mode=0o700)
    return PrepareGraph(
        config=config,
        rules=rules,
        vocabulary=os.path.abspath(encoder.vocabulary),
        slices=[piece for file in files for piece in _slices(file, config)],
        partitions=_partitions(files, config),
        staging=staging,
        work=staging / _WORK,
        with_shards=with_shards,
    )


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
        "language_detector": detector(config),
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


def _run(
    graph: PrepareGraph,
    files: list[CorpusFile],
    options: PipelineOptions,
    run: RunRecord,
    show: Show,
) -> dict[str, Any]:
    """Runs the pipeline over files that stay as they are.

    Raises:
      ReviewbeamError: a file changed or vanished meanwhile.
    """
    quiet_workers()
    if _size(files) > _SMALL_BYTES:
        options = with_processes(options)
    try:
        with launching(options, "prepare", run) as ready:
            told = graph.run(ready, show)
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
