"""What was fitted on validation, and how it turns probabilities into decisions.

`kind` is `LabelRules.type`. Probabilities are float32 [rows, classes]: for binary of
the negative and the positive class, for multilabel of each label by itself, else a
distribution over the classes. What becomes of a row depends on it and its language
alone.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from reviewbeam.components.common.config import Config
from reviewbeam.components.common.language_codes import shown_language

# Stand for an exact 0 and 1 where a logarithm is taken: next to the least and the
# largest probability that a float32 can tell from them.
_LEAST, _MOST = 2.0**-150, 1 - 2.0**-25
_BINS = 15  # of confidence, of equal width


class SliceCalibration(Config):
    """Temperature and thresholds of some rows."""

    rows: int = 0  # of validation that they were fitted on; 0: too few, not fitted
    # The logits are divided by it; 1: the probabilities are as the model gives them.
    temperature: float = Field(1.0, gt=0)
    # Least calibrated probability of the positive class (binary), or of each label
    # (multilabel); empty: the label types that have no threshold.
    thresholds: tuple[Annotated[float, Field(ge=0, le=1)], ...] = ()


class Calibration(SliceCalibration):
    """That of all rows, and of the languages that differ from it."""

    languages: dict[str, SliceCalibration] = {}  # by code, as `shown_language` gives


def calibrated(
    probabilities: np.ndarray,
    languages: Sequence[str | None],
    kind: str,
    calibration: Calibration,
) -> np.ndarray:
    """Divides the logits of each row by the temperature of its language.

    Args:
      probabilities: of the model, float32 [rows, classes].
      languages: of each row; one that has no calibration of its own, or None, takes
        that of all rows.
      kind: the type of the labels.
      calibration: of the model.

    Returns:
      float32 [rows, classes]; the same bytes where the temperature is 1. The most
      probable class of a row stays the one it was; for multilabel, of each label.
    """
    result = np.array(probabilities, np.float32, order="C")
    slices, of_row = _slices(languages, calibration)
    temperatures = np.array([s.temperature for s in slices])[of_row]
    changed = temperatures != 1
    if changed.any():
        scaled = logits(result[changed], kind) / temperatures[changed, None]
        result[changed] = _with_the_same_best(
            from_logits(scaled, kind).astype(np.float32), result[changed], kind
        )
    return result


def decide(
    probabilities: np.ndarray,
    languages: Sequence[str | None],
    kind: str,
    calibration: Calibration,
) -> np.ndarray:
    """Decides on the labels of each row.

    A binary row is positive, and a label of a multilabel row is given, from the
    threshold of its language on. Of several classes the most probable one is taken,
    the first of equals. Of an ordinal scale the median is taken, the first class at
    which the cumulated probability reaches one half: it has the least expected
    distance to the true class.

    Args:
      probabilities: the calibrated ones, float32 [rows, classes].
      languages: of each row.
      kind: the type of the labels.
      calibration: of the model.

    Returns:
      The index of the class, int64 [rows]; for multilabel, bool [rows, labels].
    """
    if kind == "multiclass":
        return probabilities.argmax(axis=1)
    if kind == "ordinal":
        cumulated = probabilities.astype(np.float64).cumsum(axis=1)
        return (cumulated >= 0.5).argmax(axis=1)
    thresholds = row_thresholds(languages, calibration)
    if kind == "binary":
        return (probabilities[:, 1] >= thresholds[:, 0]).astype(np.int64)
    return probabilities >= thresholds


def row_thresholds(
    languages: Sequence[str | None], calibration: Calibration
) -> np.ndarray:
    """Returns the thresholds of each row's language, float32 [rows, thresholds].

    As float32, as the probabilities are: 0.3 reaches a threshold of 0.3.
    """
    slices, of_row = _slices(languages, calibration)
    return np.array([s.thresholds for s in slices], np.float32)[of_row]


def logits(probabilities: np.ndarray, kind: str) -> np.ndarray:
    """Returns finite logits that give the probabilities, float64 [rows, classes]."""
    if kind == "multilabel":
        return logit(probabilities)
    return np.log(np.clip(np.asarray(probabilities, np.float64), _LEAST, 1))


def from_logits(values: np.ndarray, kind: str) -> np.ndarray:
    """Returns the probabilities of logits, float64 [rows, classes]."""
    if kind == "multilabel":
        return np.exp(-np.logaddexp(0, -values))
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def logit(probability: np.ndarray | float) -> np.ndarray:
    """Returns the finite logit of probabilities from 0 to 1, as float64."""
    probability = np.clip(np.asarray(probability, np.float64), _LEAST, _MOST)
    return np.log(probability) - np.log1p(-probability)


def expected_calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, kind: str
) -> float:
    """Computes how far confidence is from accuracy, a mean over the rows.

    Rows are put into 15 bins of equal width by the probability of the most probable
    class (Guo et al. 2017, "On Calibration of Modern Neural Networks"). For
    multilabel, each label of each row counts as a row with two classes.

    Args:
      probabilities: float [rows, classes], at least one row.
      labels: the true class, int [rows]; for multilabel, 0 or 1 [rows, labels].
      kind: the type of the labels.
    """
    bins, gaps = calibration_gaps(probabilities, labels, kind)
    return float(np.abs(np.bincount(bins, gaps)).sum() / len(bins))


def calibration_gaps(
    probabilities: np.ndarray, labels: np.ndarray, kind: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what `expected_calibration_error` sums up.

    Returns:
      The bin of each row, int64 [rows], and 1 less its confidence where it is right, 0
      less it where it is wrong, float64 [rows]; for multilabel of each label of each
      row, [rows * labels].
    """
    confidence, best = confidences(probabilities, kind)
    right = (best == labels).ravel().astype(np.float64)
    confidence = confidence.ravel().astype(np.float64)
    # A bin holds its upper end: confidence 1 is in the last one.
    bins = np.clip(np.ceil(confidence * _BINS).astype(np.int64) - 1, 0, _BINS - 1)
    return bins, right - confidence


def reliability_bins(
    probabilities: np.ndarray,
    labels: np.ndarray,
    kind: str,
    weights: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """Returns the points of a reliability diagram, of bins that have rows.

    Args:
      probabilities: float [rows, classes].
      labels: the true class, int [rows]; for multilabel, 0 or 1 [rows, labels].
      kind: the type of the labels.
      weights: of the rows; None: all count the same.

    Returns:
      From the lowest bin on `rows` (for multilabel labels of rows), and their mean
      `confidence` and `accuracy`; see `expected_calibration_error` for the bins.
    """
    confidence, _ = confidences(probabilities, kind)
    bins, gaps = calibration_gaps(probabilities, labels, kind)
    entries = confidence.size // max(len(confidence), 1)
    weights = np.ones(len(confidence)) if weights is None else weights
    weights = np.repeat(np.asarray(weights, np.float64), entries)
    confidence = confidence.ravel().astype(np.float64)
    rows, sums, errors = (
        np.bincount(bins, values * weights, minlength=_BINS)
        for values in (np.ones(len(bins)), confidence, gaps)
    )
    return [
        {
            "rows": round(float(rows[place])),
            "confidence": float(sums[place] / rows[place]),
            "accuracy": float((sums[place] + errors[place]) / rows[place]),
        }
        for place in np.flatnonzero(rows)
    ]


def confidences(probabilities: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the probability of the most probable class, and that class.

    Both have the shape [rows]; for multilabel [rows, labels], where the classes of a
    label are 0, not given, and 1, given.
    """
    if kind == "multilabel":
        return np.maximum(probabilities, 1 - probabilities), probabilities >= 0.5
    return probabilities.max(axis=1), probabilities.argmax(axis=1)


def row_confidences(probabilities: np.ndarray, kind: str) -> np.ndarray:
    """Returns one confidence a row, float64 [rows]: for multilabel the mean one."""
    confidence = confidences(probabilities, kind)[0].astype(np.float64)
    return confidence.mean(axis=1) if kind == "multilabel" else confidence


def _with_the_same_best(
    scaled: np.ndarray, before: np.ndarray, kind: str
) -> np.ndarray:
    """Keeps apart what rounding made equal: the best of equals is the first one."""
    if kind == "multilabel":
        risen = (before < 0.5) & (scaled >= 0.5)
        scaled[risen] = np.nextafter(np.float32(0.5), np.float32(0))
        return scaled
    best = before.argmax(axis=1)
    rows = np.flatnonzero(scaled.argmax(axis=1) != best)
    largest = scaled[rows].max(axis=1)
    scaled[rows, best[rows]] = np.nextafter(largest, np.float32(2))
    return scaled


def _slices(
    languages: Sequence[str | None], calibration: Calibration
) -> tuple[list[SliceCalibration], np.ndarray]:
    """Returns the calibrations there are, and the place of each row's among them."""
    slices = [calibration, *calibration.languages.values()]
    codes = {code: place for place, code in enumerate(calibration.languages, start=1)}
    places = {value: codes.get(shown_language(value), 0) for value in set(languages)}
    return slices, np.array([places[value] for value in languages], np.int64)
