"""Reads slices of files into record batches of rows as they are."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.io.filesystem import BeamIOError

from reviewbeam.components.common.columns import concat_batches
from reviewbeam.components.common.corpus_config import CorpusConfig
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.filesystems import open_binary
from reviewbeam.components.common.progress import ProgressFile
from reviewbeam.components.ingestion.checks import check_columns, mapped_columns
from reviewbeam.components.ingestion.csv_records import csv_records
from reviewbeam.components.ingestion.files import CorpusFile, FileSlice
from reviewbeam.components.ingestion.lines import (
    DamagedFileError,
    read_blocks,
    read_lines,
    read_slice_lines,
)
from reviewbeam.components.ingestion.mapping import ColumnMapper
from reviewbeam.components.ingestion.records import (
    Records,
    json_records,
    parquet_records,
)
from reviewbeam.components.ingestion.values import MISSING

_BATCH_BYTES = 128 * 2**20  # of raw records
DAMAGED = "damaged_file"  # the rule that a file broken in its middle breaks
_UNREADABLE = (
    "malformed_json",
    "not_an_object",
    "malformed_csv",
    "invalid_utf8",
    "record_too_long",
)


@dataclasses.dataclass
class SliceSummary:
    """What was met in a slice; small, and the same each time it is read."""

    file: str
    index: int
    lines: int = 0  # lines of text or records of Parquet, blank lines included
    rows: int = 0  # records
    unreadable: int = 0  # records that are none of the format
    present: tuple[str, ...] = ()  # mapped columns that some record had
    known: tuple[str, ...] = ()  # columns of the first record
    damaged: str | None = None  # why reading ended before the end of the file


class SliceReader:
    """Reads one slice; the summary is complete when all batches were taken."""

    def __init__(self, piece: FileSlice, config: CorpusConfig, batch_rows: int):
        """Opens nothing yet.

        Args:
          piece: what to read.
          config: which columns hold what.
          batch_rows: of a batch, at most.
        """
        self.summary = SliceSummary(piece.file.name, piece.index)
        self._piece = piece
        self._config = config
        self._batch_rows = batch_rows
        self._mapper = ColumnMapper(config)
        self._salvages = config.on_damaged_file == "salvage"

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yields batches of at most `batch_rows` consecutive rows.

        Records far longer than reviews are end a batch early, by their bytes.
        """
        yield from regular_batches(self._mapped(), self._batch_rows)
        self.summary.present = tuple(sorted(self._mapper.present))
        self.summary.known = tuple(self._mapper.known[:50])

    def _mapped(self) -> Iterator[pa.RecordBatch]:
        summary = self.summary
        try:
            with open_binary(self._piece.file.path) as source:
                for records in self._records(source):
                    summary.rows += len(records.numbers)
                    summary.unreadable += sum(
                        problem in _UNREADABLE for problem in records.problems
                    )
                    yield self._mapper.batch(records, summary.file, summary.index)
        # A broken footer of Parquet may hold names that are no UTF-8.
        except (OSError, BeamIOError, pa.ArrowException, UnicodeDecodeError) as error:
            self._note_damage(error)
        if summary.damaged and self._salvages:
            summary.lines += 1
            summary.rows += 1
            yield self._mapper.batch(self._damage(), summary.file, summary.index)

    def _records(self, source) -> Iterator[Records]:
        piece, file, rules = self._piece, self._piece.file, self._config.rules
        if file.format == "parquet":
            parquet = pq.ParquetFile(source)
            stop = piece.stop if piece.stop >= 0 else parquet.num_row_groups
            for records in parquet_records(
                parquet, piece.start, stop, self._mapper.wanted
            ):
                self.summary.lines = records.numbers[-1]
                yield records
            return
        if file.format == "jsonl" and file.compression == "none":
            lines = read_slice_lines(source, piece.start, piece.stop)
        else:
            lines = read_lines(read_blocks(source, file.compression))
        lines = self._counted(lines)
        if file.format == "jsonl":
            yield from json_records(lines, rules)
        else:
            delimiter = "\t" if file.format == "tsv" else self._config.csv_delimiter
            yield from csv_records(
                lines, delimiter, rules, lambda: self.summary.damaged is not None
            )

    def _counted(self, lines: Iterable[tuple[int, bytes]]):
        try:
            for line in lines:
                self.summary.lines += 1
                yield line
        except (DamagedFileError, OSError, BeamIOError) as error:
            self._note_damage(error)

    def _note_damage(self, error: Exception) -> None:
        # A fault of the machine, which a rerun may cure, must not pass for damage.
        if self._salvages and getattr(error, "errno", None) is not None:
            raise error
        known = isinstance(error, DamagedFileError)
        what = str(error) if known else f"it can't be read ({error})"
        self.summary.damaged = " ".join(what.split())

    def _damage(self) -> Records:
        """The one reject that stands for all that can't be read."""
        return Records(
            numbers=[self.summary.lines],
            offsets=[None],
            raws=[None],
            problems=[DAMAGED],
            repairs=[None],
            values=lambda column: [MISSING],
            known=[],
            header=False,
        )


def regular_batches(
    batches: Iterable[pa.RecordBatch], rows: int
) -> Iterator[pa.RecordBatch]:
    """Cuts batches anew, into `rows` rows each; giant records end one early.

    Where the cuts are follows from the rows alone, not from how they were read.
    """
    pending: list[pa.RecordBatch] = []
    count = size = 0
    for batch in batches:
        sizes = _row_bytes(batch)
        while batch.num_rows:
            total = size + np.cumsum(sizes)
            full = int(np.searchsorted(total, _BATCH_BYTES, side="right")) + 1
            take = min(rows - count, full, batch.num_rows)
            pending.append(batch.slice(0, take))
            count, size = count + take, int(total[take - 1])
            batch, sizes = batch.slice(take), sizes[take:]
            if count == rows or size > _BATCH_BYTES:
                yield concat_batches(pending, batch.schema)
                pending, count, size = [], 0, 0
    if pending:
        yield concat_batches(pending, pending[0].schema)


def _row_bytes(batch: pa.RecordBatch) -> np.ndarray:
    """Bytes of each record, or of its text where the record has none; int64 [rows]."""
    raw, text = (pc.binary_length(batch.column(name)) for name in ("raw", "text"))
    return np.asarray(pc.fill_null(pc.coalesce(raw, text), 0)).astype(np.int64)


@dataclasses.dataclass
class ReadReviews(beam.PTransform):
    """File slices -> (RecordBatches under `review_schema`, SliceSummaries).

    The slices are reshuffled, so that they spread over the workers.

    Attributes:
      config: which columns hold what.
      batch_rows: of a batch, at most.
      progress_folder: where each worker tells how many rows it has read.
    """

    config: CorpusConfig
    batch_rows: int = 4096
    progress_folder: str | None = None

    def expand(self, slices: beam.PCollection[FileSlice]):
        """Returns the two collections under the names `reviews` and `summaries`."""
        return (
            slices
            | "SpreadSlices" >> beam.Reshuffle()
            | "ReadSlice"
            >> beam.ParDo(
                _ReadSlice(self.config, self.batch_rows, self.progress_folder)
            )
            .with_output_types(pa.RecordBatch)
            .with_outputs("summaries", main="reviews")
        )


class _ReadSlice(beam.DoFn):
    def __init__(
        self, config: CorpusConfig, batch_rows: int, progress_folder: str | None
    ):
        self._config = config
        self._batch_rows = batch_rows
        self._progress_folder = progress_folder

    def setup(self):
        folder = self._progress_folder
        self._progress = ProgressFile(folder) if folder else None

    def process(self, piece: FileSlice) -> Iterator[Any]:
        reader = SliceReader(piece, self._config, self._batch_rows)
        for batch in reader.batches():
            if self._progress:
                self._progress.add(batch.num_rows)
            yield batch
        yield beam.pvalue.TaggedOutput("summaries", reader.summary)


def check_header(config: CorpusConfig, file: CorpusFile) -> None:
    """Looks whether a file names the mapped columns, where it has a header.

    Only that: a file that breaks is told when it is read.

    Raises:
      UserError: a mapped column is not among those of CSV, TSV or Parquet.
    """
    if file.format == "jsonl":
        return
    reader = SliceReader(FileSlice(file, 0, 0, -1), config, batch_rows=1)
    next(reader.batches(), None)
    if known := reader._mapper.known:
        present = reader._mapper.present
        check_columns(file.path, mapped_columns(config), present, known)


def check_summaries(
    config: CorpusConfig, files: Iterable[CorpusFile], summaries: Iterable[SliceSummary]
) -> None:
    """Looks for files that are wrong as a whole.

    Raises:
      UserError: no record of a file is of its format, or a mapped column is in
        none of them.
    """
    by_file: dict[str, list[SliceSummary]] = {}
    for summary in summaries:
        by_file.setdefault(summary.file, []).append(summary)
    for file in files:
        parts = by_file[file.name]
        rows = sum(part.rows for part in parts)
        damaged = sum(part.damaged is not None for part in parts)
        unreadable = sum(part.unreadable for part in parts)
        if rows and rows == unreadable and not damaged:
            raise UserError(
                f"{file.path} is no {file.format} file in UTF-8: none of its {rows} "
                "records can be read as that. Convert it, or set format: in the config."
            )
        if rows > unreadable + damaged:
            present = {column for part in parts for column in part.present}
            known = max((part.known for part in parts), key=len)
            check_columns(file.path, mapped_columns(config), present, known)


def line_offsets(summaries: Iterable[SliceSummary]) -> dict[tuple[str, int], int]:
    """Returns (file, slice) -> the number of lines before that slice."""
    offsets, before = {}, {}
    for summary in sorted(summaries, key=lambda s: (s.file, s.index)):
        offsets[summary.file, summary.index] = before.get(summary.file, 0)
        before[summary.file] = offsets[summary.file, summary.index] + summary.lines
    return offsets
