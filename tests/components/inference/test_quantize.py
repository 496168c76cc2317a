"""How far the labels of two sets of probabilities agree."""

import numpy as np

from reviewbeam.components.common.calibration import Calibration
from reviewbeam.components.inference.quantize import agreement


def test_agreement_is_told_per_language():
    exact = np.array([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5], [0.0, 1.0]], np.float32)
    found = np.array([[0.5, 0.5], [0.375, 0.625], [0.25, 0.75], [0.0, 1.0]], np.float32)
    languages = ["de", "de", "fr", None]
    told = agreement(exact, found, languages, "multiclass", Calibration())

    assert told == {
        "all": {"rows": 4, "agreement": 0.75},
        "languages": {
            "de": {"rows": 2, "agreement": 1.0},
            "fr": {"rows": 1, "agreement": 0.0},
            "unknown": {"rows": 1, "agreement": 1.0},
        },
        "largest_difference": 0.25,
    }


def test_thresholds_decide_what_agrees():
    exact = np.array([[0.25, 0.75], [0.75, 0.25]], np.float32)
    found = np.array([[0.375, 0.625], [0.75, 0.25]], np.float32)
    languages = ["de", "de"]
    for threshold, share in [(0.5, 1.0), (0.7, 0.5)]:
        calibration = Calibration(thresholds=(threshold,))
        told = agreement(exact, found, languages, "binary", calibration)
        assert told["all"]["agreement"] == share

    # Of several labels all must agree.
    calibration = Calibration(thresholds=(0.3, 0.7))
    told = agreement(exact, found, languages, "multilabel", calibration)
    assert told["all"]["agreement"] == 0.5
