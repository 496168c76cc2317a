"""Two models on the same rows: differences with intervals, and McNemar's test."""

import dataclasses
from typing import Any

import numpy as np
from scipy.stats import binomtest

from reviewbeam.components.common.evaluate_config import BootstrapConfig
from reviewbeam.components.evaluation.bootstrap import intervals
from reviewbeam.components.evaluation.counts import Figures
from reviewbeam.components.evaluation.figures import FigureSet


@dataclasses.dataclass(frozen=True)
class Difference:
    """A figure of two models on the same rows.

    Attributes:
      model: the model's figure.
      baseline: the other's.
      interval: 95 % interval of model - baseline; None: too many resamples lack it.
    """

    model: float
    baseline: float
    interval: tuple[float, float] | None

    @property
    def difference(self) -> float:
        """What the model has more than the baseline."""
        return self.model - self.baseline

    def public(self) -> dict[str, Any]:
        """Returns the difference as plain data."""
        interval = self.interval and list(self.interval)
        return dataclasses.asdict(self) | {
            "difference": self.difference,
            "interval": interval,
        }


def paired_differences(
    model: FigureSet,
    baseline: FigureSet,
    rows: int,
    config: BootstrapConfig,
    name: str,
    weights: np.ndarray | None = None,
) -> dict[str, Difference]:
    """Compares all figures of two models by a paired bootstrap.

    Both are computed of the same resamples of rows, so that what the models have in
    common cancels out (Koehn 2004, "Statistical Significance Tests for Machine
    Translation Evaluation"); the interval is of percentiles.

    Args:
      model: figures of the model's predictions.
      baseline: of the other's, of the same rows.
      rows: how many there are.
      config: number of resamples, and seed.
      name: of the rows, for the seed.
      weights: of the rows; None: all count the same.

    Returns:
      Name -> difference, of the figures that both models have.
    """
    whole = np.ones((rows, 1)) if weights is None else weights[:, None]
    found = intervals(
        lambda drawn: _less(model(drawn), baseline(drawn)), rows, config, name, weights
    )
    new, old = (
        {figure: float(value[0]) for figure, value in figures(whole).items()}
        for figures in (model, baseline)
    )
    return {
        figure: Difference(new[figure], old[figure], found.get(figure))
        for figure in new
        if not np.isnan(new[figure] - old[figure])
    }


def mcnemar(model: np.ndarray, baseline: np.ndarray) -> dict[str, Any]:
    """Tests whether two models are right equally often.

    McNemar 1947, "Note on the sampling error of the difference between correlated
    proportions", by the exact binomial distribution: right for few rows on which the
    models differ, and for many.

    Args:
      model: whether it is right, bool [rows].
      baseline: whether the other is.

    Returns:
      `only_model_right` and `only_baseline_right` (rows), and the two-sided `p_value`.
    """
    better = int(np.count_nonzero(model & ~baseline))
    worse = int(np.count_nonzero(~model & baseline))
    p_value = binomtest(better, better + worse).pvalue if better + worse else 1.0
    return {
        "only_model_right": better,
        "only_baseline_right": worse,
        "p_value": float(p_value),
    }


def _less(new: Figures, old: Figures) -> Figures:
    return {figure: values - old[figure] for figure, values in new.items()}
