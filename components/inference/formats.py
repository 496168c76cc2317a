"""Scores as bytes of a file: Parquet, JSON Lines or CSV."""

import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reviewbeam.components.common.columns import KEEP_PREFIX, parquet_bytes
from reviewbeam.components.common.score_config import SCORE_COLUMNS

_TO_QUOTE = re.compile(r'[,"\r\n]')  # in a field of CSV


def scores_table(scored: pa.RecordBatch) -> pa.Table:
    """Returns the columns that a reader sees: a score's own, then the kept ones."""
    kept = [name for name in scored.schema.names if name.startswith(KEEP_PREFIX)]
    columns = {name: scored.column(name) for name in SCORE_COLUMNS}
    columns |= {name.removeprefix(KEEP_PREFIX): scored.column(name) for name in kept}
    return pa.table(columns)


def encode_scores(
    table: pa.Table, rows: Sequence[int], labels: Sequence[str], format: str
) -> tuple[bytes, list[int]]:
    """Writes scores.

    JSON Lines have a list of probabilities, in the order of the labels; CSV has a
    column `probability.LABEL` for each label, and what is a list as JSON.

    Args:
      table: of `scores_table`.
      rows: how many rows each segment of the part has; together all.
      labels: names of the labels.
      format: `parquet`, `jsonl` or `csv`.

    Returns:
      The bytes, and how many of them each segment has; 0 where the format is Parquet.
    """
    if format == "parquet":
        return parquet_bytes(table), [0] * len(rows)
    encode = _jsonl if format == "jsonl" else _csv
    header, lines = encode(table, labels)
    blocks, at = [], 0
    for count in rows:
        blocks.append(b"".join(lines[at : at + count]))
        at += count
    return header + b"".join(blocks), [len(block) for block in blocks]


def drop_segments(
    data: bytes,
    rows: Sequence[int],
    sizes: Sequence[int],
    keep: Sequence[bool],
    format: str,
) -> bytes:
    """Takes the rows of some segments out of a part.

    Args:
      data: of the part.
      rows: how many rows each of its segments has.
      sizes: how many bytes each of them has, as `encode_scores` told.
      keep: whether a segment stays.
      format: of the part.
    """
    if format == "parquet":
        kept = pa.array(np.repeat(np.array(keep, bool), rows))
        return parquet_bytes(pq.read_table(io.BytesIO(data)).filter(kept))
    at = len(data) - sum(sizes)
    pieces = [data[:at]]  # the header
    for size, stays in zip(sizes, keep, strict=True):
        pieces.append(data[at : at + size] if stays else b"")
        at += size
    return b"".join(pieces)


def _jsonl(table: pa.Table, labels: Sequence[str]) -> tuple[bytes, list[bytes]]:
    columns = [_values(table[name]) for name in table.column_names]
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
    return b"", [
        orjson.dumps(dict(zip(table.column_names, row, strict=True)), option=options)
        for row in zip(*columns, strict=True)
    ]


def _csv(table: pa.Table, labels: Sequence[str]) -> tuple[bytes, list[bytes]]:
    header: list[str] = []
    columns = []
    for name in table.column_names:
        if name == "probabilities":
            header += [f"probability.{label}" for label in labels]
            flat = np.asarray(table[name].combine_chunks().flatten())
            columns += list(flat.reshape(-1, len(labels)).T)
        else:
            header.append(name)
            columns.append(_values(table[name]))
    lines = [_csv_line(row) for row in zip(*columns, strict=True)]
    return _csv_line(header), lines


def _values(column: pa.ChunkedArray) -> list:
    """Returns Python's values, but those of float32 as NumPy's: they print shorter."""
    array = column.combine_chunks()
    if pa.types.is_floating(array.type):
        return list(np.asarray(array))
    if pa.types.is_list(array.type) and pa.types.is_floating(array.type.value_type):
        ends = np.cumsum(pc.list_value_length(array).to_numpy())
        return np.split(np.asarray(array.flatten()), ends[:-1]) if len(array) else []
    return array.to_pylist()


def _csv_line(values: Iterable[Any]) -> bytes:
    # Python's own writer doesn't quote a carriage return in all its versions.
    return ",".join(map(_csv_field, values)).encode() + b"\n"


def _csv_field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | np.ndarray):
        value = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    text = str(value)
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if _TO_QUOTE.search(text) else text
