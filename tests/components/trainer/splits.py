"""Splits in memory, for tests that need no dataset."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from reviewbeam.components.trainer.input import Split


def make_split(
    rows: Sequence[tuple[list[int], int | list[int]]],
    languages: Sequence[str | None] = ("en",),
    labels: int = 3,
) -> Split:
    """Makes a split of (token_ids, label); the rows have the languages in turn.

    Args:
      rows: a label is a list of indices for multilabel.
      languages: None is not known.
      labels: how many a multilabel row can have.
    """
    lengths = [len(token_ids) for token_ids, _ in rows]
    found = [label for _, label in rows]
    if rows and isinstance(found[0], list):
        hot = [[float(index in label) for index in range(labels)] for label in found]
        found = np.array(hot, np.float32)
    spoken = [languages[index % len(languages)] for index in range(len(rows))]
    tokens = [token for token_ids, _ in rows for token in token_ids]
    return Split(
        token_ids=np.array(tokens, np.int32),
        row_splits=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=found if isinstance(found, np.ndarray) else np.array(found, np.int32),
        ids=pa.chunked_array([pa.array([b"x"] * len(rows), pa.large_binary())]),
        languages=pa.chunked_array([pa.array(spoken, pa.string())]),
        counts=np.ones(len(rows), np.int64),
    )
