"""Paired comparisons, against what others compute of the same counts."""

import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import f1_score, log_loss

from reviewbeam.components.common.evaluate_config import BootstrapConfig
from reviewbeam.components.evaluation.figures import FigureSet
from reviewbeam.components.evaluation.paired import mcnemar, paired_differences

NAMES = ("a", "b", "c")


def rightness(both, model, baseline, neither):
    """Rows on which both are right, only the one, only the other, neither."""
    counts = (both, model, baseline, neither)
    return (
        np.repeat([True, True, False, False], counts),
        np.repeat([True, False, True, False], counts),
    )


@pytest.mark.parametrize(
    ("counts", "p_value"),
    [
        # what mlxtend says: mcnemar([[101, 121], [59, 33]], exact=True)
        ((101, 121, 59, 33), 4.4344492637555101e-06),
        ((101, 59, 121, 33), 4.4344492637555101e-06),
        # by hand: 2 * (1 + 6) / 2**6
        ((10, 1, 5, 3), 14 / 64),
        ((0, 0, 5, 0), 2 / 32),
        ((5, 1, 1, 5), 1.0),
        ((5, 0, 0, 5), 1.0),
    ],
)
def test_mcnemar(counts, p_value):
    found = mcnemar(*rightness(*counts))
    assert found["p_value"] == pytest.approx(p_value, rel=1e-9)
    assert (found["only_model_right"], found["only_baseline_right"]) == counts[1:3]


@pytest.fixture(scope="module")
def rows():
    """True classes, and the probabilities of two models: the first is the better."""
    random = np.random.default_rng(3)
    true = random.choice(3, 400, p=[0.6, 0.1, 0.3])
    common = random.normal(size=(400, 3)) + 1.5 * np.eye(3)[true]
    models = [common + noise * random.normal(size=(400, 3)) for noise in (0.2, 1.5)]
    probabilities = [np.exp(m) / np.exp(m).sum(axis=1, keepdims=True) for m in models]
    return true, *probabilities


def differences(true, new, old, config, **options):
    sets = (
        FigureSet(true, p.argmax(axis=1), p, "multiclass", NAMES) for p in (new, old)
    )
    return paired_differences(*sets, len(true), config, "all", **options)


def test_differences_are_those_of_scikit_learn(rows):
    true, new, old = rows
    found = differences(true, new, old, BootstrapConfig(resamples=100))
    for figure, compute in {
        "macro_f1": lambda p: f1_score(true, p.argmax(axis=1), average="macro"),
        "log_loss": lambda p: log_loss(true, p),
        "f1.b": lambda p: f1_score(true, p.argmax(axis=1), average=None)[1],
    }.items():
        assert found[figure].model == pytest.approx(compute(new), abs=1e-12)
        assert found[figure].baseline == pytest.approx(compute(old), abs=1e-12)
        expected = compute(new) - compute(old)
        assert found[figure].difference == pytest.approx(expected, abs=1e-12)
        assert found[figure].public()["difference"] == found[figure].difference


def test_intervals_are_those_of_scipy_s_paired_bootstrap(rows):
    true, new, old = rows
    found = differences(true, new, old, BootstrapConfig(resamples=4000))["accuracy"]
    right = [p.argmax(axis=1) == true for p in (new, old)]

    def gain(a, b, axis=-1):
        return a.mean(axis=axis) - b.mean(axis=axis)

    expected = bootstrap(
        right, gain, paired=True, method="percentile", n_resamples=4000,
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    assert found.interval == pytest.approx(tuple(expected), abs=0.005)
    assert found.interval[0] > 0


def test_pairs_are_narrower_than_two_models_apart(rows):
    true, new, old = rows
    config = BootstrapConfig(resamples=1000)
    paired = differences(true, new, old, config)["accuracy"].interval
    order = np.random.default_rng(1).permutation(400)
    sets = [
        FigureSet(t, p.argmax(axis=1), p, "multiclass", NAMES)
        for t, p in ((true, new), (true[order], old[order]))
    ]
    apart = paired_differences(*sets, 400, config, "all")["accuracy"].interval
    assert paired[1] - paired[0] < 0.95 * (apart[1] - apart[0])


def test_a_model_beside_itself_differs_by_nothing(rows):
    true, new, _ = rows
    weights = np.random.default_rng(2).integers(1, 5, 400).astype(float)
    found = differences(true, new, new, BootstrapConfig(resamples=50), weights=weights)
    assert {(d.difference, d.interval) for d in found.values()} == {(0.0, (0.0, 0.0))}
