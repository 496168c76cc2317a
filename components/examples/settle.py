"""Settles which reviews of one partition become examples, and in which split."""

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from reviewbeam.components.common.columns import with_columns
from reviewbeam.components.common.job_configs import DuplicateRules, SplitRules
from reviewbeam.components.examples.keys import SPLITS, key_numbers, split_of

# What became of a review: (file, outcome) -> number of reviews.
Outcomes = Counter
_DUPLICATE = "duplicates"
_LABEL_CONFLICT = "left_out.label_conflict"
_SPLIT_CONFLICT = "left_out.split_conflict"


def settle(
    reviews: pa.RecordBatch, duplicates: DuplicateRules, splits: SplitRules
) -> tuple[pa.RecordBatch, Outcomes]:
    """Folds reviews of the same text into examples, and assigns their splits.

    Args:
      reviews: all reviews of some text keys, in any order, with the columns
        `text_key`, `label_index`, `group`, `id`, `text`, `file`, `slice`, `row`.
      duplicates: what becomes of labels that disagree.
      splits: how a text key or a group gets its split.

    Returns:
      The examples ordered by text key, with `split` (string) and `count` (int64,
      how many reviews each stands for) at the end; and what became of each review.
    """
    keys = key_numbers(reviews.column("text_key"))
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    keys = keys[order]
    new_run = np.append(True, np.any(keys[1:] != keys[:-1], axis=1))[: len(keys)]
    starts = np.flatnonzero(new_run)
    runs = np.split(order, starts[1:]) if len(starts) else []

    split = _row_splits(reviews, splits)
    files = reviews.column("file").to_pylist()
    labels = reviews.column("label_index").to_pylist()
    outcomes: Outcomes = Counter()
    chosen: list[tuple[int, int]] = []  # (row of the survivor, count)
    rank = _SurvivorRank(reviews)
    for run in runs:
        if len(run) == 1:
            chosen.append((run[0], 1))
            continue
        winners, fates = _fold(run, labels, split, duplicates.on_conflict, rank)
        chosen.extend(winners)
        outcomes.update((files[row], fate) for row, fate in fates)
    outcomes.update((files[row], f"written.{split[row]}") for row, _ in chosen)
    rows = pa.array([row for row, _ in chosen], pa.int64())
    examples = pa.RecordBatch.from_arrays(
        [column.take(rows) for column in reviews.columns], names=reviews.schema.names
    )
    return with_columns(
        examples,
        split=pa.array([split[row] for row, _ in chosen], pa.string()),
        count=pa.array([count for _, count in chosen], pa.int64()),
    ), outcomes


def _row_splits(reviews: pa.RecordBatch, rules: SplitRules) -> list[str]:
    keys = reviews.column("text_key").to_pylist()
    groups = reviews.column("group").to_pylist()
    return [
        split_of(key if group is None else b"group:" + group.encode(), rules)
        for key, group in zip(keys, groups, strict=True)
    ]


def _fold(
    run: Sequence[int], labels: list[int], split: list[str], on_conflict: str, rank
) -> tuple[list[tuple[int, int]], list[tuple[int, str]]]:
    """Chooses the survivors of one text, and the fate of the others.

    Returns [(row, count)] and [(row, fate)]; together they are all rows.
    """
    by_label: dict[int, list[int]] = {}
    for row in run:
        by_label.setdefault(labels[row], []).append(row)
    if len(by_label) > 1 and on_conflict == "drop":
        return [], [(row, _LABEL_CONFLICT) for row in run]
    if on_conflict == "keep_all":
        candidates = [(rows, len(rows)) for _, rows in sorted(by_label.items())]
    else:  # most frequent label; of equals the first class
        _, rows = min(by_label.items(), key=lambda item: (-len(item[1]), item[0]))
        candidates = [(rows, len(run))]
    # With group_by the copies may belong to groups of different splits. The most
    # reserved one has the text.
    reserved = max((split[row] for rows, _ in candidates for row in rows), key=_rank)
    survivors, fates = [], []
    for rows, count in candidates:
        eligible = [row for row in rows if split[row] == reserved]
        if eligible:
            survivors.append((min(eligible, key=rank), count))
        else:
            fates.extend((row, _SPLIT_CONFLICT) for row in rows)
    gone = {row for row, _ in survivors} | {row for row, _ in fates}
    fates.extend((row, _DUPLICATE) for row in run if row not in gone)
    return survivors, fates


def _rank(split: str) -> int:
    return SPLITS.index(split)


class _SurvivorRank:
    """A total order of reviews that no order of reading can change."""

    def __init__(self, reviews: pa.RecordBatch):
        self._columns = [
            reviews.column(name) for name in ("id", "text", "file", "slice", "row")
        ]

    def __call__(self, row: int):
        identity, text, *place = (column[int(row)].as_py() for column in self._columns)
        return _digest(identity), _digest(text), *place


def _digest(value: str) -> bytes:
    return hashlib.blake2b(value.encode("utf-8"), digest_size=16).digest()
