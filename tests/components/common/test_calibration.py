import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, log_softmax, softmax
from scipy.special import logit as scipy_logit

from reviewbeam.components.common.calibration import (
    Calibration,
    calibrated,
    decide,
    expected_calibration_error,
    from_logits,
    logit,
    logits,
    reliability_bins,
)

KINDS = ("binary", "multiclass", "multilabel", "ordinal")
CLASSES = {"binary": 2, "multiclass": 4, "multilabel": 3, "ordinal": 5}
CODES = ("de", "fr", "pt-BR", None)


def _model_output(kind, rows, seed, scale=3.0):
    """Probabilities as a model gives them, float32."""
    random = np.random.default_rng(seed)
    values = random.normal(0, scale, (rows, CLASSES[kind])).astype(np.float32)
    probabilities = expit(values) if kind == "multilabel" else softmax(values, axis=1)
    return probabilities.astype(np.float32)


def _calibration(temperature=1.0, languages=None, thresholds=()):
    """All of one temperature but some languages; the same thresholds for all."""
    each = {
        code: {"temperature": value, "thresholds": thresholds}
        for code, value in (languages or {}).items()
    }
    return Calibration.model_validate(
        {"temperature": temperature, "thresholds": thresholds, "languages": each}
    )


ANY = {
    "kind": st.sampled_from(KINDS),
    "rows": st.integers(1, 40),
    "seed": st.integers(0, 1000),
    "scale": st.sampled_from([0.1, 2.0, 30.0, 200.0]),  # the largest: exact 0 and 1
    "temperature": st.floats(0.05, 20),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_the_logits_are_divided_by_the_temperature(kind, temperature):
    probabilities = _model_output(kind, 50, seed=1)
    found = calibrated(probabilities, [None] * 50, kind, _calibration(temperature))

    wide = probabilities.astype(np.float64)
    if kind == "multilabel":
        expected = expit(scipy_logit(wide) / temperature)
    else:
        expected = softmax(np.log(wide) / temperature, axis=1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_by_hand():
    rows = np.array([[0.8, 0.2], [0.5, 0.5]], np.float32)

    # Odds of 4 become odds of 2.
    found = calibrated(rows, ["de", "de"], "binary", _calibration(2.0))
    np.testing.assert_allclose(found, [[2 / 3, 1 / 3], [0.5, 0.5]], rtol=1e-6)
    found = calibrated(rows, ["de", "de"], "multilabel", _calibration(2.0))
    np.testing.assert_allclose(found, [[2 / 3, 1 / 3], [0.5, 0.5]], rtol=1e-6)
    found = calibrated(rows, ["de", "de"], "binary", _calibration(0.5))
    np.testing.assert_allclose(found, [[16 / 17, 1 / 17], [0.5, 0.5]], rtol=1e-6)


@given(**ANY)
def test_probabilities_stay_probabilities(kind, rows, seed, scale, temperature):
    probabilities = _model_output(kind, rows, seed, scale)
    found = calibrated(probabilities, [None] * rows, kind, _calibration(temperature))

    assert found.shape == probabilities.shape
    assert np.isfinite(found).all() and (found >= 0).all() and (found <= 1).all()
    if kind != "multilabel":
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


@given(**ANY)
def test_the_order_of_the_classes_is_kept(kind, rows, seed, scale, temperature):
    probabilities = _model_output(kind, rows, seed, scale)
    found = calibrated(probabilities, [None] * rows, kind, _calibration(temperature))

    order = probabilities.argsort(axis=1, kind="stable")
    assert (np.diff(np.take_along_axis(found, order, axis=1), axis=1) >= 0).all()
    if kind == "multilabel":  # and of the rows by a label
        order = probabilities.argsort(axis=0, kind="stable")
        assert (np.diff(np.take_along_axis(found, order, axis=0), axis=0) >= 0).all()
        # Above one half stays above one half.
        assert ((found >= 0.5) == (probabilities >= 0.5)).all()


# Neighbours among the float32, which a temperature brings together.
CLOSE = st.integers(-3, 3).map(
    lambda steps: np.float32(0.5) + np.float32(steps) * np.float32(2**-25)
)


@pytest.mark.parametrize("kind", KINDS)
@given(
    data=st.data(),
    rows=st.integers(1, 20),
    seed=ANY["seed"],
    scale=st.sampled_from([1e-7, 1e-6, 0.1, 2.0, 200.0]),
    temperature=ANY["temperature"],
)
def test_the_best_class_stays_the_best(kind, data, rows, seed, scale, temperature):
    probabilities = _model_output(kind, rows, seed, scale)
    if kind == "multilabel":
        probabilities[0] = data.draw(st.tuples(*[CLOSE] * 3))
    if kind == "binary":
        first = data.draw(CLOSE)
        probabilities[0] = first, np.float32(1) - first
    calibration = _calibration(temperature, {"de": 3.0})
    languages = [CODES[i % 2] for i in range(rows)]
    found = calibrated(probabilities, languages, kind, calibration)

    if kind == "multilabel":
        assert ((found >= 0.5) == (probabilities >= 0.5)).all()
    else:
        assert (found.argmax(axis=1) == probabilities.argmax(axis=1)).all()


def test_a_best_class_that_rounding_made_equal_gains_one_step():
    half = np.float32(0.5)
    least, more = np.nextafter(half, np.float32([0, 1]))
    found = calibrated(np.array([[least, more]]), ["de"], "binary", _calibration(20.0))

    assert found.tolist() == [[half, more]]


@given(kind=ANY["kind"], rows=st.integers(0, 20), seed=ANY["seed"], scale=ANY["scale"])
def test_temperature_one_changes_no_byte(kind, rows, seed, scale):
    probabilities = _model_output(kind, rows, seed, scale)
    calibration = _calibration(1.0, {"de": 1.0, "fr": 3.0})
    found = calibrated(probabilities, ["de"] * rows, kind, calibration)

    assert found.tobytes() == probabilities.tobytes()
    assert found is not probabilities


@given(data=st.data(), **ANY)
def test_a_row_does_not_depend_on_its_batch(data, kind, rows, seed, scale, temperature):
    probabilities = _model_output(kind, rows, seed, scale)
    languages = [CODES[i % len(CODES)] for i in range(rows)]
    calibration = _calibration(
        temperature, {"fr": 1.7, "pt-BR": 1.0}, [0.4] * CLASSES[kind]
    )
    whole = calibrated(probabilities, languages, kind, calibration)
    decisions = decide(whole, languages, kind, calibration)
    chosen = data.draw(st.lists(st.integers(0, rows - 1), min_size=1))
    some = [languages[i] for i in chosen]

    part = calibrated(probabilities[chosen], some, kind, calibration)
    assert part.tobytes() == whole[chosen].tobytes()
    assert (decide(part, some, kind, calibration) == decisions[chosen]).all()


@given(
    kind=ANY["kind"],
    seed=ANY["seed"],
    first=st.floats(0.2, 5),
    second=st.floats(0.2, 5),
)
def test_two_temperatures_are_their_product(kind, seed, first, second):
    probabilities, none = _model_output(kind, 20, seed), [None] * 20
    once = calibrated(probabilities, none, kind, _calibration(first))
    twice = calibrated(once, none, kind, _calibration(second))

    # Next to 0 and 1 the first one has left too few digits for the second.
    whole = calibrated(probabilities, none, kind, _calibration(first * second))
    exact = ((once > 1e-30) & (once < 0.999)).all(axis=1)
    np.testing.assert_allclose(twice[exact], whole[exact], rtol=1e-3)


@pytest.mark.parametrize("temperature", [0.05, 0.7, 1.0, 1.3, 20.0])
def test_certain_probabilities(temperature):
    certain = np.array([[0, 1, 0], [1, 0, 0]], np.float32)
    for kind in ("multiclass", "multilabel", "ordinal"):
        with np.errstate(all="raise", under="ignore"):
            found = calibrated(certain, ["de"] * 2, kind, _calibration(temperature))
        assert (found.argmax(axis=1) == [1, 0]).all()
        if temperature <= 1:
            np.testing.assert_allclose(found, certain, atol=1e-7)


def test_each_language_has_its_temperature():
    calibration = _calibration(2.0, {"fr": 3.0, "pt-BR": 1.0})
    languages = ["fr", None, "de", "pt-BR", "", "mail@example.com", "FR"]
    probabilities = _model_output("multiclass", 7, seed=3)

    found = calibrated(probabilities, languages, "multiclass", calibration)
    for row, temperature in enumerate([3, 2, 2, 1, 2, 2, 2]):
        expected = softmax(np.log(probabilities[row].astype(float)) / temperature)
        np.testing.assert_allclose(found[row], expected, rtol=1e-6)


def test_what_is_no_language_shares_one_calibration():
    calibration = _calibration(1.0, {"other": 4.0})
    rows = np.array([[0.9, 0.1]] * 3, np.float32)

    found = calibrated(rows, ["mail@a.b", "x y", "de"], "binary", calibration)
    assert found[0, 0] == found[1, 0] < 0.7 < found[2, 0]


# === Decisions ===


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows(kind):
    empty = np.zeros((0, CLASSES[kind]), np.float32)
    calibration = _calibration(2.0, {"de": 3.0}, [0.5] * CLASSES[kind])

    found = calibrated(empty, [], kind, calibration)
    assert (found.shape, found.dtype) == (empty.shape, np.float32)
    decisions = decide(found, [], kind, calibration)
    shape = empty.shape if kind == "multilabel" else (0,)
    assert decisions.shape == shape
    assert decisions.dtype == (bool if kind == "multilabel" else np.int64)


def test_binary_from_the_threshold_on():
    rows = np.array([[0.75, 0.25], [0.7, 0.3], [0.5, 0.5]], np.float32)
    calibration = Calibration(
        thresholds=(0.3,), languages={"fr": {"thresholds": (0.6,)}}
    )

    assert decide(rows, ["de", None, "de"], "binary", calibration).tolist() == [0, 1, 1]
    assert decide(rows, ["fr"] * 3, "binary", calibration).tolist() == [0, 0, 0]
    assert decide(rows, ["fr", "de", "fr"], "binary", calibration).tolist() == [0, 1, 0]


def test_thresholds_are_compared_as_float32():
    for value in (0.1, 0.3, 0.7, 0.9):  # some are below their float32, some above
        rows = np.array([[1 - value, value]], np.float32)
        calibration = Calibration(thresholds=(value,))
        assert decide(rows, [None], "binary", calibration).tolist() == [1]


def test_multiclass_the_first_of_the_most_probable():
    rows = np.array([[0.2, 0.4, 0.4], [0.4, 0.2, 0.4], [0.1, 0.2, 0.7]], np.float32)

    found = decide(rows, [None] * 3, "multiclass", Calibration())
    assert found.tolist() == [1, 0, 2]


def test_ordinal_the_median():
    rows = [
        [0.4, 0.3, 0.3],  # and not the most probable one
        [0.5, 0.25, 0.25],
        [0.25, 0.25, 0.5],
        [0.125, 0.25, 0.625],
        [0.0, 0.0, 1.0],
        [1.0, 0.0, 0.0],
    ]
    found = decide(np.array(rows, np.float32), [None] * 6, "ordinal", Calibration())
    assert found.tolist() == [1, 0, 1, 2, 2, 0]


@given(seed=ANY["seed"])
def test_no_class_is_nearer_to_the_expectation_than_the_median(seed):
    probabilities = _model_output("ordinal", 20, seed, scale=1.0)
    found = decide(probabilities, [None] * 20, "ordinal", Calibration())

    scale = np.arange(5)
    distances = np.abs(scale[:, None] - scale)
    expected = probabilities.astype(np.float64) @ distances  # of each answer
    chosen = expected[np.arange(20), found]
    np.testing.assert_allclose(chosen, expected.min(axis=1), atol=1e-6)


def test_multilabel_any_number_of_labels():
    rows = np.array([[0.4, 0.2, 0.9], [0.3, 0.5, 0.1], [0, 0, 0]], np.float32)
    calibration = Calibration(
        thresholds=(0.4, 0.5, 0.6), languages={"fr": {"thresholds": (0.25, 0.1, 1.0)}}
    )

    assert decide(rows, ["de", "fr", None], "multilabel", calibration).tolist() == [
        [True, False, True],
        [True, True, False],
        [False, False, False],
    ]


# === Logits and the calibration error ===


def test_logits_are_finite_and_give_the_probabilities_back():
    sums = np.array([[0.5, 0.25, 0.25], [1, 0, 0]], np.float32)
    np.testing.assert_allclose(
        logits(sums, "multiclass")[0], np.log([0.5, 0.25, 0.25]), rtol=1e-12
    )
    for kind in ("multiclass", "multilabel"):
        assert np.isfinite(logits(sums, kind)).all()
        found = from_logits(logits(sums, kind), kind)
        np.testing.assert_allclose(found, sums, atol=1e-7)
    np.testing.assert_allclose(logit(0.2), scipy_logit(0.2))
    assert -120 < logit(0) < logit(1e-44) < -100
    assert logit(1 - 2.0**-24) < logit(1) < 20
    # As far apart as floats go.
    values = np.array([[-2000.0, 0.0, 2000.0]])
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(
            from_logits(values, "multilabel"), expit(values), rtol=1e-12
        )
        np.testing.assert_allclose(
            from_logits(values, "ordinal"), np.exp(log_softmax(values)), rtol=1e-12
        )


def test_calibration_error_by_hand():
    # Two bins: 0.9 and 0.91, right in one of two; 0.6, right.
    rows = np.array([[0.9, 0.1], [0.09, 0.91], [0.6, 0.4]])
    labels = np.array([0, 0, 0])

    expected = (abs(1 - 1.81) + abs(1 - 0.6)) / 3
    found = expected_calibration_error(rows, labels, "binary")
    assert found == pytest.approx(expected)


def test_a_bin_holds_its_upper_end():
    rows, labels = np.array([[0.6, 0.4], [0.65, 0.35]]), np.array([0, 1])

    found = expected_calibration_error(rows, labels, "binary")
    assert found == pytest.approx((0.4 + 0.65) / 2)


def test_calibration_error_of_labels_by_hand():
    rows = np.array([[0.9, 0.05], [0.8, 0.2]])
    labels = np.array([[1, 0], [0, 0]])

    # Confidences 0.9, 0.95, 0.8 and 0.8, of which one 0.8 is wrong.
    bins = [abs(1 - 0.9), abs(1 - 0.95), abs(1 - 1.6)]
    found = expected_calibration_error(rows, labels, "multilabel")
    assert found == pytest.approx(sum(bins) / 4)


@given(rows=st.integers(1, 60), classes=st.integers(2, 5), seed=ANY["seed"])
def test_calibration_error_bin_by_bin(rows, classes, seed):
    random = np.random.default_rng(seed)
    probabilities = softmax(random.normal(0, 2, (rows, classes)), axis=1)
    labels = random.integers(0, classes, rows)

    expected, confidence = 0.0, probabilities.max(axis=1)
    for lower in range(15):
        chosen = (confidence > lower / 15) & (confidence <= (lower + 1) / 15)
        if chosen.any():
            accuracy = (probabilities[chosen].argmax(axis=1) == labels[chosen]).mean()
            expected += chosen.mean() * abs(accuracy - confidence[chosen].mean())
    found = expected_calibration_error(probabilities, labels, "multiclass")
    assert found == pytest.approx(expected, abs=1e-12)


def test_calibration_error_at_its_ends():
    certain = np.array([[1.0, 0.0]] * 4)

    for wrong in range(5):
        labels = np.array([1] * wrong + [0] * (4 - wrong))
        found = expected_calibration_error(certain, labels, "multiclass")
        assert found == wrong / 4


def test_bins_by_hand():
    # Confidences 0.9, 0.95, 0.8 and 0.8, of which one 0.8 is wrong.
    rows = np.array([[0.9, 0.05], [0.8, 0.2]])
    labels = np.array([[1, 0], [0, 0]])

    found = reliability_bins(rows, labels, "multilabel")
    assert [point["rows"] for point in found] == [2, 1, 1]
    assert [point["accuracy"] for point in found] == pytest.approx([0.5, 1, 1])
    assert [point["confidence"] for point in found] == pytest.approx([0.8, 0.9, 0.95])
    (heavy, *_) = reliability_bins(rows, labels, "multilabel", np.array([1.0, 3.0]))
    assert (heavy["rows"], heavy["accuracy"]) == (6, 0.5)


def test_the_lowest_bin_is_its_own():
    # A most probable class of 1/20 or 1/10 takes that many of them.
    rows = np.array([[1 / 20] * 20, [1 / 10] * 10 + [0] * 10])

    found = reliability_bins(rows, np.array([0, 0]), "multiclass")
    assert [point["confidence"] for point in found] == pytest.approx([0.05, 0.1])


@given(rows=st.integers(0, 60), classes=st.integers(2, 5), seed=ANY["seed"])
def test_bins_add_up_to_the_calibration_error(rows, classes, seed):
    random = np.random.default_rng(seed)
    probabilities = softmax(random.normal(0, 2, (rows, classes)), axis=1)
    labels = random.integers(0, classes, rows)

    found = reliability_bins(probabilities, labels, "multiclass")
    assert sum(point["rows"] for point in found) == rows
    gaps = [p["rows"] * abs(p["accuracy"] - p["confidence"]) for p in found]
    if rows:
        error = expected_calibration_error(probabilities, labels, "multiclass")
        assert sum(gaps) / rows == pytest.approx(error, abs=1e-12)
