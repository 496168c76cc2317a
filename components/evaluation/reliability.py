"""Whether confidence was accuracy, without the calibration and with it."""

from typing import Any

from reviewbeam.components.common.calibration import (
    Calibration,
    SliceCalibration,
    calibrated,
    expected_calibration_error,
    reliability_bins,
)
from reviewbeam.components.evaluation.predictions import Predictions


def before_and_after(
    predictions: Predictions, kind: str, calibration: Calibration
) -> dict[str, Any]:
    """Returns the reliability of the model's own and of the calibrated probabilities.

    The predictions hold the calibrated ones. Logits were divided by a temperature, so
    that dividing by its reciprocal gives those before it back, within rounding.

    Args:
      predictions: all rows.
      kind: the type of the labels.
      calibration: that the predictions were made with.

    Returns:
      `before` and `after`: `expected_calibration_error` and `bins`, of
      `reliability_bins`. All rows count the same.
    """
    undone = calibrated(
        predictions.probabilities, predictions.languages, kind, _inverse(calibration)
    )
    return {
        when: {
            "expected_calibration_error": expected_calibration_error(
                probabilities, predictions.true, kind
            ),
            "bins": reliability_bins(probabilities, predictions.true, kind),
        }
        for when, probabilities in (
            ("before", undone),
            ("after", predictions.probabilities),
        )
    }


def _inverse(calibration: Calibration) -> Calibration:
    return Calibration(
        temperature=1 / calibration.temperature,
        languages={
            code: SliceCalibration(temperature=1 / part.temperature)
            for code, part in calibration.languages.items()
        },
    )
