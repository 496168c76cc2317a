import numpy as np
import pytest

from reviewbeam.components.common.calibration import (
    Calibration,
    calibrated,
    expected_calibration_error,
)
from reviewbeam.components.common.evaluate_config import (
    BootstrapConfig,
    CalibrationLimits,
)
from reviewbeam.components.evaluation.judgement import judge
from tests.components.evaluation.rows import random_predictions

KINDS = {"binary": 2, "multiclass": 4, "multilabel": 3, "ordinal": 5}
LIMITS = CalibrationLimits()


def _judge(kind, rows, seed, *, temperature=1.0, resamples=200, limits=LIMITS):
    """Judges labels drawn from the probabilities before a wrong temperature."""
    drawn = random_predictions(kind, KINDS[kind], rows, seed)
    wrong = Calibration(temperature=temperature)
    probabilities = calibrated(drawn.probabilities, [None] * rows, kind, wrong)
    ece = expected_calibration_error(probabilities, drawn.true, kind)
    bootstrap = BootstrapConfig(resamples=resamples)
    parts = probabilities, drawn.true, kind, ece, (0.0, 1.0)
    return judge(*parts, limits, bootstrap, "de")


@pytest.mark.parametrize("kind", KINDS)
def test_many_rows_are_held_against_the_limit(kind):
    good = _judge(kind, 3000, 0)
    assert good["verdict"] == "calibrated"
    assert good["expected_calibration_error"] < 0.05
    assert _judge(kind, 3000, 0, temperature=0.2)["verdict"] == "not calibrated"
    strict = CalibrationLimits(max_ece=0.001)
    assert _judge(kind, 3000, 0, limits=strict)["verdict"] == "not calibrated"


@pytest.mark.parametrize("kind", KINDS)
def test_few_rows_are_held_against_a_calibrated_model(kind):
    """Whose error is far above the limit too."""
    good = _judge(kind, 100, 1)
    assert good["verdict"] == "not distinguishable from calibrated"
    assert 0.02 < good["expected_calibration_error"] <= good["if_calibrated"][1]
    bad = _judge(kind, 400, 1, temperature=0.2)
    assert bad["verdict"] == "not calibrated"
    assert bad["p_value"] < 0.01
    assert bad["if_calibrated"][1] < bad["expected_calibration_error"]


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_one_in_twenty_is_a_false_alarm(kind):
    found = [_judge(kind, 60, seed)["verdict"] for seed in range(400)]
    assert 0.02 <= found.count("not calibrated") / 400 <= 0.085


def test_the_same_seed_gives_the_same_judgement():
    assert _judge("ordinal", 50, 2) == _judge("ordinal", 50, 2)


def test_a_sure_and_right_model_is_calibrated():
    sure, true = np.eye(2, dtype=np.float32)[[0, 1, 1]], np.array([0, 1, 1])
    parts = sure, true, "binary", 0.0, None
    found = judge(*parts, LIMITS, BootstrapConfig(resamples=50), "de")

    assert (found["if_calibrated"], found["p_value"]) == ([0, 0], 1)
    assert found["verdict"] == "not distinguishable from calibrated"
    one_wrong = judge(
        sure, 1 - true, "binary", 1.0, None, LIMITS, BootstrapConfig(resamples=50), "de"
    )
    assert one_wrong["verdict"] == "not calibrated"


def test_a_weight_counts_as_copies():
    """The error is heavier to tell from chance where few rows have most weight."""
    drawn = random_predictions("binary", 2, 100, 4)
    weights = np.where(np.arange(100) < 5, 100.0, 1.0)
    parts = drawn.probabilities, drawn.true, "binary", 0.1, None
    bootstrap = BootstrapConfig(resamples=300)
    light, heavy = (
        judge(*parts, LIMITS, bootstrap, "de", given) for given in (None, weights)
    )
    assert heavy["if_calibrated"][1] > light["if_calibrated"][1]
    same = judge(*parts, LIMITS, bootstrap, "de", np.full(100, 7.0))
    assert same["if_calibrated"] == pytest.approx(light["if_calibrated"])


def test_without_draws_few_rows_are_not_judged():
    found = _judge("binary", 50, 0, resamples=0)
    assert 0 < found.pop("expected_calibration_error") < 0.2
    assert found == {
        "rows": 50,
        "interval": [0.0, 1.0],
        "if_calibrated": None,
        "p_value": None,
        "verdict": "not judged",
    }
    assert _judge("binary", 3000, 0, resamples=0)["verdict"] == "calibrated"
