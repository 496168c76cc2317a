import numpy as np
import pytest

from reviewbeam.components.common.calibration import (
    Calibration,
    SliceCalibration,
    calibrated,
    expected_calibration_error,
    reliability_bins,
)
from reviewbeam.components.evaluation.reliability import before_and_after
from tests.components.evaluation.rows import predictions_of, random_predictions


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "ordinal"])
def test_a_calibration_is_undone(kind):
    drawn = random_predictions(kind, 2 if kind == "binary" else 4, 300, seed=1)
    languages = {"de": SliceCalibration(temperature=0.5)}
    calibration = Calibration(temperature=2.0, languages=languages)
    given = drawn.languages, kind, calibration
    predictions = predictions_of(
        drawn.true,
        drawn.predicted,
        drawn.languages,
        calibrated(drawn.probabilities, *given),
    )
    found = before_and_after(predictions, kind, calibration)

    for when, probabilities in (
        ("before", drawn.probabilities),
        ("after", predictions.probabilities),
    ):
        rows = probabilities, drawn.true, kind
        error = found[when]["expected_calibration_error"]
        assert error == pytest.approx(expected_calibration_error(*rows), abs=1e-4)
        bins = reliability_bins(*rows)
        for key in ("confidence", "accuracy"):
            np.testing.assert_allclose(
                [point[key] for point in found[when]["bins"]],
                [point[key] for point in bins],
                atol=0.02,  # a row at the edge of a bin
            )
    # Drawn from the probabilities, which the calibration made worse.
    after = found["after"]["expected_calibration_error"]
    assert found["before"]["expected_calibration_error"] < after


def test_no_calibration_changes_nothing():
    drawn = random_predictions("multiclass", 3, 100, seed=2)
    found = before_and_after(drawn, "multiclass", Calibration())
    assert found["before"] == found["after"]
