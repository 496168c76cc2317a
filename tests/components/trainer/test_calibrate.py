import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit, softmax
from scipy.special import logit as scipy_logit
from sklearn.metrics import f1_score, log_loss

from reviewbeam.components.common.calibration import (
    Calibration,
    calibrated,
    decide,
    logits,
)
from reviewbeam.components.trainer.calibrate import (
    calibration_report,
    fit_calibration,
    negative_log_likelihood,
    prediction_statistics,
)

KINDS = ("binary", "multiclass", "multilabel", "ordinal")
CLASSES = {"binary": 2, "multiclass": 4, "multilabel": 3, "ordinal": 5}


def _validation(kind, rows, *, temperature=1.0, seed=1):
    """Probabilities whose logits are too large by a factor, and labels drawn."""
    random = np.random.default_rng(seed)
    values = random.normal(0, 1.5, (rows, CLASSES[kind]))
    if kind == "multilabel":
        labels = (random.random(values.shape) < expit(values)).astype(np.int32)
        probabilities = expit(values * temperature)
    else:
        steps = softmax(values, axis=1).cumsum(axis=1)
        labels = (random.random((rows, 1)) > steps[:, :-1]).sum(axis=1)
        probabilities = softmax(values * temperature, axis=1)
    return probabilities.astype(np.float32), labels


def _oracle_loss(temperature, probabilities, labels, kind):
    """The loss to be least, by SciPy and scikit-learn."""
    wide = probabilities.astype(np.float64)
    if kind == "multilabel":
        scaled = expit(scipy_logit(wide) / temperature)
        return log_loss(labels.ravel(), scaled.ravel())
    scaled = softmax(np.log(wide) / temperature, axis=1)
    return log_loss(labels, scaled, labels=range(wide.shape[1]))


def _loss(probabilities, labels, kind):
    return negative_log_likelihood(logits(probabilities, kind), labels, kind)


# === Temperatures ===


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_a_known_temperature_is_found(kind, temperature):
    probabilities, labels = _validation(kind, 8000, temperature=temperature)
    found = fit_calibration(probabilities, labels, [None] * 8000, kind)

    assert found.temperature == pytest.approx(temperature, rel=0.06)
    assert (found.rows, found.languages) == (8000, {})


@pytest.mark.parametrize("kind", KINDS)
def test_no_other_temperature_is_better(kind):
    probabilities, labels = _validation(kind, 400, temperature=1.8)
    found = fit_calibration(probabilities, labels, [None] * 400, kind).temperature
    arguments = (probabilities, labels, kind)

    best = minimize_scalar(
        lambda power: _oracle_loss(np.exp(power), *arguments),
        bounds=np.log([0.05, 20]),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert found == pytest.approx(np.exp(best.x), rel=1e-5)
    grid = [_oracle_loss(t, *arguments) for t in np.geomspace(0.05, 20, 60)]
    assert _oracle_loss(found, *arguments) <= min(grid)


@pytest.mark.parametrize("kind", KINDS)
def test_the_likelihood_is_that_of_scikit_learn(kind):
    probabilities, labels = _validation(kind, 200)

    found = _loss(probabilities, labels, kind)
    expected = _oracle_loss(1.0, probabilities, labels, kind)
    assert found == pytest.approx(expected, rel=1e-6)


@given(
    kind=st.sampled_from(KINDS),
    rows=st.integers(100, 160),
    temperature=st.floats(0.02, 50),
    seed=st.integers(0, 1000),
)
def test_the_likelihood_never_gets_worse(kind, rows, temperature, seed):
    probabilities, labels = _validation(kind, rows, temperature=temperature, seed=seed)
    found = fit_calibration(probabilities, labels, [None] * rows, kind)
    after = calibrated(probabilities, [None] * rows, kind, found)

    assert 0.05 <= found.temperature <= 20
    before = _loss(probabilities, labels, kind)
    assert _loss(after, labels, kind) <= before * (1 + 1e-6)
    if kind in ("binary", "multiclass"):  # what is most probable stays so
        kept = after.argmax(axis=1) == probabilities.argmax(axis=1)
        # But for those that a float32 can't tell apart any more.
        equal = (after == after.max(axis=1, keepdims=True)).sum(axis=1) > 1
        assert (kept | equal).all()


def test_the_temperature_has_bounds():
    right, labels = np.eye(4, dtype=np.float32)[np.arange(200) % 4], np.arange(200) % 4
    sure = 0.9 * right + 0.025

    found = fit_calibration(sure, labels, [None] * 200, "multiclass")
    assert found.temperature == pytest.approx(0.05)
    found = fit_calibration(sure, (labels + 1) % 4, [None] * 200, "multiclass")
    assert found.temperature == pytest.approx(20)
    # Of exact zeros and ones too.
    for kind, truth in (("multiclass", labels), ("multilabel", right)):
        wrong = truth.copy()
        wrong[:20] = truth[1:21]
        found = fit_calibration(right, wrong, [None] * 200, kind)
        assert 1 < found.temperature <= 20


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_knows_nothing_is_left_alone(kind):
    shape = (200, CLASSES[kind])
    even = 1 / 2 if kind == "multilabel" else 1 / shape[1]
    labels = np.arange(200) % 2
    if kind == "multilabel":
        labels = np.stack([labels] * 3, axis=1)

    equal = np.full(shape, even, np.float32)
    assert fit_calibration(equal, labels, [None] * 200, kind).temperature == 1.0


# === Languages ===


def _two_languages(kind, rows, seed=5):
    """400 German rows with temperature 1, some French ones with 3."""
    german = _validation(kind, 1000 - rows, seed=seed)
    french = _validation(kind, rows, temperature=3.0, seed=seed + 1)
    probabilities, labels = (
        np.concatenate(pair) for pair in zip(german, french, strict=True)
    )
    languages = ["de"] * (1000 - rows) + ["fr"] * rows
    order = np.random.default_rng(seed).permutation(1000)
    return probabilities[order], labels[order], [languages[i] for i in order]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [50, 125, 499, 500])
def test_a_small_language_is_drawn_towards_all(kind, rows):
    probabilities, labels, languages = _two_languages(kind, rows)
    found = fit_calibration(probabilities, labels, languages, kind)

    french = np.array(languages) == "fr"
    alone = minimize_scalar(
        lambda power: _oracle_loss(
            np.exp(power), probabilities[french], labels[french], kind
        ),
        bounds=np.log([0.05, 20]),
        method="bounded",
        options={"xatol": 1e-9},
    ).x
    share = rows / 500
    expected = share * alone + (1 - share) * np.log(found.temperature)
    assert list(found.languages) == ["de", "fr"]
    assert found.languages["fr"].rows == rows
    assert np.log(found.languages["fr"].temperature) == pytest.approx(
        expected, rel=1e-4
    )


def test_a_tiny_language_has_nothing_of_its_own():
    probabilities, labels, languages = _two_languages("multiclass", 49)

    found = fit_calibration(probabilities, labels, languages, "multiclass")
    assert list(found.languages) == ["de"]
    without = [None if value == "fr" else value for value in languages]
    assert fit_calibration(probabilities, labels, without, "multiclass") == found


def test_what_is_no_language_is_not_told():
    probabilities, labels, languages = _two_languages("binary", 300)
    mails = ["mail@example.com" if v == "fr" else v for v in languages]

    found = fit_calibration(probabilities, labels, mails, "binary")
    assert sorted(found.languages) == ["de", "other"]


def test_the_thresholds_of_a_small_language_are_drawn_towards_all():
    probabilities, labels, languages = _two_languages("binary", 125)
    found = fit_calibration(probabilities, labels, languages, "binary")

    small, french = found.languages["fr"], np.array(languages) == "fr"
    rows = calibrated(probabilities, languages, "binary", found)[french]
    own = _best_by_trying(rows[:, 1], labels[french], "macro")
    expected = 0.25 * scipy_logit(own) + 0.75 * scipy_logit(found.thresholds[0])
    assert scipy_logit(small.thresholds[0]) == pytest.approx(expected, rel=1e-5)


def test_a_language_without_positive_rows_has_the_threshold_of_all():
    probabilities, labels, languages = _two_languages("multilabel", 300)
    labels[np.array(languages) == "fr", 1] = 0

    found = fit_calibration(probabilities, labels, languages, "multilabel")
    french = found.languages["fr"].thresholds
    assert french[1] == found.thresholds[1] != 0.5
    assert french[0] != found.thresholds[0]


# === Thresholds ===


def _f1(labels, given):
    """F1 by counting, to try many thresholds."""
    right = (labels.astype(bool) & given).sum()
    return 2 * right / max(1, labels.sum() + given.sum())


def _score(labels, given, average):
    if average == "binary":
        return _f1(labels, given)
    return (_f1(labels, given) + _f1(1 - labels, ~given)) / 2


def _best_by_trying(probabilities, labels, average):
    """The threshold of the largest F1, candidate by candidate."""
    values = np.unique(probabilities)
    below = np.append(0, values[:-1].astype(np.float64))
    tried = []
    for threshold in (below + values) / 2:
        f1 = _score(labels, probabilities >= threshold, average)
        tried.append((f1, -abs(threshold - 0.5), threshold))
    best = max(f1 for f1, _, _ in tried)
    threshold = max(found[1:] for found in tried if found[0] >= best - 1e-12)[1]
    expected = f1_score(labels, probabilities >= threshold, average=average)
    assert best == pytest.approx(expected, abs=1e-12)
    return threshold


@given(seed=st.integers(0, 500), digits=st.integers(1, 4))
def test_the_binary_threshold_has_the_largest_macro_f1(seed, digits):
    probabilities, labels = _validation("binary", 120, seed=seed)
    labels = labels * (np.random.default_rng(seed).random(120) < 0.6)  # fewer positive
    positive = probabilities[:, 1].round(digits)  # with ties
    probabilities = np.stack([1 - positive, positive], axis=1)

    found = fit_calibration(probabilities, labels, [None] * 120, "binary")
    rows = calibrated(probabilities, [None] * 120, "binary", found)
    expected = _best_by_trying(rows[:, 1], labels, "macro")
    assert found.thresholds == (pytest.approx(expected, abs=1e-7),)
    decisions = decide(rows, [None] * 120, "binary", found)
    tried = [_score(labels, rows[:, 1] >= t, "macro") for t in rows[:, 1]]
    reached = f1_score(labels, decisions, average="macro", zero_division=0)
    assert reached == pytest.approx(max(tried), abs=1e-12)


@given(seed=st.integers(0, 500))
def test_each_label_has_the_threshold_of_its_largest_f1(seed):
    probabilities, labels = _validation("multilabel", 120, seed=seed)
    labels[:, 2] = 0

    found = fit_calibration(probabilities, labels, [None] * 120, "multilabel")
    rows = calibrated(probabilities, [None] * 120, "multilabel", found)
    for label in (0, 1):
        expected = _best_by_trying(rows[:, label], labels[:, label], "binary")
        assert found.thresholds[label] == pytest.approx(expected, abs=1e-7)
    assert found.thresholds[2] == 0.5  # no row has it


def test_a_threshold_lies_midway():
    positive = np.repeat(np.array([0.125, 0.25, 0.75, 1.0], np.float32), 50)
    probabilities = np.stack([1 - positive, positive], axis=1)
    labels = (positive > 0.5).astype(np.int64)
    labels[::10] = 1 - labels[::10]

    found = fit_calibration(probabilities, labels, [None] * 200, "binary")
    rows = calibrated(probabilities, [None] * 200, "binary", found)[:, 1]
    values = np.unique(rows)
    assert found.thresholds[0] == pytest.approx(values[1:3].mean(dtype=float), abs=1e-7)


def test_neighbours_with_no_float_between_them():
    """The second label is wrong for sure, so that the first comes close to 0.5."""
    close = (0.5 + 2.0**-24 * np.arange(0, 300)).astype(np.float32)
    probabilities = np.stack([close, np.full(300, 0.999, np.float32)], axis=1)
    labels, none = np.zeros((300, 2), np.int32), [None] * 300
    start = fit_calibration(probabilities, labels, none, "multilabel")
    rows = calibrated(probabilities, none, "multilabel", start)
    values = np.unique(rows[:, 0])
    assert (np.nextafter(values[:-1], np.float32(1)) == values[1:]).all()

    for value in values[1:5]:  # midway is rounded up or down
        labels[:, 0] = rows[:, 0] >= value
        found = fit_calibration(probabilities, labels, none, "multilabel")
        assert found.temperature == start.temperature == pytest.approx(20)
        assert (decide(rows, none, "multilabel", found) == labels)[:, 0].all()


@pytest.mark.parametrize("value", [0, 1])
def test_a_binary_class_without_a_row(value):
    probabilities, _ = _validation("binary", 200)

    labels = np.full(200, value)
    found = fit_calibration(probabilities, labels, [None] * 200, "binary")
    assert found.thresholds == (0.5,)


@pytest.mark.parametrize("kind", KINDS)
def test_too_few_rows_fit_nothing(kind):
    probabilities, labels = _validation(kind, 100, temperature=3.0)
    count = {"binary": 1, "multilabel": 3}.get(kind, 0)

    expected = Calibration(rows=0, temperature=1.0, thresholds=(0.5,) * count)
    for rows in (99, 0):
        part = probabilities[:rows], labels[:rows], ["de"] * rows
        assert fit_calibration(*part, kind) == expected
    enough = fit_calibration(probabilities, labels, ["de"] * 100, kind)
    assert (enough.rows, enough.temperature > 1.5) == (100, True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_rows_give_the_same_calibration(kind):
    given = _two_languages(kind, 300)

    found = fit_calibration(*given, kind)
    assert fit_calibration(*given, kind) == found
    plain = json.loads(json.dumps(found.model_dump(mode="json")))
    assert Calibration.model_validate(plain) == found
    assert len(found.thresholds) == {"binary": 1, "multilabel": 3}.get(kind, 0)


# === Report and statistics ===


def test_the_report_tells_what_was_gained():
    given = _two_languages("multiclass", 500)
    found = fit_calibration(*given, "multiclass")
    report = calibration_report(*given, "multiclass", found)

    before, after = report["before"], report["after"]
    assert report["rows"] == 1000
    assert before["negative_log_likelihood"] == pytest.approx(
        log_loss(given[1], given[0] / given[0].sum(axis=1, keepdims=True)), rel=1e-5
    )
    assert after["negative_log_likelihood"] < before["negative_log_likelihood"] - 0.1
    assert after["expected_calibration_error"] < 0.05
    assert before["expected_calibration_error"] > 0.1
    assert json.loads(json.dumps(report)) == report
    assert sum(point["rows"] for point in after["bins"]) == 1000
    gaps = [p["rows"] * abs(p["accuracy"] - p["confidence"]) for p in after["bins"]]
    assert sum(gaps) / 1000 == pytest.approx(after["expected_calibration_error"])

    nothing = calibration_report(*given, "multiclass", Calibration())
    assert nothing["after"] == nothing["before"] == before


def test_statistics_by_hand():
    rows = np.array([[0.75, 0.25], [0.5, 0.5], [0.125, 0.875]], np.float32)
    found = prediction_statistics(
        rows, np.array([0, 1, 1]), [None] * 3, ("bad", "good"), "binary"
    )

    assert found.pop("confidence_deciles") == pytest.approx(
        [0.55, 0.6, 0.65, 0.7, 0.75, 0.775, 0.8, 0.825, 0.85]
    )
    assert found == {
        "rows": 3,
        "labels": {"bad": pytest.approx(1 / 3), "good": pytest.approx(2 / 3)},
        "mean_confidence": pytest.approx(2.125 / 3),
        "languages": {},
    }


def test_statistics_of_several_labels():
    rows = np.array([[0.75, 0.25, 0.5], [1.0, 0.0, 0.0]], np.float32)
    decisions = np.array([[True, False, True], [True, False, False]])
    found = prediction_statistics(
        rows, decisions, ["de", "fr"], ("a", "b", "c"), "multilabel"
    )

    assert found["labels"] == {"a": 1.0, "b": 0.0, "c": 0.5}
    assert found["mean_confidence"] == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_of_languages_are_those_of_their_rows(kind):
    probabilities, _, languages = _two_languages(kind, 50)
    languages[:3] = [None, "tr", "mail@example.com"]
    names = tuple(f"class {i}" for i in range(CLASSES[kind]))
    decisions = decide(
        probabilities, languages, kind, Calibration(thresholds=(0.4,) * len(names))
    )
    found = prediction_statistics(probabilities, decisions, languages, names, kind)

    codes = np.array(languages, object)
    enough = [code for code in ("de", "fr") if (codes == code).sum() >= 50]
    assert list(found["languages"]) == enough != []
    for code in enough:
        rows = codes == code
        alone = prediction_statistics(
            probabilities[rows], decisions[rows], [None] * rows.sum(), names, kind
        )
        del alone["languages"]
        assert found["languages"][code] == alone
    assert json.loads(json.dumps(found)) == found
