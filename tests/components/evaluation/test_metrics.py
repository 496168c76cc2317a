import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    classification_report,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
)

from reviewbeam.components.common.calibration import expected_calibration_error
from reviewbeam.components.evaluation.metrics import (
    evaluate_predictions,
    slice_metrics,
)

NAMES = ("negative", "neutral", "positive")
LANGUAGES = ("de", "fr", None, "")


def _random_rows(rows, classes, seed):
    random = np.random.default_rng(seed)
    true = random.integers(0, classes, rows)
    noise = random.integers(0, classes, rows)
    predicted = np.where(random.random(rows) < 0.6, true, noise)
    return true, predicted, random.choice(np.array(LANGUAGES, object), rows).tolist()


def _assert_as_scikit_learn(figures, true, predicted, names):
    """Compares with scikit-learn's report, which computes each figure by itself."""
    report = classification_report(
        true,
        predicted,
        labels=range(len(names)),
        target_names=names,
        output_dict=True,
        zero_division=0,
    )
    for name in names:
        assert figures["classes"][name] == pytest.approx(_renamed(report[name]))
    assert figures["rows"] == len(true)
    assert figures["accuracy"] == pytest.approx(np.mean(true == predicted))
    assert (
        figures["confusion_matrix"]
        == confusion_matrix(true, predicted, labels=range(len(names))).tolist()
    )
    for average in ("macro", "weighted"):
        expected = _renamed(report[f"{average} avg"])
        del expected["support"]
        assert figures[average] == pytest.approx(expected)


def _renamed(figures):
    return {key.removesuffix("-score"): value for key, value in figures.items()}


@pytest.mark.parametrize("names", [NAMES, ("bad", "good"), tuple("abcdefg")])
def test_equals_scikit_learn_on_random_labels(names):
    true, predicted, languages = _random_rows(500, len(names), seed=len(names))
    metrics = evaluate_predictions(true, predicted, languages, names, "multiclass")

    assert metrics["label_names"] == list(names)
    _assert_as_scikit_learn(metrics["overall"], true, predicted, names)
    assert list(metrics["languages"]) == ["(unknown)", "de", "fr"]
    for language, figures in metrics["languages"].items():
        rows = np.array([(value or "(unknown)") == language for value in languages])
        _assert_as_scikit_learn(figures, true[rows], predicted[rows], names)


def test_by_hand():
    true, predicted = np.array([0, 0, 0, 1, 2, 2]), np.array([0, 0, 1, 1, 1, 2])
    figures = slice_metrics(true, predicted, NAMES, "multiclass")

    assert figures["accuracy"] == pytest.approx(4 / 6)
    assert figures["confusion_matrix"] == [[2, 1, 0], [0, 1, 0], [0, 1, 1]]
    assert figures["classes"] == {
        "negative": {"precision": 1, "recall": 2 / 3, "f1": 0.8, "support": 3},
        "neutral": {"precision": 1 / 3, "recall": 1, "f1": 0.5, "support": 1},
        "positive": {"precision": 1, "recall": 0.5, "f1": 2 / 3, "support": 2},
    }
    f1 = [0.8, 0.5, 2 / 3]
    assert figures["macro"]["f1"] == pytest.approx(np.mean(f1))
    assert figures["weighted"]["f1"] == pytest.approx(np.average(f1, weights=[3, 1, 2]))


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=9)
)
def test_macro_is_the_mean_over_the_classes_that_occur(pairs):
    true, predicted = np.array(pairs).T
    figures = slice_metrics(true, predicted, NAMES, "multiclass")

    met = [NAMES[i] for i in sorted({*true.tolist(), *predicted.tolist()})]
    for key in ("precision", "recall", "f1"):
        each = [figures["classes"][name][key] for name in met]
        assert figures["macro"][key] == pytest.approx(np.mean(each))
    assert np.sum(figures["confusion_matrix"]) == len(pairs)


def test_a_class_that_does_not_occur_has_zeros():
    figures = slice_metrics(np.array([0, 0]), np.array([0, 0]), NAMES, "multiclass")

    zeros = {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert figures["classes"]["positive"] == zeros
    assert figures["macro"]["f1"] == figures["accuracy"] == 1


def test_figures_are_plain_numbers():
    true, predicted, languages = _random_rows(20, 3, seed=0)
    metrics = evaluate_predictions(true, predicted, languages, NAMES, "multiclass")

    assert json.loads(json.dumps(metrics)) == metrics


# === Several labels ===

LABELS = ("battery", "price", "service", "x")
MATRIX = st.lists(st.tuples(*[st.integers(0, 1)] * 4 * 2), min_size=1, max_size=12).map(
    np.array
)


@given(MATRIX)
def test_several_labels_equal_scikit_learn(drawn):
    """Against its report, and its single figures label by label."""
    true, predicted = drawn[:, :4], drawn[:, 4:]
    figures = slice_metrics(true, predicted.astype(bool), LABELS, "multilabel")

    report = classification_report(
        true, predicted, target_names=LABELS, output_dict=True, zero_division=0
    )
    for average in ("micro", "macro", "weighted"):
        expected = _renamed(report[f"{average} avg"])
        del expected["support"]
        assert figures[average] == pytest.approx(expected, abs=1e-12)
    for index, name in enumerate(LABELS):
        pair = true[:, index], predicted[:, index]
        assert figures["classes"][name] == {
            "precision": pytest.approx(precision_score(*pair, zero_division=0)),
            "recall": pytest.approx(recall_score(*pair, zero_division=0)),
            "f1": pytest.approx(f1_score(*pair, zero_division=0)),
            "support": true[:, index].sum(),
        }
    assert figures["rows"] == len(true)
    assert figures["accuracy"] == pytest.approx((true == predicted).all(axis=1).mean())
    assert figures["hamming_loss"] == pytest.approx((true != predicted).mean())
    assert "confusion_matrix" not in figures
    assert json.loads(json.dumps(figures)) == figures


def test_rows_without_a_label():
    nothing = np.zeros((3, 4), int)
    figures = slice_metrics(nothing, nothing, LABELS, "multilabel")

    zeros = {"precision": 0, "recall": 0, "f1": 0}
    assert (figures["accuracy"], figures["hamming_loss"]) == (1, 0)
    assert figures["micro"] == figures["macro"] == figures["weighted"] == zeros
    assert figures["classes"]["x"] == zeros | {"support": 0}


def test_several_labels_by_language():
    random = np.random.default_rng(2)
    true, predicted = random.integers(0, 2, (2, 60, 4))
    languages = random.choice(np.array(LANGUAGES, object), 60).tolist()
    metrics = evaluate_predictions(true, predicted, languages, LABELS, "multilabel")

    assert metrics["type"] == "multilabel"
    assert metrics["overall"] == slice_metrics(true, predicted, LABELS, "multilabel")
    rows = np.array([value == "fr" for value in languages])
    assert 0 < rows.sum() < 60
    expected = slice_metrics(true[rows], predicted[rows], LABELS, "multilabel")
    assert metrics["languages"]["fr"] == expected


# === A scale ===

SCALE = ("1", "2", "3", "4", "5")


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12)
)
def test_a_scale_equals_scikit_learn(pairs):
    true, predicted = np.array(pairs).T
    figures = slice_metrics(true, predicted, SCALE, "ordinal")

    distance = [abs(t - p) for t, p in pairs]
    assert figures["mean_absolute_error"] == pytest.approx(np.mean(distance))
    within = sum(d <= 1 for d in distance) / len(pairs)
    assert figures["within_one"] == pytest.approx(within)
    # Kappa from the counts: observed squares against those of independent answers.
    counts = np.array(figures["confusion_matrix"], float)
    squares = np.subtract.outer(range(5), range(5)) ** 2
    by_chance = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    expected = (squares * by_chance).sum()
    kappa = 1 - (squares * counts).sum() / expected if expected else 0
    assert figures["quadratic_weighted_kappa"] == pytest.approx(kappa)
    # The others are those of classes without an order.
    others = slice_metrics(true, predicted, SCALE, "multiclass")
    added = {"mean_absolute_error", "within_one", "quadratic_weighted_kappa"}
    assert figures.keys() - others.keys() == added
    assert {key: figures[key] for key in others} == others
    assert json.loads(json.dumps(figures)) == figures


def test_a_step_is_a_step_of_the_scale():
    """And not of the classes that occur."""
    true, predicted = np.array([0, 0, 4, 4]), np.array([0, 4, 4, 4])
    figures = slice_metrics(true, predicted, SCALE, "ordinal")

    assert figures["mean_absolute_error"] == 1
    assert figures["within_one"] == 0.75
    assert figures["quadratic_weighted_kappa"] == pytest.approx(0.5)


def test_one_answer_for_all_rows_has_no_kappa():
    figures = slice_metrics(np.array([2, 2]), np.array([2, 2]), SCALE, "ordinal")
    assert (figures["quadratic_weighted_kappa"], figures["within_one"]) == (0, 1)


# === Probabilities ===


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "ordinal"])
def test_the_calibration_error_stands_beside(kind):
    names, random = LABELS[: 2 if kind == "binary" else 4], np.random.default_rng(3)
    probabilities = random.dirichlet([0.5] * len(names), 50)
    true, predicted = random.integers(0, 2, (2, 50, 4))
    if kind != "multilabel":
        true, predicted = true[:, 0], predicted[:, 0]
    arguments = (true, predicted, ["de"] * 50, names, kind)

    found = evaluate_predictions(*arguments, probabilities)
    expected = expected_calibration_error(probabilities, true, kind)
    calibration = found["overall"].pop("calibration")
    assert calibration == {"expected_calibration_error": expected}
    assert expected > 0.01
    assert found == evaluate_predictions(*arguments)
