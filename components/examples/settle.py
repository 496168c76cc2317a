"""Settles which reviews of one partition become examples, and in which split."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from reviewbeam.components.common.columns import with_columns
from reviewbeam.components.common.prepare_config import SPLITS, PrepareConfig
from reviewbeam.components.common.privacy import shown
from reviewbeam.components.examples.keys import key_numbers
from reviewbeam.components.examples.splits import TEST, own_ranks

SHOWN_CONFLICTS = 20  # of labels, in a report
DUPLICATE = "duplicates"
LABEL_CONFLICT = "left_out.label_conflict"
SPLIT_CONFLICT = "left_out.split_conflict"  # its text is in a more reserved split


@dataclasses.dataclass(frozen=True)
class LabelConflict:
    """A text whose copies have different labels."""

    text_key: str  # in hex
    file: str  # of one of the copies
    slice: int
    row: int  # within the slice
    labels: dict[str, int]  # label -> copies
    text: str | None  # as far as the config lets it be shown


@dataclasses.dataclass
class Settled:
    """What became of the reviews of a partition.

    Attributes:
      examples: ordered by split and text key, with `split` (string) and `count`
        (int64, how many reviews each stands for) at the end.
      outcomes: (file, outcome) -> reviews.
      conflicts: how many texts have different labels.
      shown_conflicts: some of them, the first by text key.
    """

    examples: pa.RecordBatch
    outcomes: Counter
    conflicts: int
    shown_conflicts: list[LabelConflict]


def settle(
    reviews: pa.RecordBatch, config: PrepareConfig, latest: str | None
) -> Settled:
    """Folds reviews of the same text into examples, and assigns their splits.

    Where a text is wanted by several splits, the most reserved one has it: only
    reviews of that split are considered, the others are left out. The test split of
    a corpus that names its splits is taken as it is, copies included.

    Args:
      reviews: all reviews of some text keys, in any order, with the columns
        `text_key`, `label_index`, `group`, `time`, `given_split`, `id`, `text`,
        `file`, `slice`, `row`.
      config: how duplicates and splits are settled.
      latest: time of the corpus's latest review, where they are divided by time.
    """
    own = own_ranks(reviews, config.split, latest)
    keys = key_numbers(reviews.column("text_key"))
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    keys = keys[order]
    new_run = np.append(True, np.any(keys[1:] != keys[:-1], axis=1))[: len(keys)]
    starts = np.flatnonzero(new_run)
    lengths = np.diff(np.append(starts, len(keys)))

    chosen = order[starts[lengths == 1]].tolist()
    counts = [1] * len(chosen)
    fates: list[tuple[int, str]] = []
    with_copies = order[np.repeat(lengths > 1, lengths)]
    fold = _Fold(_taken(reviews, with_copies), own[with_copies], config)
    rows, start = with_copies.tolist(), 0
    for length in lengths[lengths > 1].tolist():
        winners, losers = fold(range(start, start + length))
        chosen.extend(rows[place] for place, _ in winners)
        counts.extend(count for _, count in winners)
        fates.extend((rows[place], fate) for place, fate in losers)
        start += length
    examples = _examples(reviews, own, np.array(chosen, np.int64), np.array(counts))
    outcomes = _outcomes(reviews, own, chosen, fates)
    return Settled(examples, outcomes, fold.conflicts, fold.shown_conflicts)


def _examples(
    reviews: pa.RecordBatch, own: np.ndarray, rows: np.ndarray, counts: np.ndarray
) -> pa.RecordBatch:
    # keep_all gives a text several examples, in the order of their labels; a test
    # split that is taken as it is, in the order of survival.
    keys = key_numbers(reviews.column("text_key"))[rows]
    order = np.lexsort((np.arange(len(rows)), keys[:, 1], keys[:, 0], own[rows]))
    rows, counts = rows[order], counts[order]
    names = pa.array(SPLITS, pa.string())
    return with_columns(
        _taken(reviews, rows),
        split=names.take(pa.array(own[rows])),
        count=pa.array(counts, pa.int64()),
    )


def _taken(reviews: pa.RecordBatch, rows: np.ndarray) -> pa.RecordBatch:
    columns = [column.take(pa.array(rows)) for column in reviews.columns]
    return pa.RecordBatch.from_arrays(columns, names=reviews.schema.names)


def _outcomes(
    reviews: pa.RecordBatch,
    own: np.ndarray,
    chosen: list[int],
    fates: list[tuple[int, str]],
) -> Counter:
    encoded = reviews.column("file").dictionary_encode()
    files, codes = encoded.dictionary.to_pylist(), np.asarray(encoded.indices)
    outcomes = Counter((files[codes[row]], fate) for row, fate in fates)
    written = codes[chosen].astype(np.int64) * len(SPLITS) + own[chosen]
    for code, rows in enumerate(np.bincount(written).tolist()):
        if rows:
            file, rank = divmod(code, len(SPLITS))
            outcomes[files[file], f"written.{SPLITS[rank]}"] += rows
    return outcomes


class _Fold:
    """Chooses the survivors among reviews of one text, and the fate of the others."""

    def __init__(self, reviews: pa.RecordBatch, own: np.ndarray, config: PrepareConfig):
        self._own = own.tolist()
        self._on_conflict = config.duplicates.on_conflict
        self._test_is_given = config.split.column is not None
        self._labels = [
            tuple(label) if isinstance(label, list) else label
            for label in reviews.column("label_index").to_pylist()
        ]
        self._reviews = reviews
        self._config = config
        self.conflicts = 0
        self.shown_conflicts: list[LabelConflict] = []  # texts come in order of keys
        self._order = [
            reviews.column(name).to_pylist()
            for name in ("id", "text", "file", "slice", "row")
        ]

    def __call__(
        self, run: Sequence[int]
    ) -> tuple[list[tuple[int, int]], list[tuple[int, str]]]:
        """Returns [(survivor, count)] and [(row, fate)]; together they are all rows."""
        reserved = max(self._own[row] for row in run)
        fates = [(row, SPLIT_CONFLICT) for row in run if self._own[row] != reserved]
        rows = [row for row in run if self._own[row] == reserved]
        if self._test_is_given and reserved == TEST:
            return [(row, 1) for row in sorted(rows, key=self._rank)], fates
        by_label: dict[int | tuple, list[int]] = {}
        for row in rows:
            by_label.setdefault(self._labels[row], []).append(row)
        if len(by_label) > 1:
            self._note_conflict(by_label)
        if len(by_label) > 1 and self._on_conflict == "drop":
            return [], fates + [(row, LABEL_CONFLICT) for row in rows]
        if self._on_conflict == "keep_all":
            candidates = [(mine, len(mine)) for _, mine in sorted(by_label.items())]
        else:  # most frequent label; of equals the first class
            _, mine = min(by_label.items(), key=lambda item: (-len(item[1]), item[0]))
            candidates = [(mine, len(rows))]
        survivors = [(min(mine, key=self._rank), count) for mine, count in candidates]
        chosen = {row for row, _ in survivors}
        return survivors, fates + [(r, DUPLICATE) for r in rows if r not in chosen]

    def _note_conflict(self, by_label: dict[int | tuple, list[int]]) -> None:
        self.conflicts += 1
        if len(self.shown_conflicts) == SHOWN_CONFLICTS:
            return
        row = min((row for mine in by_label.values() for row in mine), key=self._rank)
        key, text, file, piece, number = (
            self._reviews.column(name)[row].as_py()
            for name in ("text_key", "text", "file", "slice", "row")
        )
        names = self._config.labels.names
        labels = {
            " + ".join(names[i] for i in np.atleast_1d(label)) or "none": len(mine)
            for label, mine in sorted(by_label.items())
        }
        text = shown(text, self._config.privacy)
        self.shown_conflicts.append(
            LabelConflict(key.hex(), file, piece, number, labels, text)
        )

    def _rank(self, row: int) -> tuple:
        """A total order of reviews that no order of reading can change."""
        identity, text, *place = (values[row] for values in self._order)
        return _digest(identity), _digest(text), *place


def _digest(value: str) -> bytes:
    return hashlib.blake2b(value.encode("utf-8"), digest_size=16).digest()
