"""Records of CSV and TSV, with quotes, line feeds within them, and their faults."""

import csv
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from reviewbeam.components.common.corpus_config import RecordRules
from reviewbeam.components.ingestion.lines import MAX_RECORD_BYTES
from reviewbeam.components.ingestion.records import AT_ONCE, BOM, Records
from reviewbeam.components.ingestion.values import MISSING, is_utf8

_MAX_RECORD_LINES = 1000  # of a quoted field; more is a quote never closed

csv.field_size_limit(MAX_RECORD_BYTES)


def csv_records(
    lines: Iterable[tuple[int, bytes]],
    delimiter: str,
    rules: RecordRules,
    is_damaged: Callable[[], bool] = lambda: False,
) -> Iterator[Records]:
    """Yields the CSV records behind the header (RFC 4180 quoting).

    A quote that is never closed costs its own line only: the lines that it would
    have swallowed are read again.

    Args:
      lines: of the file, with their offsets.
      delimiter: between fields.
      rules: whether invalid UTF-8 is mended.
      is_damaged: tells at the end of the lines that the file goes on, but can't be
        read: a record that is open then belongs to the damage.
    """
    source = _CsvLines(lines, is_damaged)
    header: list[str] = []
    rows: list[tuple] = []
    size = 0
    for number, offset, raw, fields, problem in source.records(delimiter):
        repair = None
        if not header and problem is None:
            header = fields
            continue
        if not is_utf8(raw):
            repair = "invalid_utf8"
            if problem is None and rules.action(repair) == "reject":
                problem = repair
        if problem is None and len(fields) != len(header):
            problem = "wrong_field_count"
        if problem is not None:
            fields = repair = None
        rows.append((number, offset, raw, problem, repair, fields))
        size += len(raw)
        if len(rows) == AT_ONCE or size > MAX_RECORD_BYTES:
            yield _csv_block(rows, header)
            rows, size = [], 0
    if rows or header:
        yield _csv_block(rows, header)


def _csv_block(rows: list[tuple], header: list[str]) -> Records:
    numbers, offsets, raws, problems, repairs, fields = (
        map(list, zip(*rows, strict=True)) if rows else ([] for _ in range(6))
    )
    position = {name: i for i, name in reversed(list(enumerate(header)))}

    def values(column: str) -> list:
        if column not in position:
            return [MISSING] * len(fields)
        place = position[column]
        return [MISSING if row is None else row[place] or None for row in fields]

    return Records(
        numbers, offsets, raws, problems, repairs, values, header, header=True
    )


class _CsvLines:
    """Feeds lines to a CSV parser and remembers those of the current record."""

    def __init__(
        self, lines: Iterable[tuple[int, bytes]], is_damaged: Callable[[], bool]
    ):
        self._lines = enumerate(lines, 1)
        self._is_damaged = is_damaged
        self._is_over = False
        self._again: deque = deque()
        self._record: list[tuple[int, int, bytes]] = []

    def records(self, delimiter: str) -> Iterator[tuple]:
        """Yields (line number, offset, bytes, fields, problem) of each record."""
        parser = None
        while True:
            if parser is None:
                parser = csv.reader(self._feed(), delimiter=delimiter, strict=True)
            try:
                fields, problem = next(parser), None
            except StopIteration:
                return
            except csv.Error:
                if self._is_over and self._is_damaged():
                    return  # it may be the text of a review that the damage cut off
                fields, problem, parser = None, "malformed_csv", None
                self._again.extendleft(reversed(self._record[1:]))
                del self._record[1:]
            (number, offset, raw), *rest = self._record
            if rest:
                raw = b"\n".join(line for _, _, line in self._record)
            self._record.clear()
            # Tabs alone may be empty fields.
            if len(fields or "") >= 2 or raw.strip():
                yield number, offset, raw, fields, problem

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
                    self._is_over = True
                    return
                if offset == 0:
                    line = line.removeprefix(BOM)
                item = (number, offset, line)
            self._record.append(item)
            size += len(item[2])
            if len(self._record) > _MAX_RECORD_LINES or size > MAX_RECORD_BYTES:
                raise csv.Error("a quote is never closed")
            yield item[2].decode("utf-8", errors="replace") + "\n"
