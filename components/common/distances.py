"""Distances of two distributions, and what of them is chance."""

import math

import numpy as np


def jensen_shannon(counts: np.ndarray, others: np.ndarray) -> float:
    """Returns the Jensen-Shannon divergence of two histograms in bits, 0 to 1.

    Lin 1991, "Divergence Measures Based on the Shannon Entropy"; as TFDV's comparator
    JENSEN_SHANNON_DIVERGENCE.

    Args:
      counts: how many are in each bin; not all are 0.
      others: those of the other sample, in the same bins.
    """
    p, q = counts / counts.sum(), others / others.sum()
    middle = (p + q) / 2
    return float((_divergence(p, middle) + _divergence(q, middle)) / 2)


def chance_of_divergence(bins: int, scatter: float) -> float:
    """Returns the Jensen-Shannon divergence of two samples of one corpus, on average.

    Times 8 ln 2 / scatter it has a chi-squared distribution, asymptotically.

    Args:
      bins: how many have a value in either sample.
      scatter: 1 / rows of one sample + 1 / rows of the other.
    """
    return (bins - 1) * scatter / (8 * math.log(2))


def chance_of_share(scatter: float) -> float:
    """Returns two standard deviations of a share's difference in such two samples.

    They are those of a share of one half, the largest there are.

    Args:
      scatter: 1 / rows of one sample + 1 / rows of the other.
    """
    return math.sqrt(scatter)


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Kullback and Leibler's, in bits; q has no 0 where p has none."""
    some = p > 0
    return (p[some] * np.log2(p[some] / q[some])).sum()
