import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from reviewbeam.components.common.calibration import expected_calibration_error
from reviewbeam.components.evaluation.figures import FigureSet
from tests.components.evaluation.oracle import by_scikit_learn
from tests.components.evaluation.rows import figures

NAMES = ("bad", "so.so", "good", "great")
KINDS = {"binary": 2, "multiclass": 3, "ordinal": 4, "multilabel": 3}


def draw_rows(kind, rows, seed, *, classes=None):
    """Rows of any kind, with equal scores, and classes that may be absent."""
    random, count = np.random.default_rng(seed), KINDS[kind]
    probabilities = random.dirichlet([0.5] * count, rows)
    if random.random() < 0.5:  # scores that many rows share, and zeros
        probabilities = np.round(probabilities * 4) + 1e-300
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    probabilities = probabilities.astype(np.float32)
    if kind == "multilabel":
        true, predicted = random.random((2, rows, count)) < random.random(count)
        return true.astype(int), predicted, probabilities, kind, NAMES[:count]
    classes = random.integers(1, count + 1) if classes is None else classes
    true, predicted = random.integers(0, classes, (2, rows))
    return true, predicted, probabilities, kind, NAMES[:count]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 40), seed=st.integers(0, 2**32 - 1), weighted=st.booleans())
def test_equal_scikit_learn(kind, rows, seed, weighted):
    drawn = draw_rows(kind, rows, seed)
    weights = None
    if weighted:
        weights = np.random.default_rng(seed + 1).uniform(0.1, 7, rows)

    found = figures(*drawn, weights)
    expected = by_scikit_learn(*drawn, weights)
    ece = found.pop("ece")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name
    if not weighted:
        true, _, probabilities, _, _ = drawn
        error = expected_calibration_error(probabilities, true, kind)
        assert ece == pytest.approx(error, abs=1e-12)


@pytest.mark.parametrize("kind", ["multiclass", "ordinal"])
def test_multiclass_areas_are_those_of_its_own_functions(kind):
    true, _, probabilities, _, names = drawn = draw_rows(
        kind, 200, 5, classes=KINDS[kind]
    )
    found, exact = figures(*drawn), probabilities.astype(np.float64)

    for average, name in (("macro", "roc_auc"), ("weighted", "weighted_roc_auc")):
        area = metrics.roc_auc_score(true, exact, multi_class="ovr", average=average)
        assert found[name] == pytest.approx(area, abs=1e-9)
    assert set(names) == {n.removeprefix("f1.") for n in found if n.startswith("f1.")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_resample_is_what_its_rows_give(kind):
    """Rows drawn n times count as n copies; weights multiply."""
    true, predicted, probabilities, kind, names = draw_rows(kind, 60, 11)
    random = np.random.default_rng(0)
    own = random.integers(1, 4, 60).astype(float)
    indices = random.integers(0, 60, (60, 7))
    drawn = np.array([np.bincount(column, minlength=60) for column in indices.T]).T

    together = FigureSet(true, predicted, probabilities, kind, names)
    found = together(drawn * own[:, None])
    for place, rows in enumerate(indices.T):
        parts = (true[rows], predicted[rows], probabilities[rows], kind, names)
        expected = figures(*parts, own[rows])
        values = {n: v[place] for n, v in found.items() if not np.isnan(v[place])}
        assert values == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_copies_are_a_weight(kind):
    true, predicted, probabilities, kind, names = draw_rows(kind, 30, 3)
    count = np.random.default_rng(1).integers(1, 5, 30)
    copies = (np.repeat(a, count, axis=0) for a in (true, predicted, probabilities))

    found = figures(true, predicted, probabilities, kind, names, count)
    assert found == pytest.approx(figures(*copies, kind, names), abs=1e-12)


def test_what_has_no_denominator_is_left_out():
    """One class only: neither areas nor correlations can be told."""
    right = np.array([[0.1, 0.9], [0.3, 0.7]])
    found = figures(np.array([1, 1]), np.array([1, 1]), right, "binary", ("no", "yes"))

    assert not {"roc_auc", "mcc"} & found.keys()
    assert found["pr_auc"] == found["accuracy"] == found["macro_f1"] == 1
    assert found["f1.no"] == found["precision.no"] == 0  # as scikit-learn has it
    assert "mcc" not in figures(
        np.zeros(2, int), np.array([0, 1]), None, "binary", "ab"
    )
    lost = figures(np.zeros(2, int), np.zeros(2, int), right, "binary", ("no", "yes"))
    assert not {"roc_auc", "pr_auc"} & lost.keys()


def test_one_given_class_correlates_with_nothing_whatever_the_weights():
    """Sums of the same weights in another order differ, though not by much."""
    true, given = np.arange(12), np.zeros(12, int)
    names = tuple("abcdefghijkl")
    for seed in range(20):
        weights = np.random.default_rng(seed).random(12)
        for pair in ((true, given), (given, true)):
            assert "mcc" not in figures(*pair, None, "multiclass", names, weights)


def test_nothing_at_all():
    nothing = np.zeros(0, int)
    found = figures(nothing, nothing, np.zeros((0, 3)), "multiclass", NAMES[:3])
    assert "accuracy" not in found and "macro_f1" not in found


def test_a_sure_mistake_has_a_finite_loss():
    found = figures(
        np.array([0]), np.array([1]), np.array([[0.0, 1.0]]), "binary", "ab"
    )
    assert found["log_loss"] == pytest.approx(-np.log(np.finfo(np.float64).eps))
    assert found["brier"] == 1
