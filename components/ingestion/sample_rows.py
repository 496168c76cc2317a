"""Records as rows of dotted names, evenly thinned out."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson
import pyarrow as pa

from reviewbeam.components.ingestion.records import Records
from reviewbeam.components.ingestion.values import MISSING, UNREADABLE, is_utf8

_DEPTH = 4  # of nested objects
_COLUMNS = 300  # of a file; more are values that stand where names should

Row = dict[str, Any]  # dotted name -> value, of those that are not null


class Thinned:
    """Every n-th of any number of rows, at most `most` of them.

    Attributes:
      rows: those that are kept so far.
    """

    def __init__(self, most: int):
        self.rows: list[Row] = []
        self._most, self._stride, self._seen = most, 1, 0

    def take(self, rows: Iterable[Callable[[], Row]]) -> None:
        """Takes some of the rows that follow; the others aren't even made."""
        for make in rows:
            if self._seen % self._stride == 0:
                self.rows.append(make())
            if len(self.rows) > self._most:
                self.rows = self.rows[::2]
                self._stride *= 2
            self._seen += 1


def nested_rows(records: Records) -> Iterator[Callable[[], Row]]:
    """Yields what makes the row of each record of JSON that can be read."""
    for raw, problem in zip(records.raws, records.problems, strict=True):
        if problem is None:
            yield lambda raw=raw: _flat(orjson.loads(raw))


def named_rows(records: Records, names: list[str]) -> Iterator[Callable[[], Row]]:
    """Yields what makes the row of each record of a file that names its columns."""
    columns = [_listed(records.values(name)) for name in names]
    rows = zip(*columns, strict=True)
    for values, problem in zip(rows, records.problems, strict=True):
        if problem is None:
            pairs = zip(names, values, strict=True)
            yield lambda pairs=pairs: {n: _plain(v) for n, v in pairs if _is_there(v)}


def column_names(names: Iterable[str]) -> list[str]:
    """Returns the first names, each once; one without a character is none."""
    return [name for name in dict.fromkeys(names) if name][:_COLUMNS]


def leaves(schema: pa.Schema) -> list[str]:
    """Returns the dotted names of columns, those within structs too."""
    found = []

    def add(prefix: str, field: pa.Field, depth: int) -> None:
        name = prefix + field.name
        if pa.types.is_struct(field.type) and depth < _DEPTH:
            for i in range(field.type.num_fields):
                add(f"{name}.", field.type[i], depth + 1)
        else:
            found.append(name)

    for field in schema:
        add("", field, 1)
    return found


def _listed(values: Iterable) -> list:
    return values.to_pylist() if isinstance(values, pa.Array) else list(values)


def _plain(value: Any) -> Any:
    """A value, or its text where it is bytes in UTF-8, as some Parquet has strings."""
    return value.decode() if isinstance(value, bytes) and is_utf8(value) else value


def _is_there(value: Any) -> bool:
    if value is None or value is MISSING or value is UNREADABLE:
        return False
    return value == value if isinstance(value, float) else True  # NaN is pandas' null


def _flat(record: dict, prefix: str = "", depth: int = 1) -> Row:
    row: Row = {}
    for name, value in record.items():
        if isinstance(value, dict) and depth < _DEPTH:
            row |= _flat(value, f"{prefix}{name}.", depth + 1)
        elif _is_there(value):
            row[prefix + name] = value
    return row
