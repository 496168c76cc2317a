import math

import numpy as np
import pytest
from scipy.spatial import distance

from reviewbeam.components.common.distances import (
    chance_of_divergence,
    chance_of_share,
    jensen_shannon,
)


@pytest.mark.parametrize(
    ("counts", "others", "expected"),
    [
        ([5, 0], [0, 3], 1.0),
        ([2, 4], [1, 2], 0.0),
        # p = 1/2, 1/2 and q = 0, 1: with m = 1/4, 3/4, in bits.
        ([7, 7], [0, 9], (1 + math.log2(2 / 3)) / 4 + math.log2(4 / 3) / 2),
    ],
)
def test_the_divergence_of_two_histograms(counts, others, expected):
    counts, others = np.array(counts), np.array(others)
    assert jensen_shannon(counts, others) == pytest.approx(expected, abs=1e-12)
    assert jensen_shannon(others, counts) == pytest.approx(expected, abs=1e-12)


def test_the_divergence_is_scipy_s():
    random = np.random.default_rng(1)
    for _ in range(20):
        counts, others = random.poisson(random.exponential(5, 12), (2, 12)) + [[1], [0]]
        expected = distance.jensenshannon(counts, others, base=2) ** 2
        assert jensen_shannon(counts, others) == pytest.approx(expected)


def test_chance_is_what_samples_of_one_corpus_differ_by():
    random = np.random.default_rng(2)
    shares = np.array([0.3, 0.3, 0.2, 0.15, 0.05])
    scatter = 1 / 400 + 1 / 900
    pairs = [
        (random.multinomial(400, shares), random.multinomial(900, shares))
        for _ in range(4000)
    ]
    mean = np.mean([jensen_shannon(a, b) for a, b in pairs])
    assert mean == pytest.approx(chance_of_divergence(5, scatter), rel=0.05)
    shares = random.binomial((400, 900), 0.5, (20_000, 2)) / (400, 900)
    beyond = np.abs(shares[:, 0] - shares[:, 1]) > chance_of_share(scatter)
    assert beyond.mean() == pytest.approx(0.0455, abs=0.005)  # two deviations
