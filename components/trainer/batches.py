"""Cuts a split into batches of near-one length under a token budget.

Padding is most of the cost of a transformer on short texts, so a batch holds rows
of near-one length. What keeps the order random enough for gradient descent: rows
are sorted by their length times a random factor, drawn anew in each epoch, so that
a row's batch mates change, and the batches come in random order.
"""

import dataclasses

import numpy as np

LENGTH_JITTER = 0.05  # relative; costs 1 % of padding
MOST_PADDING = 0.05  # share of a batch; beyond it a half-full batch ends


@dataclasses.dataclass(frozen=True)
class BatchPlan:
    """Which rows make up each batch of one pass over a split.

    Attributes:
      rows: int64 [rows]; row numbers, batch after batch.
      starts: int64 [batches + 1]; batch i is `rows[starts[i]:starts[i + 1]]`.
      tokens: int64 [batches]; real tokens.
      cells: int64 [batches]; tokens with padding, rows times the longest row.
    """

    rows: np.ndarray
    starts: np.ndarray
    tokens: np.ndarray
    cells: np.ndarray

    def __len__(self):
        return len(self.starts) - 1

    def batch(self, index: int) -> np.ndarray:
        """Returns the row numbers of one batch."""
        return self.rows[self.starts[index] : self.starts[index + 1]]

    @property
    def padding_share(self) -> float:
        """Share of the cells that hold padding."""
        return 1 - float(self.tokens.sum()) / max(float(self.cells.sum()), 1.0)


def plan_batches(lengths: np.ndarray, budget: int, seed: int, epoch: int) -> BatchPlan:
    """Plans one epoch of training; equal arguments give an equal plan.

    The plan depends on nothing else, least of all on the number of devices, so
    that any step of any epoch can be found again.

    Args:
      lengths: int [rows]; tokens of each row.
      budget: most cells of a batch. A row that is longer stands alone.
      seed: of the run.
      epoch: counted from 0.
    """
    random = np.random.default_rng([seed, epoch])
    jitter = random.uniform(1, 1 + LENGTH_JITTER, len(lengths))
    # Sorted is a permutation of the rows, so that equal keys too come shuffled.
    shuffled = random.permutation(len(lengths))
    order = shuffled[np.argsort((lengths * jitter)[shuffled], kind="stable")]
    plan = _cut(order, lengths, budget)
    batches = random.permutation(len(plan))
    return _reorder(plan, batches)


def plan_in_order_of_length(lengths: np.ndarray, budget: int) -> BatchPlan:
    """Plans a pass whose order doesn't matter, with the least padding."""
    return _cut(np.argsort(lengths, kind="stable"), lengths, budget)


def _cut(order: np.ndarray, lengths: np.ndarray, budget: int) -> BatchPlan:
    sorted_lengths = np.asarray(lengths, np.int64)[order]
    starts = [0]
    while starts[-1] < len(order):
        start = starts[-1]
        most = max(1, int(budget * (1 + LENGTH_JITTER)) // int(sorted_lengths[start]))
        starts.append(start + _rows_of_batch(sorted_lengths[start:][:most], budget))
    boundaries = np.array(starts, np.int64)
    if not len(order):
        return BatchPlan(order, boundaries, sorted_lengths, sorted_lengths)
    return BatchPlan(
        rows=order,
        starts=boundaries,
        tokens=np.add.reduceat(sorted_lengths, boundaries[:-1]),
        cells=np.maximum.reduceat(sorted_lengths, boundaries[:-1])
        * np.diff(boundaries),
    )


def _rows_of_batch(window: np.ndarray, budget: int) -> int:
    """Returns how many of the next rows make a batch: as many as may be, at least 1."""
    cells = np.maximum.accumulate(window) * np.arange(1, len(window) + 1)
    padding = 1 - np.cumsum(window) / cells
    # A batch that would be padded too much ends early, but not below half the
    # budget: few rows make a poor gradient.
    good = (cells <= budget) & ((padding <= MOST_PADDING) | (cells <= budget // 2))
    fitting = np.flatnonzero(good)
    return int(fitting[-1]) + 1 if len(fitting) else 1


def _reorder(plan: BatchPlan, batches: np.ndarray) -> BatchPlan:
    sizes = np.diff(plan.starts)[batches]
    rows = [plan.batch(batch) for batch in batches]
    return BatchPlan(
        np.concatenate(rows) if rows else plan.rows,
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        plan.tokens[batches],
        plan.cells[batches],
    )
