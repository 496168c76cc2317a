"""What a model said of each row, as the predictions of `evaluate` hold it."""

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reviewbeam.components.common.columns import KEEP_PREFIX
from reviewbeam.components.common.prepare_config import LabelRules

COLUMNS = (
    "id",
    "language",
    "true_label",
    "label",
    "score",
    "probabilities",
    "tokens",  # of the text, with <s> and </s>, before truncation
    "truncated",
    "count",  # how many copies of the text the example stands for
)
_TAKEN = {*COLUMNS, "length"}  # the slices' own names too


def kept_names(keep: Sequence[str]) -> dict[str, str]:
    """Returns kept column -> its name in the predictions and among the slices.

    That is its own, or behind `keep.` where the predictions have such a column.
    """
    names: dict[str, str] = {}
    for column in keep:
        name = column
        while name in _TAKEN or name in names.values():
            name = KEEP_PREFIX + name
        names[column] = name
    return names


@dataclasses.dataclass(frozen=True)
class Predictions:
    """The rows of an evaluation.

    Attributes:
      ids: of the reviews.
      languages: as the corpus has them.
      true: class of each row, int [rows]; for multilabel 0 or 1, [rows, labels].
      predicted: likewise.
      probabilities: the calibrated ones, float32 [rows, classes].
      tokens: of each text before truncation, int [rows].
      truncated: bool [rows].
      count: copies that each row stands for, int [rows].
      kept: name -> values.
    """

    ids: list[str]
    languages: list[str | None]
    true: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    tokens: np.ndarray
    truncated: np.ndarray
    count: np.ndarray
    kept: dict[str, list[str | None]]

    @classmethod
    def of_table(cls, table: pa.Table, labels: LabelRules) -> Self:
        """Reads a table of the predictions' Parquet files.

        Args:
          table: with the columns COLUMNS and the kept ones.
          labels: of the model.
        """
        columns = {name: _whole(table[name]) for name in table.column_names}
        probabilities = np.asarray(columns["probabilities"].flatten())
        numbers = ("tokens", "truncated", "count")
        return cls(
            ids=columns["id"].to_pylist(),
            languages=columns["language"].to_pylist(),
            true=_decisions(columns["true_label"], labels),
            predicted=_decisions(columns["label"], labels),
            probabilities=probabilities.reshape(-1, len(labels.names)),
            **{n: columns[n].to_numpy(zero_copy_only=False) for n in numbers},
            kept={n: c.to_pylist() for n, c in columns.items() if n not in COLUMNS},
        )


def _whole(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _decisions(labels: pa.Array, rules: LabelRules) -> np.ndarray:
    """Returns the class of each row; for multilabel, int [rows, labels] of 0 and 1."""
    names = pa.array(rules.names, pa.string())
    if rules.type != "multilabel":
        return np.asarray(pc.index_in(labels, names))
    given = np.zeros((len(labels), len(names)), np.int64)
    rows = np.asarray(pc.list_parent_indices(labels))
    given[rows, np.asarray(pc.index_in(labels.flatten(), names))] = 1
    return given
