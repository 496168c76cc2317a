import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import classification_report, confusion_matrix

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
    metrics = evaluate_predictions(true, predicted, languages, names)

    assert metrics["label_names"] == list(names)
    _assert_as_scikit_learn(metrics["overall"], true, predicted, names)
    assert list(metrics["languages"]) == ["(unknown)", "de", "fr"]
    for language, figures in metrics["languages"].items():
        rows = np.array([(value or "(unknown)") == language for value in languages])
        _assert_as_scikit_learn(figures, true[rows], predicted[rows], names)


def test_by_hand():
    true, predicted = np.array([0, 0, 0, 1, 2, 2]), np.array([0, 0, 1, 1, 1, 2])
    figures = slice_metrics(true, predicted, NAMES)

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
    figures = slice_metrics(true, predicted, NAMES)

    met = [NAMES[i] for i in sorted({*true.tolist(), *predicted.tolist()})]
    for key in ("precision", "recall", "f1"):
        each = [figures["classes"][name][key] for name in met]
        assert figures["macro"][key] == pytest.approx(np.mean(each))
    assert np.sum(figures["confusion_matrix"]) == len(pairs)


def test_a_class_that_does_not_occur_has_zeros():
    figures = slice_metrics(np.array([0, 0]), np.array([0, 0]), NAMES)

    zeros = {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert figures["classes"]["positive"] == zeros
    assert figures["macro"]["f1"] == figures["accuracy"] == 1


def test_figures_are_plain_numbers():
    true, predicted, languages = _random_rows(20, 3, seed=0)
    metrics = evaluate_predictions(true, predicted, languages, NAMES)

    assert json.loads(json.dumps(metrics)) == metrics
