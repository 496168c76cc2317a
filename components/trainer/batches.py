"""Cuts a split into batches of near-one length under a token budget.

Padding is most of the cost of a transformer on short texts, so a batch holds rows
of near-one length. What keeps the order random enough for gradient descent: rows
are sorted by their length times a random factor, drawn anew in each epoch, so that
a row's batch mates change, and the batches come in random order.
"""

import dataclasses

import numpy as np

LENGTH_JITTER = 0.05  # relative; costs 1 % of padding
_WIDTH_STEP = 32  # tokens between the shapes of a plan with few
MOST_PADDING = 0.05  # share of a batch; beyond it a half-full batch ends


@dataclasses.dataclass(frozen=True)
class BatchPlan:
    """Which rows make up each batch of one pass over a split.

    Attributes:
      rows: int64 [rows]; row numbers, batch after batch.
      starts: int64 [batches + 1]; batch i is `rows[starts[i]:starts[i + 1]]`.
      tokens: int64 [batches]; real tokens.
      shapes: int64 [batches, 2]; rows and tokens of the rectangle that holds a batch.
    """

    rows: np.ndarray
    starts: np.ndarray
    tokens: np.ndarray
    shapes: np.ndarray

    def __len__(self):
        return len(self.starts) - 1

    def batch(self, index: int) -> np.ndarray:
        """Returns the row numbers of one batch."""
        return self.rows[self.starts[index] : self.starts[index + 1]]

    @property
    def cells(self) -> np.ndarray:
        """Tokens of each batch with padding, int64 [batches]."""
        return self.shapes.prod(axis=1)

    @property
    def padding_share(self) -> float:
        """Share of the cells that hold padding."""
        return 1 - float(self.tokens.sum()) / max(float(self.cells.sum()), 1.0)


def plan_batches(
    rows: np.ndarray,
    lengths: np.ndarray,
    budget: int,
    seed: int,
    epoch: int,
    *,
    few_shapes: bool = False,
) -> BatchPlan:
    """Plans one epoch of training; equal arguments give an equal plan.

    The plan depends on nothing else, least of all on the number of devices, so
    that any step of any epoch can be found again.

    Args:
      rows: int [seen]; the rows of this epoch, one perhaps several times.
      lengths: int [rows of the split]; tokens of each.
      budget: most cells of a batch. A row that is longer stands alone.
      seed: of the run.
      epoch: counted from 0.
      few_shapes: widen the batches to one of few shapes, since XLA compiles each.
    """
    random = np.random.default_rng([seed, epoch])
    jitter = random.uniform(1, 1 + LENGTH_JITTER, len(rows))
    # Sorted is a permutation of the rows, so that equal keys too come shuffled.
    shuffled = random.permutation(len(rows))
    keys = (lengths[rows] * jitter)[shuffled]
    order = rows[shuffled[np.argsort(keys, kind="stable")]]
    plan = _cut(order, lengths, budget, few_shapes=few_shapes)
    batches = random.permutation(len(plan))
    return _reorder(plan, batches)


def plan_in_order_of_length(lengths: np.ndarray, budget: int) -> BatchPlan:
    """Plans a pass whose order doesn't matter, with the least padding."""
    return _cut(np.argsort(lengths, kind="stable"), lengths, budget)


def mates_kept(before: BatchPlan, after: BatchPlan) -> float:
    """Returns which share of a row's batch mates meets it again, a mean over the rows.

    It tells how well an epoch is shuffled: 0 is as well as can be, 1 not at all. Rows
    that are seen several times in an epoch count by their last batch, rows without
    mates not at all.

    Args:
      before: the plan of an epoch.
      after: that of the next one.
    """
    batch_of = [np.full(plan.rows.max(initial=0) + 1, -1) for plan in (before, after)]
    for places, plan in zip(batch_of, (before, after), strict=True):
        places[plan.rows] = np.repeat(np.arange(len(plan)), np.diff(plan.starts))
    shared = np.arange(min(map(len, batch_of)))
    pairs = np.stack([places[shared] for places in batch_of])
    pairs = pairs[:, (pairs >= 0).all(axis=0)]
    met = np.bincount(pairs[0])
    again, together = np.unique(pairs, axis=1, return_counts=True)
    mates = met[again[0]] - 1
    shares = (together * (together - 1))[mates > 0] / mates[mates > 0]
    rows = met[met > 1].sum()
    return float(shares.sum() / rows) if rows else 0.0


def _cut(
    order: np.ndarray, lengths: np.ndarray, budget: int, *, few_shapes: bool = False
) -> BatchPlan:
    sorted_lengths = np.asarray(lengths, np.int64)[order]
    widths, most_padding = sorted_lengths, MOST_PADDING
    if few_shapes:
        widths = -(-sorted_lengths // _WIDTH_STEP) * _WIDTH_STEP
        most_padding = 1.0  # the shape is given: let it be full
    starts = [0]
    while starts[-1] < len(order):
        start = starts[-1]
        most = max(1, int(budget * (1 + LENGTH_JITTER)) // int(sorted_lengths[start]))
        window = slice(start, start + most)
        rows = _rows_of_batch(
            sorted_lengths[window], widths[window], budget, most_padding
        )
        starts.append(start + rows)
    boundaries = np.array(starts, np.int64)
    if not len(order):
        return BatchPlan(order, boundaries, sorted_lengths, np.zeros((0, 2), np.int64))
    longest = np.maximum.reduceat(widths, boundaries[:-1])
    counts = np.diff(boundaries)
    if few_shapes:
        counts = np.maximum(counts, budget // longest)
    return BatchPlan(
        rows=order,
        starts=boundaries,
        tokens=np.add.reduceat(sorted_lengths, boundaries[:-1]),
        shapes=np.stack([counts, longest], axis=1),
    )


def _rows_of_batch(
    lengths: np.ndarray, widths: np.ndarray, budget: int, most_padding: float
) -> int:
    """Returns how many of the next rows make a batch: as many as may be, at least 1."""
    cells = np.maximum.accumulate(widths) * np.arange(1, len(widths) + 1)
    padding = 1 - np.cumsum(lengths) / cells
    # A batch that would be padded too much ends early, but not below half the
    # budget: few rows make a poor gradient.
    good = (cells <= budget) & ((padding <= most_padding) | (cells <= budget // 2))
    fitting = np.flatnonzero(good)
    return int(fitting[-1]) + 1 if len(fitting) else 1


def _reorder(plan: BatchPlan, batches: np.ndarray) -> BatchPlan:
    sizes = np.diff(plan.starts)[batches]
    rows = [plan.batch(batch) for batch in batches]
    return BatchPlan(
        np.concatenate(rows) if rows else plan.rows,
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        plan.tokens[batches],
        plan.shapes[batches],
    )
