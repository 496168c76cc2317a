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
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.evaluate_config import (
    BootstrapConfig,
    EvaluateConfig,
)
from reviewbeam.components.evaluation.metrics import (
    evaluate_predictions,
    slice_metrics,
)
from tests.components.evaluation.rows import figures as all_figures
from tests.components.evaluation.rows import predictions_of, random_predictions

NAMES = ("negative", "neutral", "positive")
QUICK = EvaluateConfig(bootstrap=BootstrapConfig(resamples=0))


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
    predictions = random_predictions("multiclass", len(names), 500, seed=len(names))
    true, predicted = predictions.true, predictions.predicted
    metrics = evaluate_predictions(predictions, names, "multiclass", QUICK)

    assert metrics["label_names"] == list(names)
    _assert_as_scikit_learn(metrics["overall"], true, predicted, names)
    assert list(metrics["languages"]) == ["(unknown)", "de", "fr"]
    for language, figures in metrics["languages"].items():
        own = [(value or "(unknown)") == language for value in predictions.languages]
        _assert_as_scikit_learn(figures, true[own], predicted[own], names)


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


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "ordinal"])
def test_metrics_are_plain_data(kind):
    names = NAMES[:2] if kind == "binary" else NAMES
    predictions = random_predictions(kind, len(names), 20, seed=0)
    metrics = evaluate_predictions(predictions, names, kind, EvaluateConfig())

    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


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
    predictions = random_predictions("multilabel", 4, 60, seed=2)
    parts = predictions.true, predictions.predicted, predictions.probabilities
    metrics = evaluate_predictions(predictions, LABELS, "multilabel", QUICK)

    assert metrics["type"] == "multilabel"
    rows = np.array([value == "fr" for value in predictions.languages])
    assert 0 < rows.sum() < 60
    true, predicted, probabilities = (part[rows] for part in parts)
    expected = slice_metrics(true, predicted, LABELS, "multilabel", probabilities)
    assert metrics["languages"]["fr"] == expected | {"too_small": True}


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
    kappa = 1 - (squares * counts).sum() / expected if expected else None
    assert figures["quadratic_weighted_kappa"] == pytest.approx(kappa)
    # The others are those of classes without an order.
    others = slice_metrics(true, predicted, SCALE, "multiclass")
    added = {"mean_absolute_error", "within_one", "quadratic_weighted_kappa"}
    for found, fewer in ((figures, others), (figures["figures"], others["figures"])):
        assert found.keys() - fewer.keys() == added
        assert all(found[key] == fewer[key] for key in fewer if key != "figures")
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
    assert (figures["quadratic_weighted_kappa"], figures["within_one"]) == (None, 1)
    reason = figures["figures"]["quadratic_weighted_kappa"]["reason"]
    assert reason == "all rows have the same label, true and predicted"


# === Slices, intervals, weights ===


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "ordinal"])
def test_the_calibration_error_stands_beside(kind):
    names = LABELS[: 2 if kind == "binary" else 4]
    predictions = random_predictions(kind, len(names), 50, seed=3)
    found = evaluate_predictions(predictions, names, kind, QUICK)

    parts = predictions.probabilities, predictions.true
    expected = pytest.approx(expected_calibration_error(*parts, kind), abs=1e-12)
    assert found["overall"]["calibration"] == {"expected_calibration_error": expected}
    assert found["overall"]["figures"]["ece"]["value"] == expected


def test_slices_are_measured_as_their_rows():
    rows = 300
    random = np.random.default_rng(4)
    shop = random.choice(["a", "b", "c"], rows, p=[0.6, 0.35, 0.05]).tolist()
    predictions = random_predictions("multiclass", 3, rows, 5, kept={"shop": shop})
    config = EvaluateConfig(
        slices=["shop"], min_slice_rows=30, bootstrap=BootstrapConfig(resamples=50)
    )
    told = []
    metrics = evaluate_predictions(
        predictions, NAMES, "multiclass", config, told.append
    )

    groups = 1 + len(metrics["languages"]) + 3
    assert told[0] == f"figures of 1 of {groups} groups of rows"
    assert told[-1] == f"figures of {groups} of {groups} groups of rows"
    assert len(told) == groups
    assert list(metrics["slices"]) == ["shop"]  # languages stand by themselves
    assert list(metrics["slices"]["shop"]) == ["a", "b", "c"]
    for value, measured in metrics["slices"]["shop"].items():
        own = [one == value for one in shop]
        parts = (a[own] for a in (predictions.true, predictions.predicted))
        expected = all_figures(
            *parts, predictions.probabilities[own], "multiclass", NAMES
        )
        found = {n: f["value"] for n, f in measured["figures"].items()}
        assert found == pytest.approx(expected)
        assert measured["too_small"] == (value == "c")
        assert measured["rows"] == sum(own)
    # The worst first; what is too small comes behind, and isn't left out.
    *large, small = metrics["worst_slices"]
    assert (small["value"], small["too_small"]) == ("c", True)
    assert sorted(entry["value"] for entry in large) == ["a", "b"]
    worst, better = (entry["figure_value"] for entry in large)
    assert worst < better
    assert large[0]["figure"] == "macro_f1"
    assert large[0]["interval"][0] < worst < large[0]["interval"][1]


def test_examples_can_count_as_often_as_they_stood():
    count = np.random.default_rng(1).integers(1, 6, 80)
    predictions = random_predictions("ordinal", 3, 80, 6, count=count)
    config = QUICK.model_copy(update={"weight_by": "count"})
    metrics = evaluate_predictions(predictions, NAMES, "ordinal", config)

    parts = predictions.true, predictions.predicted, predictions.probabilities
    copies = [np.repeat(part, count, axis=0) for part in parts]
    expected = all_figures(*copies, "ordinal", NAMES)
    found = metrics["overall"]
    values = {n: f["value"] for n, f in found["figures"].items()}
    assert values == pytest.approx(expected)
    assert found["rows"] == 80
    support = [entry["support"] for entry in found["classes"].values()]
    assert support == np.bincount(copies[0], minlength=3).tolist()
    unweighted = evaluate_predictions(predictions, NAMES, "ordinal", QUICK)
    assert unweighted["overall"]["accuracy"] != found["accuracy"]


def test_a_slice_of_one_class_says_what_it_lacks():
    probabilities = [[0.8, 0.1, 0.1]] * 3
    predictions = predictions_of([0, 0, 0], [0, 0, 0], ["de"] * 3, probabilities)
    config = EvaluateConfig(bootstrap=BootstrapConfig(resamples=20))
    metrics = evaluate_predictions(predictions, NAMES, "multiclass", config)

    figures = metrics["languages"]["de"]["figures"]
    assert figures["roc_auc"] == {
        "value": None,
        "interval": None,
        "reason": "a class has no row, or all rows",
    }
    assert figures["mcc"]["value"] is figures["pr_auc.positive"]["value"] is None
    assert figures["pr_auc.negative"]["value"] == 1
    assert figures["macro_f1"] == {"value": 1, "interval": [1, 1]}


def test_a_column_of_many_values_is_no_slice():
    kept = {"author": [f"a{i}" for i in range(1001)]}
    predictions = random_predictions("binary", 2, 1001, 7, kept=kept)
    config = QUICK.model_copy(update={"slices": ("author",)})
    with pytest.raises(UserError, match="'author', which has 1001 different values"):
        evaluate_predictions(predictions, NAMES[:2], "binary", config)
