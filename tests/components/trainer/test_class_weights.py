import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from reviewbeam.components.trainer.class_weights import absent_classes, class_weights

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
