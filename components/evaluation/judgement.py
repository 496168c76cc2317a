"""Judges by language whether confidence can be taken at its word."""

from typing import Any

import numpy as np

from reviewbeam.components.common.calibration import calibration_gaps, confidences
from reviewbeam.components.common.evaluate_config import (
    BootstrapConfig,
    CalibrationLimits,
)
from reviewbeam.components.evaluation.bootstrap import generator

CALIBRATED = "calibrated"
NOT_CALIBRATED = "not calibrated"
INDISTINCT = "not distinguishable from calibrated"
NOT_JUDGED = "not judged"
_LEVEL = 0.05
_CELLS = 2**21  # entries x draws at once


def judge(
    probabilities: np.ndarray,
    true: np.ndarray,
    kind: str,
    ece: float,
    interval: tuple[float, float] | None,
    limits: CalibrationLimits,
    bootstrap: BootstrapConfig,
    name: str,
    weights: np.ndarray | None = None,
) -> dict[str, Any]:
    """Judges the calibration of some rows.

    With `min_rows` rows the expected calibration error is held against `max_ece`. The
    error of fewer rows is far from 0 even where the model is calibrated, so that it is
    held against those of labels drawn from the model's own probabilities (consistency
    resampling: Bröcker and Smith 2007, "Increasing the Reliability of Reliability
    Diagrams"; as a test Vaicenavicius et al. 2019, "Evaluating model calibration in
    classification"): above 95 % of them the rows are not calibrated. Of calibrated
    languages one in twenty is told so by chance. Labels of a multilabel row are drawn
    independently.

    Args:
      probabilities: the calibrated ones, float [rows, classes].
      true: class of each row; for multilabel 0 or 1, [rows, labels].
      kind: the type of the labels.
      ece: expected calibration error of the rows, by these weights.
      interval: of the error, by the bootstrap of the rows.
      limits: from the config.
      bootstrap: number of draws, and seed.
      name: of the rows, for the seed.
      weights: of the rows; None: all count the same.

    Returns:
      `rows`, `expected_calibration_error`, `interval`, `verdict`; and where labels were
      drawn `if_calibrated`, the interval that holds 95 % of the drawn errors from 0 on,
      and `p_value`.
    """
    judged = {
        "rows": len(probabilities),
        "expected_calibration_error": ece,
        "interval": interval and list(interval),
        "if_calibrated": None,
        "p_value": None,
    }
    if bootstrap.resamples:
        drawn = _errors_if_calibrated(
            probabilities, true, kind, bootstrap, name, weights
        )
        judged["if_calibrated"] = [0.0, float(np.quantile(drawn, 1 - _LEVEL))]
        # A draw equal to it within rounding counts as reaching it.
        reached = int(np.count_nonzero(drawn >= ece - 1e-12))
        judged["p_value"] = (1 + reached) / (1 + len(drawn))
    if len(probabilities) >= limits.min_rows:
        verdict = CALIBRATED if ece <= limits.max_ece else NOT_CALIBRATED
    elif judged["p_value"] is None:
        verdict = NOT_JUDGED
    else:
        verdict = NOT_CALIBRATED if judged["p_value"] < _LEVEL else INDISTINCT
    return judged | {"verdict": verdict}


def _errors_if_calibrated(
    probabilities: np.ndarray,
    true: np.ndarray,
    kind: str,
    bootstrap: BootstrapConfig,
    name: str,
    weights: np.ndarray | None,
) -> np.ndarray:
    """Draws labels from the probabilities; returns their errors, float [draws].

    Whether the most probable class is the drawn one is all that counts of a draw: a
    coin with the confidence as its chance.
    """
    random = generator(bootstrap.seed, f"calibration of {name}")
    bins, _ = calibration_gaps(probabilities, true, kind)
    confidence = confidences(probabilities, kind)[0].ravel().astype(np.float64)
    weights = np.ones(len(probabilities)) if weights is None else weights
    weights = np.repeat(weights, len(bins) // len(weights)).astype(np.float64)
    members = np.equal.outer(np.unique(bins), bins) * weights  # [bins, entries]
    expected = members @ confidence
    most = max(1, _CELLS // len(bins))
    errors = []
    for start in range(0, bootstrap.resamples, most):
        count = min(most, bootstrap.resamples - start)
        right = random.random((count, len(bins))) < confidence
        found = right.astype(np.float64) @ members.T
        errors.append(np.abs(found - expected).sum(axis=1) / weights.sum())
    return np.concatenate(errors)
