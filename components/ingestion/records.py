"""Records of each format to rows: one row, or one reject, for every record."""

import csv
import functools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from reviewbeam.components.common.job_configs import CorpusConfig
from reviewbeam.components.ingestion.lines import MAX_RECORD_BYTES
from reviewbeam.components.ingestion.values import (
    MISSING,
    is_utf8,
    kept_value,
    label_value,
    language_value,
    lookup,
    scalar_value,
    text_value,
)

# (row, byte offset, raw record, problem, text, id, label, language, group, kept…)
Row = tuple

_BOM = b"\xef\xbb\xbf"
_MAX_RECORD_LINES = 1000  # of a quoted CSV field; more is a quote never closed

csv.field_size_limit(MAX_RECORD_BYTES)


class RowMaker:
    """Turns the values of a record into a row, and notes the columns it met."""

    def __init__(self, config: CorpusConfig):
        columns = config.columns
        split = getattr(config, "split", None)
        self._mapped: list[tuple[str | None, Callable]] = [
            (columns.text, text_value),
            (columns.id, functools.partial(scalar_value, problem="id_wrong_type")),
            (columns.label, label_value),
            (columns.language, language_value),
            (
                split and split.group_by,
                functools.partial(scalar_value, problem="group_wrong_type"),
            ),
            *((column, kept_value) for column in columns.keep),
        ]
        self.present: set[str] = set()  # mapped columns that a record had
        self.known: list[str] = []  # columns of the first record

    def header(self, names: list[str]) -> None:
        """Notes the columns that a file names once for all of its records."""
        self.known = names
        self.present.update(column for column, _ in self._mapped if column in names)

    def row(self, number: int, offset: int | None, raw: bytes | None, get) -> Row:
        """Makes a row; `get(column)` gives a value or `MISSING`."""
        problem, values = None, []
        for column, convert in self._mapped:
            value = get(column) if column else None
            if value is MISSING:
                value = None
            elif column:
                self.present.add(column)
            if isinstance(value, float) and math.isnan(value):
                value = None  # how pandas writes a missing value
            if value is not None:
                value, wrong = convert(value)
                problem = problem or wrong
            values.append(value)
        return (number, offset, raw, problem, *values)

    def broken(
        self, number: int, offset: int | None, raw: bytes | None, problem: str
    ) -> Row:
        """Makes the row of a record that has no values."""
        return (number, offset, raw, problem, *[None] * len(self._mapped))


def json_rows(lines: Iterable[tuple[int, bytes]], maker: RowMaker) -> Iterator[Row]:
    """Yields a row for each line of JSON Lines that is not blank.

    Every line is parsed by itself, strictly: one bad line costs one reject, and
    two objects on a line are one bad line.
    """
    for number, (offset, line) in enumerate(lines, 1):
        if offset == 0:
            line = line.removeprefix(_BOM)
        line = line.removesuffix(b"\r")
        if len(line) > MAX_RECORD_BYTES:
            yield maker.broken(number, offset, line[:1024], "record_too_long")
            continue
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            if line.strip():
                problem = "malformed_json" if is_utf8(line) else "invalid_utf8"
                yield maker.broken(number, offset, line, problem)
            continue
        if not isinstance(record, dict):
            yield maker.broken(number, offset, line, "not_an_object")
            continue
        if not maker.known:
            maker.known = list(record)
        yield maker.row(number, offset, line, lambda key, at=record: lookup(at, key))


def csv_rows(
    lines: Iterable[tuple[int, bytes]], maker: RowMaker, delimiter: str
) -> Iterator[Row]:
    """Yields a row for each CSV record behind the header (RFC 4180 quoting).

    A quote that is never closed costs its own line only: the lines that it would
    have swallowed are read again.
    """
    source = _CsvLines(lines)
    header: list[str] | None = None
    while True:
        fields, problem = source.next_record(delimiter)
        number, offset, raw, utf8 = source.take()
        if fields is None and problem is None:
            return
        if len(fields or "") < 2 and not raw.strip():  # tabs may be empty fields
            continue
        if header is None and problem is None:
            header = fields
            maker.header(header)
            position = {name: i for i, name in reversed(list(enumerate(header)))}
            continue
        if problem is None and not utf8:
            problem = "invalid_utf8"
        if problem is None and len(fields) != len(header):
            problem = "wrong_field_count"
        if problem is not None:
            yield maker.broken(number, offset, raw, problem)
            continue

        def get(column, fields=fields, position=position):
            if column not in position:
                return MISSING
            return fields[position[column]] or None

        yield maker.row(number, offset, raw, get)


def parquet_rows(
    file: pq.ParquetFile, start: int, stop: int, maker: RowMaker
) -> Iterator[Row]:
    """Yields a row for each record of some row groups; an offset is not known."""
    names = file.schema_arrow.names
    maker.header(names)
    wanted = {column for column, _ in maker._mapped if column}
    columns = [n for n in names if any(w == n or w.startswith(n + ".") for w in wanted)]
    number = 0
    groups = list(range(start, stop))
    for batch in file.iter_batches(4096, row_groups=groups, columns=columns):
        for record in _records(batch):
            number += 1
            if record is None:
                yield maker.broken(number, None, None, "unreadable_value")
                continue
            yield maker.row(number, None, None, lambda key, at=record: lookup(at, key))


class _CsvLines:
    """Feeds lines to a CSV parser and remembers those of the current record."""

    def __init__(self, lines: Iterable[tuple[int, bytes]]):
        self._lines = enumerate(lines, 1)
        self._again: deque = deque()
        self._record: list[tuple[int, int, bytes]] = []
        self._parser = None

    def next_record(self, delimiter: str) -> tuple[list[str] | None, str | None]:
        """Returns (fields, problem); both None behind the last record."""
        if self._parser is None:
            self._parser = csv.reader(self._feed(), delimiter=delimiter, strict=True)
        try:
            return next(self._parser), None
        except StopIteration:
            return None, None
        except csv.Error:
            self._parser = None
            self._again.extendleft(reversed(self._record[1:]))
            del self._record[1:]
            return None, "malformed_csv"

    def take(self) -> tuple[int, int, bytes, bool]:
        """Returns line number, offset, bytes and soundness of the record's lines."""
        if not self._record:
            return 0, 0, b"", True
        number, offset, _ = self._record[0]
        raw = b"\n".join(line for _, _, line in self._record)
        self._record = []
        return number, offset, raw, is_utf8(raw)

    def _feed(self) -> Iterator[str]:
        size = 0
        while True:
            if not self._record:
                size = 0
            if self._again:
                item = self._again.popleft()
            else:
                number, (offset, line) = next(self._lines, (0, (0, None)))
                if line is None:
                    return
                if offset == 0:
                    line = line.removeprefix(_BOM)
                item = (number, offset, line)
            self._record.append(item)
            size += len(item[2])
            if len(self._record) > _MAX_RECORD_LINES or size > MAX_RECORD_BYTES:
                raise csv.Error("a quote is never closed")
            yield item[2].decode("utf-8", errors="replace") + "\n"


def _records(batch: pa.RecordBatch) -> list[dict | None]:
    """A batch's records; None for one with a value that Python can't hold.

    Such as a string that isn't UTF-8, or a date behind the year 9999.
    """
    try:
        return batch.to_pylist()
    except (ValueError, OverflowError):
        if batch.num_rows == 1:
            return [None]
    half = batch.num_rows // 2
    return _records(batch.slice(0, half)) + _records(batch.slice(half))
