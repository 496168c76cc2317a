"""Seeded bootstrap: resamples of rows, and the intervals that figures get by them."""

import hashlib
from collections.abc import Iterator

import numpy as np

from reviewbeam.components.common.evaluate_config import BootstrapConfig
from reviewbeam.components.evaluation.figures import FigureSet

_CELLS = 2**19  # rows x resamples at once: 4 MB of weights stay in the cache
_TAILS = (2.5, 97.5)  # percentiles
_DEFINED = 0.95  # of the resamples must have a figure, or it gets no interval


def generator(seed: int, name: str) -> np.random.Generator:
    """Returns a generator of its own for each name, the same every time."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "big")])


def resamples(
    rows: int, config: BootstrapConfig, name: str, weights: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Draws rows with replacement (Efron 1979, "Bootstrap Methods").

    The same rows, config and name give the same resamples: two models' figures by
    them are paired.

    Args:
      rows: how many there are, and are drawn.
      config: number of resamples, and seed.
      name: of what is resampled.
      weights: of the rows, by which draws are multiplied; None: all count the same.

    Yields:
      Weights of the rows in some resamples, float64 [rows, resamples]: how often each
      was drawn.
    """
    random = generator(config.seed, name)
    most = max(1, _CELLS // rows)
    for start in range(0, config.resamples, most):
        count = min(most, config.resamples - start)
        drawn = random.integers(0, rows, (rows, count)) * count + np.arange(count)
        times = np.bincount(drawn.ravel(), minlength=rows * count)
        times = times.reshape(rows, count).astype(np.float64)
        yield times if weights is None else times * weights[:, None]


def intervals(
    figure_set: FigureSet,
    rows: int,
    config: BootstrapConfig,
    name: str,
    weights: np.ndarray | None = None,
) -> dict[str, tuple[float, float]]:
    """Returns the 95 % percentile intervals of figures.

    A figure that one in twenty of the resamples or more don't have gets none: a class
    has so few rows that many resamples are without it.

    Args:
      figure_set: of the rows.
      rows: how many there are.
      config: number of resamples, and seed.
      name: as that of `resamples`.
      weights: of the rows; None: all count the same.
    """
    if not config.resamples:
        return {}
    parts = [figure_set(drawn) for drawn in resamples(rows, config, name, weights)]
    found = {}
    for figure in parts[0]:
        values = np.concatenate([part[figure] for part in parts])
        values = values[~np.isnan(values)]
        if len(values) > _DEFINED * config.resamples:
            low, high = np.percentile(values, _TAILS)
            found[figure] = (float(low), float(high))
    return found
