"""Records of each format, some thousands at once: what a file holds, in order."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from reviewbeam.components.common.corpus_config import RecordRules
from reviewbeam.components.ingestion.lines import MAX_RECORD_BYTES
from reviewbeam.components.ingestion.values import (
    MISSING,
    UNREADABLE,
    is_utf8,
    lookup,
    python_values,
    without_lone_surrogates,
)

BOM = b"\xef\xbb\xbf"
AT_ONCE = 4096  # records


@dataclasses.dataclass
class Records:
    """Consecutive records; each list has one item a record.

    Attributes:
      numbers: 1-based line, or record of Parquet, counted within the slice.
      offsets: byte in the decompressed file, or None.
      raws: the record as it was, or None.
      problems: the rule that keeps a record from having values, or None.
      repairs: the rule that was broken and mended, or None.
      values: returns a column's values: a list, with MISSING where a record has
        none, or a string array.
      known: the columns that a record has.
      header: the file names its columns once for all records.
    """

    numbers: list[int]
    offsets: list[int | None]
    raws: list[bytes | None]
    problems: list[str | None]
    repairs: list[str | None]
    values: Callable[[str], list | pa.Array]
    known: list[str]
    header: bool


def json_records(
    lines: Iterable[tuple[int, bytes]], rules: RecordRules
) -> Iterator[Records]:
    """Yields the lines of JSON Lines that are not blank.

    Every line is parsed by itself, strictly: one bad line costs one reject, and
    two objects on a line are one bad line.
    """
    for first, chunk in _chunks(lines):
        raws = [line[:-1] if line.endswith(b"\r") else line for _, line in chunk]
        if chunk[0][0] == 0:
            raws[0] = raws[0].removeprefix(BOM)
        numbers: Iterable[int] = range(first, first + len(chunk))
        problems = repairs = [None] * len(chunk)
        try:
            records = list(map(orjson.loads, raws))
            plain = all(map(dict.__instancecheck__, records)) and (
                max(map(len, raws)) <= MAX_RECORD_BYTES
            )
        except orjson.JSONDecodeError:
            plain = False
        offsets = [offset for offset, _ in chunk]
        if not plain:
            rows = [
                (number, offset, line, *_json_record(line, rules))
                for number, offset, line in zip(numbers, offsets, raws, strict=True)
                if line.strip()
            ]
            if not rows:
                continue
            numbers, offsets, raws, records, problems, repairs = map(
                list, zip(*rows, strict=True)
            )
        yield Records(
            list(numbers),
            offsets,
            raws,
            list(problems),
            list(repairs),
            lambda column, at=records: _of_objects(at, column),
            next((list(record) for record in records if record), []),
            header=False,
        )


def parquet_records(file: pq.ParquetFile, start: int, stop: int, wanted: set[str]):
    """Yields the records of some row groups; an offset is not known.

    Args:
      file: an open Parquet file.
      start: first row group.
      stop: the row group behind the last one.
      wanted: names of the columns to read.
    """
    names = file.schema_arrow.names
    columns = [n for n in names if any(w == n or w.startswith(n + ".") for w in wanted)]
    batches = (  # by groups, so that a broken one costs none before it
        batch
        for group in range(start, stop)
        for batch in file.iter_batches(AT_ONCE, row_groups=[group], columns=columns)
    )
    first = 1
    for batch in batches:
        rows = batch.num_rows
        yield Records(
            list(range(first, first + rows)),
            [None] * rows,
            [None] * rows,
            [None] * rows,
            [None] * rows,
            lambda column, at=batch: _of_batch(at, column),
            names,
            header=True,
        )
        first += rows


def _chunks(lines: Iterable[tuple[int, bytes]]):
    """Yields (number of the first line, [(offset, line)]), some thousands at once."""
    chunk: list[tuple[int, bytes]] = []
    size, first = 0, 1
    for item in lines:
        chunk.append(item)
        size += len(item[1])
        if len(chunk) == AT_ONCE or size > MAX_RECORD_BYTES:
            yield first, chunk
            first += len(chunk)
            chunk, size = [], 0
    if chunk:
        yield first, chunk


def _json_record(
    line: bytes, rules: RecordRules
) -> tuple[dict | None, str | None, str | None]:
    """Parses one line by itself: (object, problem, repair)."""
    repair = None
    if len(line) > MAX_RECORD_BYTES:
        return None, "record_too_long", None
    if not is_utf8(line):
        repair = "invalid_utf8"
        if rules.action(repair) == "reject":
            return None, repair, None
        line = line.decode("utf-8", errors="replace").encode()
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        mended = _mended_surrogates(line)
        if mended is None:
            return None, "malformed_json", None
        if rules.action("lone_surrogates") == "reject":
            return None, "lone_surrogates", None
        record, repair = mended, "lone_surrogates"
    if not isinstance(record, dict):
        return None, "not_an_object", None
    return record, None, repair


def _mended_surrogates(line: bytes) -> Any:
    r"""Parses JSON whose only fault is escapes such as `\ud83d` without their pair."""
    try:
        return orjson.loads(
            json.dumps(
                without_lone_surrogates(json.loads(line.decode())), allow_nan=False
            )
        )
    except (ValueError, RecursionError):
        return None


def _of_objects(records: list[dict | None], column: str) -> list:
    if "." not in column:
        return [MISSING if r is None else r.get(column, MISSING) for r in records]
    return [MISSING if r is None else lookup(r, column) for r in records]


def _of_batch(batch: pa.RecordBatch, column: str) -> list | pa.Array:
    names = batch.schema.names
    if column in names:
        array = batch.column(names.index(column))
        kind = array.type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            try:
                array.validate(full=True)  # pyarrow takes any bytes for a string
                return array.cast(pa.string())
            except pa.ArrowException:
                pass
        return python_values(array)
    top = next((n for n in names if column.startswith(n + ".")), None)
    if top is None:
        return [MISSING] * batch.num_rows
    nested = python_values(batch.column(names.index(top)))
    return [
        value if value is UNREADABLE else lookup({top: value}, column)
        for value in nested
    ]
