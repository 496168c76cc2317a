"""`score`: new reviews to labels, part by part, each row once."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from reviewbeam.components.common import artifacts
from reviewbeam.components.common.coders import register_record_batch_coder
from reviewbeam.components.common.columns import to_bytes, with_columns
from reviewbeam.components.common.corpus_config import TextRules
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.language_detector import check_same
from reviewbeam.components.common.model_directory import (
    ModelDirectory,
    ModelMetadata,
    open_model,
)
from reviewbeam.components.common.score_config import ScoreConfig
from reviewbeam.components.inference.decide import with_labels
from reviewbeam.components.inference.handler import SavedModelHandler
from reviewbeam.components.inference.parts import (
    Chunk,
    ChunkRecord,
    is_staged,
    write_part,
)
from reviewbeam.components.inference.safe_saved_model import check_saved_model
from reviewbeam.components.ingestion.files import (
    CorpusFile,
    FileSlice,
    changed_files,
    find_files,
    slice_file,
)
from reviewbeam.components.ingestion.lines import DamagedFileError
from reviewbeam.components.ingestion.read import ReadReviews, SliceSummary
from reviewbeam.components.tokenization.tokenizer import Tokenizer
from reviewbeam.components.validation.excluded import load_excluded_ids
from reviewbeam.components.validation.rules import ReviewRules
from reviewbeam.pipelines.console import quiet_workers
from reviewbeam.pipelines.scores_folder import ScoresFolder


@dataclasses.dataclass(frozen=True)
class ScoreReport:
    """What a run of `score` did."""

    version: str  # name of the partition: the model and all that changes bytes
    scored: list[dict[str, Any]]  # manifest entries of the files scored now
    known: int  # files that had been scored before
    total: int  # scores that the output holds of this version
    damaged: dict[str, str]  # path -> what is wrong; nothing of it was published


def score(
    config: ScoreConfig, model: Path, output: Path, options: PipelineOptions
) -> ScoreReport:
    """Scores the files that the output does not hold yet.

    Raises:
      UserError: the config, the model, the corpus or the output can't be used.
      DataGateError: too many rejects; the work stays staged.
      BusyError: another run writes the same output.
    """
    directory = open_model(os.fspath(model))
    check_saved_model(directory.saved_model, len(directory.metadata.labels.names))
    rules = _rules(config, directory.metadata)
    # A file is known by its path: the files of each night may have the same names.
    files = [dataclasses.replace(f, name=f.path) for f in find_files(config)]
    settings = _settings(config, directory)
    conditions = {
        "on_damaged_file": config.on_damaged_file,
        "excluded_ids": sorted(rules.excluded_ids),
    }
    with ScoresFolder(output, settings, conditions).locked() as folder:
        new = [file for file in files if not folder.has(file)]
        report = ScoreReport(
            folder.version, [], len(files) - len(new), folder.total(), {}
        )
        if new:
            slices, broken = _slices(config, new)
            summaries = _run_pipeline(
                config, rules, directory, slices, folder.staging, options
            )
            if config.on_damaged_file != "salvage":
                broken |= {s.file: s.damaged for s in summaries if s.damaged}
            broken |= changed_files(new)
            if broken and config.on_damaged_file == "fail":
                path, damage = min(broken.items())
                raise UserError(
                    f"{path} is damaged: {damage}. Deliver it again, or set "
                    "on_damaged_file: skip or salvage."
                )
            whole = [file for file in new if file.path not in broken]
            entries = folder.publish(config, whole, summaries)
            report = dataclasses.replace(
                report, scored=entries, total=folder.total(), damaged=broken
            )
        folder.finish(
            model=str(model.absolute()),
            runner=options.get_all_options()["runner"],
            input=[file.path for file in files],
            config=config.model_dump(mode="json"),
        )
    return report


def _rules(config: ScoreConfig, model: ModelMetadata) -> ReviewRules:
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


def _settings(config: ScoreConfig, model: ModelDirectory) -> dict[str, Any]:
    """All that a score's bytes follow from, besides the review."""
    return {
        "format": artifacts.FORMAT,
        "model": model.core_fingerprint,
        "labels": list(model.metadata.labels.names),
        "config": config.model_dump(
            mode="json",
            exclude={
                "input": True,
                "exclude_ids": True,  # of files to come; no reason to score all anew
                "on_damaged_file": True,
                "rules": {"max_reject_fraction", "max_reject_fraction_per_file"},
            },
        ),
    }


def _slices(
    config: ScoreConfig, files: list[CorpusFile]
) -> tuple[list[FileSlice], dict[str, str]]:
    """Cuts the files; returns also the path and damage of those that can't be cut."""
    slices, damaged = [], {}
    for file in files:
        try:
            slices.extend(slice_file(file, config.slice_bytes))
        except DamagedFileError as error:
            if config.on_damaged_file == "salvage":  # the reader will meet it again
                slices.append(FileSlice(file, 0, 0, 0))
            else:
                damaged[file.path] = str(error)
    return slices, damaged


def _run_pipeline(
    config: ScoreConfig,
    rules: ReviewRules,
    model: ModelDirectory,
    slices: list[FileSlice],
    staging: Path,
    options: PipelineOptions,
) -> list[SliceSummary]:
    register_record_batch_coder()
    quiet_workers()
    told = staging / "summaries.json"
    handler = SavedModelHandler(
        model.saved_model,
        classes=len(model.metadata.labels.names),
        batch_tokens=config.inference.batch_tokens,
    )
    with beam.Pipeline(options=options) as pipeline:
        read = (
            pipeline
            | "ListSlices" >> beam.Create(slices)
            | "ReadReviews"
            >> ReadReviews(config, batch_rows=config.inference.chunk_rows)
        )
        _ = (
            read.reviews
            | "PrepareChunk"
            >> beam.ParDo(
                _PrepareChunk(
                    rules,
                    model.vocabulary,
                    model.metadata.text,
                    {piece.file.name: piece.file.sha256 for piece in slices},
                    os.fspath(staging),
                )
            )
            # ((ChunkRecord, rejects), RecordBatch)
            | "RunInference" >> RunInference(KeyedModelHandler(handler))
            | "WritePart" >> beam.Map(_write, model.metadata, os.fspath(staging))
        )
        _ = (
            read.summaries
            | "ListSummaries" >> beam.combiners.ToList()
            | "TellSummaries" >> beam.Map(artifacts.write_items, told)
        )
    return [SliceSummary(**item) for item in artifacts.read_json(told)]


class _PrepareChunk(beam.DoFn):
    """Validates and tokenizes a chunk, unless its part stands already."""

    def __init__(
        self,
        rules: ReviewRules,
        vocabulary: str,
        text: TextRules,
        hashes: dict[str, str],
        staging: str,
    ):
        self._rules = rules
        self._vocabulary = vocabulary
        self._text = text
        self._hashes = hashes
        self._staging = staging

    def setup(self):
        self._tokenizer = Tokenizer(self._vocabulary, self._text)

    def process(self, batch: pa.RecordBatch) -> Iterator[Any]:
        place = ("file", "slice", "row")
        file, piece, row = (batch.column(name)[0].as_py() for name in place)
        chunk = Chunk(file, self._hashes[file], piece, row)
        if is_staged(self._staging, chunk):
            return
        checked = self._rules.apply(batch)
        record = ChunkRecord(
            chunk,
            batch.num_rows,
            checked.reviews.num_rows,
            checked.rejected(),
            checked.excluded,
        )
        tokens = self._tokenizer.encode(checked.reviews.column("text"))
        yield (
            (record, to_bytes(checked.rejects)),
            with_columns(checked.reviews, token_ids=tokens["token_ids"]),
        )


def _write(
    element: tuple[tuple[ChunkRecord, bytes], pa.RecordBatch],
    model: ModelMetadata,
    staging: str,
) -> None:
    (record, rejects), inferred = element
    write_part(staging, record, with_labels(inferred, model), rejects)
