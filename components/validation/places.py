"""Where in the corpus a feature's value comes from: TFDV's anomalies name no row."""

from collections.abc import Iterable, Mapping

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# (feature, which): which is a category's value, or one of these.
LEAST, GREATEST, MISSING = "min", "max", ""
Key = tuple[str, str]
# (rank, file, slice, row): the least is chosen. The rank is a number's value, negated
# for the greatest one, and 0 for a category; rows are counted within the slice.
Candidate = tuple[float, str, int, int]
ORIGIN_COLUMNS = ("file", "slice", "row")
_MOST_VALUES = 1000  # of a feature; the first ones by name


def find_places(features: pa.RecordBatch) -> list[tuple[Key, Candidate]]:
    """Chooses an example row for each category and each extreme number of a batch.

    Args:
      features: lists of binary or numbers, of 0 or more values a row, and the columns
        `file` (string), `slice` and `row` (int64).

    Returns:
      Of each feature of strings one row a value and one without a value, of each
      feature of numbers one row with the least and one with the greatest; of equals
      the first in the corpus. `beam.CombinePerKey(min)` chooses among batches.
    """
    if features.num_rows == 0:
        return []
    origin = [features.column(name) for name in ORIGIN_COLUMNS]
    position = _positions(origin)
    found = []
    for name, column in zip(features.schema.names, features.columns, strict=True):
        if name in ORIGIN_COLUMNS or pa.types.is_null(column.type):
            continue
        if pa.types.is_binary(column.type.value_type):
            rows = _category_rows(column, position)
        else:
            rows = _extreme_rows(column, position)
        for which, (rank, row) in rows.items():
            file, piece, number = (values[row].as_py() for values in origin)
            found.append(((name, which), (rank, file, piece, number)))
    return found


class FindPlaces(beam.PTransform):
    """Described examples -> one list of (Key, Candidate), ordered by key."""

    def expand(
        self, features: beam.PCollection[pa.RecordBatch]
    ) -> beam.PCollection[list[tuple[Key, Candidate]]]:
        """Returns a collection of one element, the same however rows were batched."""
        return (
            features
            | "FindPlaces" >> beam.FlatMap(find_places)
            # ((feature, which), candidate)
            | "ChooseFirst" >> beam.CombinePerKey(min)
            | "ListPlaces" >> beam.combiners.ToList()
            | "LimitPlaces" >> beam.Map(limit_places)
        )


def limit_places(
    places: Iterable[tuple[Key, Candidate]],
) -> list[tuple[Key, Candidate]]:
    """Orders places by key, and keeps so many values of a feature."""
    kept: dict[str, list[tuple[Key, Candidate]]] = {}
    for key, candidate in sorted(places):
        values = kept.setdefault(key[0], [])
        if len(values) < _MOST_VALUES:
            values.append((key, candidate))
    return [place for values in kept.values() for place in values]


def place_texts(
    places: Iterable[tuple[Key, Candidate]], offsets: Mapping[tuple[str, int], int]
) -> dict[Key, str]:
    """Returns each place for a person to read, as in `reviews.jsonl row 17`.

    Args:
      places: what `FindPlaces` gave, or the same read from JSON.
      offsets: (file, slice) -> rows of the file before the slice.
    """
    return {
        (feature, which): f"{file} row {row + offsets[file, piece]}"
        for (feature, which), (_, file, piece, row) in places
    }


def _positions(origin: list[pa.Array]) -> np.ndarray:
    """Returns each row's position (int64) in the order of file, slice and row."""
    files, slices, rows = origin
    encoded = files.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    order_of_names = np.argsort(np.argsort(np.array(names, object)))
    codes = order_of_names[np.asarray(encoded.indices)]
    order = np.lexsort((np.asarray(rows), np.asarray(slices), codes))
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    return position


def _category_rows(
    column: pa.ListArray, position: np.ndarray
) -> dict[str, tuple[float, int]]:
    encoded = column.flatten().dictionary_encode()
    codes, owners = np.asarray(encoded.indices), _owners(column)
    # From the last to the first: the first of a value has the last word.
    order = np.argsort(-position[owners], kind="stable")
    first = np.empty(len(encoded.dictionary), np.int64)
    first[codes[order]] = owners[order]
    names = [value.decode() for value in encoded.dictionary.to_pylist()]
    chosen = sorted(zip(names, first.tolist(), strict=True))[:_MOST_VALUES]
    found = {name: (0, row) for name, row in chosen}
    missing = np.asarray(pc.fill_null(pc.list_value_length(column), 0)) == 0
    if missing.any():
        found[MISSING] = (0, _first(np.flatnonzero(missing), position))
    return found


def _extreme_rows(
    column: pa.ListArray, position: np.ndarray
) -> dict[str, tuple[float, int]]:
    values, owners = np.asarray(column.flatten()), _owners(column)
    if not len(values):
        return {}
    least, greatest = values.min(), values.max()
    return {
        LEAST: (least.item(), _first(owners[values == least], position)),
        GREATEST: (-greatest.item(), _first(owners[values == greatest], position)),
    }


def _owners(column: pa.ListArray) -> np.ndarray:
    """Returns the row of each value in the flattened column."""
    return np.asarray(pc.list_parent_indices(column))


def _first(rows: np.ndarray, position: np.ndarray) -> int:
    return int(rows[position[rows].argmin()])
