"""The Beam graph of `score`: units of files -> finished chunks in a staging folder."""

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference

from reviewbeam.components.common.artifacts import write_bytes
from reviewbeam.components.common.calibration import decide
from reviewbeam.components.common.columns import (
    REJECTS,
    concat_batches,
    from_bytes,
    parquet_bytes,
    raw_of_values,
    reject_batch,
    to_bytes,
    with_columns,
)
from reviewbeam.components.common.host_copies import on_every_host
from reviewbeam.components.common.model_directory import ModelMetadata
from reviewbeam.components.common.places import Place, place
from reviewbeam.components.common.score_config import ScoreConfig
from reviewbeam.components.common.serving_statistics import (
    Statistics,
    chunk_statistics,
)
from reviewbeam.components.inference.decide import probability_matrix, with_labels
from reviewbeam.components.inference.formats import encode_scores, scores_table
from reviewbeam.components.inference.handler import Inferred
from reviewbeam.components.inference.parts import (
    ChunkRecord,
    Segment,
    Work,
    chunk_name,
    counted,
    record_path,
    segments_of,
    unit_of_bytes,
    unit_record,
    write_record,
)
from reviewbeam.components.ingestion.spool import SpooledChunk, spool
from reviewbeam.components.ingestion.units import Unit, UnitReader
from reviewbeam.components.tokenization.tokenizer import Tokenizer
from reviewbeam.components.validation.rules import ReviewRules
from reviewbeam.components.validation.validate import place_rejects
from reviewbeam.pipelines.score_window import Window
from reviewbeam.pipelines.store_window import StoreWindow

_OF_THE_TOKENIZER = ("tokens", "unknown_tokens", "truncated")
SPOOL = "spool"  # folder below the staging folder


@dataclasses.dataclass(frozen=True)
class ChunkWork:
    """What a worker needs to know to turn units into finished chunks."""

    config: ScoreConfig
    rules: ReviewRules
    model: ModelMetadata
    vocabulary: str  # path
    hashes: dict[str, str]  # name of a file -> SHA-256 of its content
    finished: Work  # in this run or one before
    conditions: str  # of `Work`: part of the chunks' names
    window: Window | StoreWindow
    workers: int  # processes

    @property
    def staging(self) -> Place:
        """Folder of what is finished by this run."""
        return place(self.finished.staging)

    def name(self, unit: str, segments: tuple[Segment, ...]) -> str:
        """Names a chunk."""
        return chunk_name(unit, segments, self.conditions)


@dataclasses.dataclass(frozen=True)
class PreparedChunk:
    """A chunk that was validated, beside its reviews."""

    name: str
    unit: str
    segments: tuple[Segment, ...]
    rejects: bytes  # an Arrow stream under `columns.REJECTS`
    excluded: int  # rows with an id that is to be left out
    read_bytes: int  # of the records as they were; 0 where that is not known

    @property
    def rows(self) -> int:
        """Rows that were read."""
        return sum(segment.rows for segment in self.segments)


@dataclasses.dataclass
class ScoreUnits(beam.PTransform):
    """Units -> None: the staging folder holds their parts, rejects and records.

    Where there are several workers, large files that can't be sliced are divided first;
    then chunks are what is spread.
    """

    work: ChunkWork
    handler: ModelHandler

    def expand(self, units: beam.PCollection[Unit]):
        """Reads, validates, tokenizes, infers and writes chunk by chunk."""
        return (
            units
            | "SpreadUnits" >> beam.Reshuffle()
            | "SpoolFile" >> beam.ParDo(_SpoolFile(self.work))
            # Unit | SpooledChunk
            | "SpreadPieces" >> beam.Reshuffle()
            | "PrepareChunk" >> beam.ParDo(_PrepareChunk(self.work))
            # (PreparedChunk, RecordBatch)
            | "RunInference" >> RunInference(KeyedModelHandler(self.handler))
            # (PreparedChunk, Inferred)
            | "WriteChunk" >> beam.Map(_write, self.work)
        )


class _SpoolFile(beam.DoFn):
    def __init__(self, work: ChunkWork):
        self._work = work

    def process(self, unit: Unit) -> Iterator[Unit | SpooledChunk]:
        work = self._work
        if not unit.spool or work.workers == 1:
            yield unit
        elif not work.window.is_closed() and not work.finished.is_read(unit.name):
            yield from self._spool(unit)

    def _spool(self, unit: Unit) -> list[SpooledChunk]:
        work = self._work
        folder = work.staging / SPOOL / unit.name
        told = record_path(work.staging, "unit", unit.name)
        if told.exists():  # of a finished chunk the rows are gone
            names = unit_of_bytes(told.read_bytes()).chunks
            is_finished = work.finished.is_finished
            left = [i for i, name in enumerate(names) if not is_finished(name)]
            chunks = [SpooledChunk.of(folder, unit, index) for index in left]
            if all(chunk.exists() for chunk in chunks):
                return chunks
        spooled = spool(
            unit,
            work.config,
            work.config.inference.chunk_rows,
            folder,
            work.window.is_closed,
        )
        if spooled is None:
            return []
        chunks, summaries = spooled
        names = [
            work.name(unit.name, segments_of(chunk.read(), work.hashes))
            for chunk in chunks
        ]
        write_record(work.staging, unit_record(unit.name, names, summaries))
        return chunks


class _PrepareChunk(beam.DoFn):
    """Reads, validates and tokenizes what isn't finished, until the window closes."""

    def __init__(self, work: ChunkWork):
        self._work = work
        self._vocabulary = on_every_host(work.vocabulary)

    def setup(self):
        self._tokenizer = Tokenizer(self._vocabulary.here(), self._work.model.text)

    def process(
        self, piece: Unit | SpooledChunk
    ) -> Iterator[tuple[PreparedChunk, pa.RecordBatch]]:
        work = self._work
        if isinstance(piece, SpooledChunk):
            chunks, reader, unit = piece.chunks(), None, piece.unit
        elif work.finished.is_read(piece.name):
            return
        else:
            reader = UnitReader(piece, work.config, work.config.inference.chunk_rows)
            chunks, unit = reader.chunks(), piece.name
        names: list[str] = []
        for prepared in _ahead(self._prepared(chunks, unit, names)):
            if not work.window.begin_chunk(prepared[0].rows):
                return
            yield prepared
        if reader is None and work.finished.is_finished(names[-1]):
            piece.remove()
        elif reader is not None and not reader.is_changed:
            record = unit_record(piece.name, names, reader.summaries)
            write_record(work.staging, record)

    def _prepared(
        self, chunks: Iterator[pa.RecordBatch], unit: str, names: list[str]
    ) -> Iterator[tuple[PreparedChunk, pa.RecordBatch]]:
        """Yields what is to be inferred; the names of all chunks go into a list."""
        work = self._work
        for chunk in chunks:
            segments = segments_of(chunk, work.hashes)
            names.append(work.name(unit, segments))
            if work.finished.is_finished(names[-1]):
                continue
            checked = work.rules.apply(chunk)
            columns = self._tokenizer.encode(checked.reviews.column("text"))
            size = pc.sum(pc.binary_length(chunk.column("raw")), min_count=0).as_py()
            rejects = to_bytes(checked.rejects)
            yield (
                PreparedChunk(
                    names[-1], unit, segments, rejects, checked.excluded, size
                ),
                with_columns(checked.reviews, **columns),
            )


def _ahead(items: Iterator[Any]) -> Iterator[Any]:
    """Makes the next item in a thread while the one before is in use."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, items, None)
        while (item := waiting.result()) is not None:
            waiting = pool.submit(next, items, None)
            yield item


def _write(element: tuple[PreparedChunk, Inferred], work: ChunkWork) -> None:
    """Writes a chunk's scores and rejects, then the record that it is finished."""
    chunk, inferred = element
    staging = work.staging
    failed = pc.is_valid(inferred.batch.column("fault"))
    faults = _fault_rejects(inferred.batch.filter(failed), work)
    rejects = concat_batches([from_bytes(chunk.rejects), faults], REJECTS)
    scored = with_labels(inferred.batch.filter(pc.invert(failed)), work.model)
    segments = counted(chunk.segments, scored, rejects)
    if sum(segment.excluded for segment in segments) != chunk.excluded:
        raise RuntimeError(
            f"chunk {chunk.name}: {chunk.rows} rows were read, {scored.num_rows} "
            f"scored, {rejects.num_rows} rejected, {chunk.excluded} excluded"
        )
    if rejects.num_rows:
        placed = place_rejects([rejects], {(s.file, s.slice): 0 for s in segments})
        path = work.finished.new_rejects(chunk.name)
        write_bytes(path, parquet_bytes(placed), mode=0o600, sync=True)
    if scored.num_rows:
        data, sizes = encode_scores(
            scores_table(scored),
            [segment.written for segment in segments],
            work.model.labels.names,
            work.config.output_format,
        )
        segments = tuple(
            dataclasses.replace(segment, bytes=size)
            for segment, size in zip(segments, sizes, strict=True)
        )
        write_bytes(work.finished.new_part(chunk.name), data, sync=True)
    counts = {
        "read_bytes": chunk.read_bytes,
        "calls": inferred.calls,
        "tokens": inferred.tokens,
        "padded_tokens": inferred.padded_tokens,
        "halved": inferred.halved,
    }
    statistics = _statistics(scored, work.model) if scored.num_rows else None
    write_record(
        staging, ChunkRecord(chunk.name, chunk.unit, segments, counts, statistics)
    )


def _statistics(scored: pa.RecordBatch, model: ModelMetadata) -> Statistics:
    """Counts what is compared with the model's training."""
    labels, languages = model.labels, scored.column("language").to_pylist()
    probabilities = probability_matrix(scored, len(labels.names))
    return chunk_statistics(
        scored,
        {name: scored.column(name) for name in _OF_THE_TOKENIZER},
        probabilities,
        decide(probabilities, languages, labels.type, model.calibration),
        labels.names,
        labels.type,
    )


def _fault_rejects(failed: pa.RecordBatch, work: ChunkWork) -> pa.RecordBatch:
    """Makes rejects of reviews that the model could not score."""
    raw = pa.array(raw_of_values(failed)) if work.rules.keep_raw else None
    return reject_batch(failed, failed.column("fault"), raw=raw)
