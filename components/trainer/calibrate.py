"""Fits temperatures and thresholds on validation, and tells what they did.

`kind`, probabilities and languages are those of components/common/calibration.py;
labels are the true classes, int [rows], or for multilabel 0 or 1 [rows, labels].
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from reviewbeam.components.common.calibration import (
    Calibration,
    SliceCalibration,
    calibrated,
    expected_calibration_error,
    from_logits,
    logit,
    logits,
    reliability_bins,
    row_confidences,
)
from reviewbeam.components.common.language_codes import shown_language

_LEAST_ROWS = 100  # of validation; with fewer, nothing is fitted
_LEAST_LANGUAGE_ROWS = 50  # with fewer, a language is as all rows are
_FULL_LANGUAGE_ROWS = 500  # from there on it is fitted on its own rows alone
_TEMPERATURES = (0.05, 20.0)
_HALVINGS = 30  # of the range of logarithms: to 6e-9


def fit_calibration(
    probabilities: np.ndarray,
    labels: np.ndarray,
    languages: Sequence[str | None],
    kind: str,
) -> Calibration:
    """Fits the calibration of a model.

    A temperature is that of the least mean negative log-likelihood (Guo et al. 2017).
    A threshold is that of the largest F1 on calibrated probabilities: for binary the
    mean F1 of both classes, for multilabel the label's own. What a language's rows
    give counts by their number over 500 against what all rows give: the logarithm of
    the temperature, the logit of a threshold.

    Args:
      probabilities: of the model on validation, float32 [rows, classes].
      labels: the true classes of these rows.
      languages: their languages.
      kind: the type of the labels.

    Returns:
      With fewer than 100 rows temperature 1 and thresholds 0.5, for 0 rows. A
      threshold that can't be fitted stays 0.5, of a language that of all rows: the
      label has no positive row, or for binary one of the classes has no row.
    """
    count = {"binary": 1, "multilabel": probabilities.shape[1]}.get(kind, 0)
    start = SliceCalibration(thresholds=(0.5,) * count)
    if len(labels) < _LEAST_ROWS:
        return Calibration(thresholds=start.thresholds)
    common = _fit(probabilities, labels, kind, start, share=1.0)
    each = {
        code: _fit(
            probabilities[rows],
            labels[rows],
            kind,
            common,
            share=min(1.0, int(rows.sum()) / _FULL_LANGUAGE_ROWS),
        )
        for code, rows in _rows_by_language(languages).items()
    }
    return Calibration(**dict(common), languages=each)


def calibration_report(
    probabilities: np.ndarray,
    labels: np.ndarray,
    languages: Sequence[str | None],
    kind: str,
    calibration: Calibration,
) -> dict[str, Any]:
    """Measures what a calibration did to the model's probabilities.

    Args:
      probabilities: of the model, float32 [rows, classes], at least one row.
      labels: the true classes.
      languages: of the rows.
      kind: the type of the labels.
      calibration: what was fitted.

    Returns:
      `rows`, and `before` and `after`: `expected_calibration_error` (15 bins),
      `negative_log_likelihood` (mean over the rows, for multilabel also over labels)
      and `bins`, of `reliability_bins`.
    """
    after = calibrated(probabilities, languages, kind, calibration)
    return {"rows": len(labels)} | {
        when: {
            "expected_calibration_error": expected_calibration_error(p, labels, kind),
            "negative_log_likelihood": negative_log_likelihood(
                logits(p, kind), labels, kind
            ),
            "bins": reliability_bins(p, labels, kind),
        }
        for when, p in (("before", probabilities), ("after", after))
    }


def prediction_statistics(
    probabilities: np.ndarray,
    decisions: np.ndarray,
    languages: Sequence[str | None],
    names: Sequence[str],
    kind: str,
) -> dict[str, Any]:
    """Describes predictions, for a later comparison with those on other reviews.

    Args:
      probabilities: the calibrated ones, float32 [rows, classes], at least one row.
      decisions: what `decide` made of them.
      languages: of the rows.
      names: of the classes.
      kind: the type of the labels.

    Returns:
      `rows`, `labels` (name -> share of the rows with that decision),
      `mean_confidence` and `confidence_deciles` (9 of them); and the same in
      `languages` for each that has 50 rows or more. Confidence is the probability of
      the most probable class, for multilabel the mean of that over the labels.
    """
    confidence = row_confidences(probabilities, kind)
    given = decisions
    if kind != "multilabel":
        given = decisions[:, None] == np.arange(len(names))
    by_language = _rows_by_language(languages)
    return _describe(confidence, given, names) | {
        "languages": {
            code: _describe(confidence[rows], given[rows], names)
            for code, rows in by_language.items()
        }
    }


def negative_log_likelihood(values: np.ndarray, labels: np.ndarray, kind: str) -> float:
    """Returns the mean over the rows, for multilabel also over the labels.

    Args:
      values: logits, float64 [rows, classes].
      labels: the true classes.
      kind: the type of the labels.
    """
    if kind == "multilabel":
        return float(np.logaddexp(0, np.where(labels, -values, values)).mean())
    return float(np.logaddexp.reduce(_from_true(values, labels), axis=1).mean())


def _fit(
    probabilities: np.ndarray,
    labels: np.ndarray,
    kind: str,
    prior: SliceCalibration,
    share: float,
) -> SliceCalibration:
    """Fits some rows; what they give counts `share`, from 0 to 1, against a prior."""
    values = logits(probabilities, kind)
    own = _best_temperature(values, labels, kind)
    temperature = own**share * prior.temperature ** (1 - share)
    fitted = Calibration(temperature=temperature)
    scaled = calibrated(probabilities, [None] * len(labels), kind, fitted)
    thresholds = list(prior.thresholds)
    for index, before in enumerate(prior.thresholds):
        column = scaled[:, 1] if kind == "binary" else scaled[:, index]
        positive = (labels if kind == "binary" else labels[:, index]) == 1
        best = _best_threshold(column, positive, both_classes=kind == "binary")
        if best is not None:
            thresholds[index] = _between(before, best, share)
    return SliceCalibration(
        rows=len(labels), temperature=temperature, thresholds=tuple(thresholds)
    )


def _best_temperature(values: np.ndarray, labels: np.ndarray, kind: str) -> float:
    """Returns the temperature of the least negative log-likelihood.

    That is convex in 1 / temperature: where its slope changes its sign is the least.
    """
    if kind != "multilabel":
        values = _from_true(values, labels)

    def slope(inverse: float) -> float:
        scaled = from_logits(values * inverse, kind)
        return ((scaled - labels if kind == "multilabel" else scaled) * values).sum()

    if slope(1.0) == 0:  # as where all probabilities are equal
        return 1.0
    low, high = -np.log(_TEMPERATURES[::-1])
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(np.exp(middle)) < 0 else (low, middle)
    return float(np.exp(-(low + high) / 2))


def _from_true(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns logits less that of the true class."""
    return values - np.take_along_axis(values, labels[:, None].astype(np.int64), axis=1)


def _best_threshold(
    probabilities: np.ndarray, positive: np.ndarray, *, both_classes: bool
) -> float | None:
    """Returns the threshold of the largest F1, of those the one nearest to 0.5.

    Args:
      probabilities: float32 [rows].
      positive: bool [rows].
      both_classes: the mean F1 of the positive and the negative rows.

    Returns:
      A float32 midway between neighbouring probabilities, or between 0 and the least
      one; None if the rows can't tell.
    """
    rows, positives = len(positive), positive.sum()
    if positives == 0 or (both_classes and positives == rows):
        return None
    above, place = np.unique(probabilities, return_inverse=True)
    below = np.append(np.float32(0), above[:-1])
    candidates = ((below.astype(np.float64) + above) / 2).astype(np.float32)
    candidates = np.where(candidates > below, candidates, above)
    # Of all rows that a candidate makes positive, from the last candidate on.
    given = np.bincount(place)[::-1].cumsum()[::-1]
    right = np.bincount(place, positive)[::-1].cumsum()[::-1]
    f1 = 2 * right / (given + positives)
    if both_classes:
        negatives, left = rows - positives, rows - given
        f1 = (f1 + 2 * (left - (positives - right)) / (left + negatives)) / 2
    best = candidates[f1 == f1.max()]
    return float(best[np.abs(best - 0.5).argmin()])


def _between(before: float, own: float, share: float) -> float:
    """Moves a threshold by a share of the way on the scale of logits."""
    if share == 1:
        return own
    place = share * logit(own) + (1 - share) * logit(before)
    return float(np.exp(-np.logaddexp(0, -place)))


def _rows_by_language(languages: Sequence[str | None]) -> dict[str, np.ndarray]:
    """Returns the rows, bool [rows], of each language that has enough of them."""
    codes = np.array([shown_language(value) or "" for value in languages], object)
    found, counts = np.unique(codes.astype(str), return_counts=True)
    enough = [
        str(code)
        for code, count in zip(found, counts, strict=True)
        if code and count >= _LEAST_LANGUAGE_ROWS
    ]
    return {code: codes == code for code in enough}


def _describe(
    confidence: np.ndarray, given: np.ndarray, names: Sequence[str]
) -> dict[str, Any]:
    shares = given.mean(axis=0).tolist()
    return {
        "rows": len(given),
        "labels": dict(zip(names, shares, strict=True)),
        "mean_confidence": float(confidence.mean()),
        "confidence_deciles": np.quantile(confidence, np.arange(1, 10) / 10).tolist(),
    }
