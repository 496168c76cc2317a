import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from reviewbeam.components.trainer.class_weights import (
    absent_classes,
    class_weights,
    label_weights,
)

NAMES = ("negative", "neutral", "positive")
COUNTS = {"negative": 30, "neutral": 5, "positive": 65}


def test_balanced_is_scikit_learns():
    labels = np.repeat([0, 1, 2], [30, 5, 65])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(
        class_weights("balanced", NAMES, COUNTS), expected, rtol=1e-6
    )


def test_sqrt_is_in_proportion_to_the_roots_of_balanced():
    balanced = class_weights("balanced", NAMES, COUNTS)
    roots = class_weights("sqrt", NAMES, COUNTS)
    np.testing.assert_allclose(roots / roots[0], np.sqrt(balanced / balanced[0]), 1e-6)
    np.testing.assert_allclose(roots, [1.157, 2.835, 0.786], atol=1e-3)


def test_a_number_is_a_power_of_balanced():
    for power, name in ((0.0, "none"), (0.5, "sqrt"), (1.0, "balanced")):
        np.testing.assert_array_equal(
            class_weights(power, NAMES, COUNTS), class_weights(name, NAMES, COUNTS)
        )
    three_quarters = class_weights(0.75, NAMES, COUNTS)
    np.testing.assert_allclose(three_quarters[1] / three_quarters[2], 13**0.75, 1e-5)


@pytest.mark.parametrize("scheme", ["none", "sqrt", "balanced", 0.3])
def test_the_mean_weight_of_the_rows_is_one(scheme):
    weights = class_weights(scheme, NAMES, COUNTS)
    assert weights.dtype == np.float32
    assert weights @ [30, 5, 65] / 100 == pytest.approx(1)


def test_none_weighs_all_alike():
    assert class_weights("none", NAMES, COUNTS).tolist() == [1, 1, 1]


def test_a_class_without_rows_weighs_nothing():
    counts = {"negative": 10, "positive": 30}
    weights = class_weights("balanced", NAMES, counts)
    np.testing.assert_allclose(weights, [2, 0, 2 / 3], rtol=1e-6)
    assert absent_classes(NAMES, counts) == ["neutral"]
    assert absent_classes(NAMES, COUNTS) == []


def test_balanced_labels_count_as_pytorchs_pos_weight_says():
    # torch.nn.BCEWithLogitsLoss: "if a dataset contains 100 positive and 300 negative
    # examples of a single class, then pos_weight should be equal to 300/100 = 3".
    weights = label_weights("balanced", ("a", "b", "c"), {"a": 100, "b": 300}, 400)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, [3, 1 / 3, 1], rtol=1e-6)


def test_balanced_labels_have_as_much_weight_there_as_not_there():
    labels = np.random.default_rng(1).random((500, 4)) < [0.02, 0.3, 0.5, 0.9]
    counts = dict(zip("abcd", labels.sum(axis=0).tolist(), strict=True))
    weights = label_weights("balanced", "abcd", counts, 500)
    there = (labels * weights).sum(axis=0)
    np.testing.assert_allclose(there, (~labels).sum(axis=0), rtol=1e-5)


def test_schemes_of_labels_are_powers_of_balanced():
    names, counts = ("a", "b"), {"a": 10, "b": 450}
    for power, name in ((0.0, "none"), (0.5, "sqrt"), (1.0, "balanced")):
        expected = [49**power, (1 / 9) ** power]
        for scheme in (power, name):
            found = label_weights(scheme, names, counts, 500)
            np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("scheme", ["none", "sqrt", "balanced", 0.3])
def test_a_label_that_no_row_or_every_row_has_counts_one(scheme):
    weights = label_weights(scheme, ("never", "always"), {"always": 7}, 7)
    assert weights.tolist() == [1, 1]
