"""Reads slices of files into record batches of rows as they are."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import BeamIOError

from reviewbeam.components.common.columns import review_schema
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.filesystems import open_binary
from reviewbeam.components.common.job_configs import CorpusConfig
from reviewbeam.components.ingestion.checks import check_columns, mapped_columns
from reviewbeam.components.ingestion.files import CorpusFile, FileSlice
from reviewbeam.components.ingestion.lines import (
    DamagedFileError,
    read_blocks,
    read_lines,
    read_slice_lines,
)
from reviewbeam.components.ingestion.records import (
    Row,
    RowMaker,
    csv_rows,
    json_rows,
    parquet_rows,
)

_BATCH_BYTES = 128 * 2**20  # of raw records
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
        self.summary = SliceSummary(piece.file.name, piece.index)
        self._piece = piece
        self._config = config
        self._batch_rows = batch_rows
        self._schema = review_schema(config.columns.keep)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yields batches of at most `batch_rows` consecutive rows.

        Records far longer than reviews are end a batch early, by their bytes.
        """
        maker, rows, size = RowMaker(self._config), [], 0
        summary = self.summary
        try:
            with open_binary(self._piece.file.path) as source:
                for row in self._rows(source, maker):
                    rows.append(row)
                    size += len(row[2] or row[4] or b"")
                    summary.rows += 1
                    summary.unreadable += row[3] in _UNREADABLE
                    if len(rows) == self._batch_rows or size > _BATCH_BYTES:
                        yield self._batch(rows)
                        rows, size = [], 0
        except DamagedFileError as error:
            summary.damaged = str(error)
        except (OSError, BeamIOError, pa.ArrowException) as error:
            summary.damaged = f"it can't be read ({error})"
        summary.present = tuple(sorted(maker.present))
        summary.known = tuple(maker.known[:50])
        if rows:
            yield self._batch(rows)

    def _rows(self, source, maker: RowMaker) -> Iterator[Row]:
        piece, file = self._piece, self._piece.file
        if file.format == "parquet":
            parquet = pq.ParquetFile(source)
            for row in parquet_rows(parquet, piece.start, piece.stop, maker):
                self.summary.lines = row[0]
                yield row
            return
        if file.format == "jsonl" and file.compression == "none":
            lines = read_slice_lines(source, piece.start, piece.stop)
        else:
            lines = read_lines(read_blocks(source, file.compression))
        lines = self._counted(lines)
        if file.format == "jsonl":
            yield from json_rows(lines, maker)
        else:
            delimiter = "\t" if file.format == "tsv" else self._config.csv_delimiter
            yield from csv_rows(lines, maker, delimiter)

    def _counted(self, lines: Iterable[tuple[int, bytes]]):
        for line in lines:
            self.summary.lines += 1
            yield line

    def _batch(self, rows: list[Row]) -> pa.RecordBatch:
        columns = list(zip(*rows, strict=True))
        origin = [[self.summary.file] * len(rows), [self.summary.index] * len(rows)]
        arrays = [
            pa.array(values, type=field.type)
            for values, field in zip([*origin, *columns], self._schema, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)


@dataclasses.dataclass
class ReadReviews(beam.PTransform):
    """File slices -> (RecordBatches under `review_schema`, SliceSummaries).

    The slices are reshuffled, so that they spread over the workers.
    """

    config: CorpusConfig
    batch_rows: int = 4096

    def expand(self, slices: beam.PCollection[FileSlice]):
        """Returns the two collections under the names `reviews` and `summaries`."""
        return (
            slices
            | "SpreadSlices" >> beam.Reshuffle()
            | "ReadSlice"
            >> beam.ParDo(_ReadSlice(self.config, self.batch_rows))
            .with_output_types(pa.RecordBatch)
            .with_outputs("summaries", main="reviews")
        )


class _ReadSlice(beam.DoFn):
    def __init__(self, config: CorpusConfig, batch_rows: int):
        self._config = config
        self._batch_rows = batch_rows

    def process(self, piece: FileSlice) -> Iterator[Any]:
        reader = SliceReader(piece, self._config, self._batch_rows)
        yield from reader.batches()
        yield beam.pvalue.TaggedOutput("summaries", reader.summary)


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
        if rows and rows == sum(part.unreadable for part in parts):
            raise UserError(
                f"{file.path} is no {file.format} file in UTF-8: none of its {rows} "
                "records can be read as that. Convert it, or set format: in the config."
            )
        if rows:
            present = {column for part in parts for column in part.present}
            known = dict.fromkeys(column for part in parts for column in part.known)
            check_columns(file.path, mapped_columns(config), present, list(known))


def line_offsets(summaries: Iterable[SliceSummary]) -> dict[tuple[str, int], int]:
    """Returns (file, slice) -> the number of lines before that slice."""
    offsets, before = {}, {}
    for summary in sorted(summaries, key=lambda s: (s.file, s.index)):
        offsets[summary.file, summary.index] = before.get(summary.file, 0)
        before[summary.file] = offsets[summary.file, summary.index] + summary.lines
    return offsets
