"""Areas under ROC and precision-recall curves, of many resamples at once."""

import numpy as np

from reviewbeam.components.evaluation.counts import ratio


class Ranking:
    """Rows in the order of a score, sorted once for all resamples."""

    def __init__(self, score: np.ndarray, positive: np.ndarray):
        """Sorts rows by their score, the highest first.

        Args:
          score: float [rows].
          positive: whether a row has what the score tells of, bool [rows].
        """
        order = np.argsort(-score, kind="stable")
        # Rows of one score can't be told apart: a curve has a point for each score.
        ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
        group = np.searchsorted(ends, np.arange(len(order)))
        self._order = order
        self._positives = order[positive[order]]
        self._negative = 1.0 - positive
        held, self._starts = np.unique(group[positive[order]], return_index=True)
        self._ends = ends[held]
        self._before = np.append(-1, ends)[held]  # last place of the group above it

    def areas(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the area under the ROC curve, and the average precision.

        Both are NaN for a resample in which no row is positive; so is the first where
        each row is.

        Args:
          weights: of the rows in each resample, float [rows, resamples].
        """
        cumulated = weights[self._order].cumsum(axis=0)
        none = np.full(weights.shape[1], np.nan)
        if not len(self._positives):
            return none, none
        found = np.add.reduceat(weights[self._positives], self._starts, axis=0)
        hits = found.cumsum(axis=0)
        taken = cumulated[self._ends]
        precision = ratio(hits, taken, 0)
        average_precision = ratio((found * precision).sum(axis=0), hits[-1])
        above = np.where(
            (self._before < 0)[:, None], 0.0, cumulated[self._before]
        )  # the weight of the rows with higher scores
        # Negative rows below count as ordered well, those of the same score as half.
        negatives = self._negative @ weights
        here = taken - above - found
        below = negatives - (taken - hits)
        ordered = (found * (below + here / 2)).sum(axis=0)
        return ratio(ordered, hits[-1] * negatives), average_precision
