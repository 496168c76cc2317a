import numpy as np
import pytest

from reviewbeam.components.common.evaluate_config import BootstrapConfig
from reviewbeam.components.evaluation.bootstrap import intervals, resamples
from reviewbeam.components.evaluation.figures import FigureSet
from tests.components.evaluation.rows import random_predictions

NAMES = ("a", "b", "c")


def _figure_set(rows, seed=0):
    drawn = random_predictions("multiclass", 3, rows, seed)
    return FigureSet(
        drawn.true, drawn.predicted, drawn.probabilities, "multiclass", NAMES
    )


def test_a_resample_has_as_many_rows():
    config = BootstrapConfig(resamples=1234)
    drawn = np.concatenate(list(resamples(700, config, "x")), axis=1)

    assert drawn.shape == (700, 1234)
    assert (drawn.sum(axis=0) == 700).all()
    # A row is in a resample with the chance 1 - 1/e, each as often as the other.
    assert (drawn > 0).mean() == pytest.approx(1 - np.exp(-1), abs=0.002)
    assert drawn.mean(axis=1) == pytest.approx(1, abs=0.2)


def test_weights_multiply():
    config, weights = BootstrapConfig(resamples=5), np.array([1.0, 3.0, 0.5])
    bare, weighted = (
        next(resamples(3, config, "x", given)) for given in (None, weights)
    )
    assert (weighted == bare * weights[:, None]).all()


def test_the_seed_and_the_name_decide():
    def draw(seed, name):
        config = BootstrapConfig(resamples=200, seed=seed)
        return intervals(_figure_set(100), 100, config, name)

    assert draw(1, "x") == draw(1, "x")
    assert draw(1, "x")["accuracy"] != draw(2, "x")["accuracy"]
    assert draw(1, "x")["log_loss"] != draw(1, "y")["log_loss"]


def test_an_interval_holds_the_truth_as_often_as_it_says():
    """Of 300 samples of a known accuracy, about 95 % of the intervals."""
    config, held = BootstrapConfig(resamples=300), 0
    true = np.zeros(200, int)
    for seed in range(300):
        wrong = np.random.default_rng(seed).random(200) >= 0.8
        found = FigureSet(true, wrong.astype(int), None, "binary", ("a", "b"))
        low, high = intervals(found, 200, config, str(seed))["accuracy"]
        held += low <= 0.8 <= high
    assert 0.91 <= held / 300 <= 0.98


def test_the_interval_of_a_share_is_the_known_one():
    """Four in five of 1,000: 0.8 ± 1.96 standard errors."""
    true, config = np.zeros(1000, int), BootstrapConfig(resamples=4000)
    found = FigureSet(true, (np.arange(1000) < 200) * 1, None, "binary", ("a", "b"))
    margin = 1.96 * np.sqrt(0.8 * 0.2 / 1000)

    interval = intervals(found, 1000, config, "x")["accuracy"]
    assert interval == pytest.approx((0.8 - margin, 0.8 + margin), abs=0.002)


def test_what_many_resamples_lack_has_no_interval():
    """A class of one row is missing from a third of the resamples."""
    true = np.append(np.zeros(50, int), 1)
    probabilities = np.random.default_rng(0).dirichlet([1, 1], 51)
    found = FigureSet(true, true, probabilities, "binary", ("a", "b"))

    bounds = intervals(found, 51, BootstrapConfig(resamples=200), "x")
    assert "roc_auc" not in bounds and "pr_auc" not in bounds
    assert "log_loss" in bounds and bounds["accuracy"] == (1, 1)
    assert intervals(found, 51, BootstrapConfig(resamples=0), "x") == {}
