import dataclasses
import json

import numpy as np
import pytest

from reviewbeam.components.common.errors import ReviewbeamError, UserError
from reviewbeam.components.common.inference_config import InferenceConfig
from reviewbeam.components.common.model_directory import ModelDirectory
from reviewbeam.components.inference import resolve
from reviewbeam.components.inference.calibrate import measure_speeds, sample_lengths
from reviewbeam.components.inference.resolve import choose, resolve_inference
from tests.components.inference.saved_models import save_model
from tests.components.inference.test_decide import _model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = save_model(tmp_path_factory.mktemp("plain"))
    return ModelDirectory(path, _model("multiclass", ["a", "b", "c"]), "core", "c")


@pytest.fixture
def no_calibration(monkeypatch):
    def never(*arguments):
        raise AssertionError("there was nothing to measure")

    monkeypatch.setattr(resolve, "_measure", never)


def _resolve(model, share=2, **config):
    return resolve_inference(InferenceConfig(**config), model, threads=share)


def test_what_is_given_is_not_measured(model, no_calibration):
    given = {"engine": "tensorflow", "batch_tokens": 2048, "threads": 3}
    resolved = _resolve(model, **given)
    assert dataclasses.asdict(resolved) == given | {
        "xla": False,
        "engine_fingerprint": "",
        "tokens_per_second": None,
    }
    told = json.loads(json.dumps(dataclasses.asdict(resolved)))
    assert resolve.ResolvedInference(**told) == resolved


def test_measures_with_the_threads_of_a_process(model, monkeypatch):
    seen = []

    def measure(model, engines, budgets, threads, xla):
        seen.append((engines, budgets, threads, xla))
        return {"tensorflow": {512: 10.0, 1024: 10.2, 2048: 9.0}}

    monkeypatch.setattr(resolve, "_measure", measure)
    resolved = _resolve(model, 3, engine="tensorflow")
    assert seen == [(["tensorflow"], (512, 1024, 2048, 4096), 3, False)]
    assert (resolved.batch_tokens, resolved.threads) == (512, 3)
    assert resolved.tokens_per_second == 10.0


def test_a_gpu_takes_tensorflow_and_larger_budgets(model, monkeypatch):
    monkeypatch.setattr(resolve, "visible_gpus", lambda: ["0", "1"])
    monkeypatch.setattr(resolve, "exact_engines", lambda: ["tensorflow", "openvino"])
    seen = []

    def measure(model, engines, budgets, threads, xla):
        seen.append((engines, max(budgets)))
        return {"tensorflow": {max(budgets): 1.0}}

    monkeypatch.setattr(resolve, "_measure", measure)
    assert _resolve(model).batch_tokens == 262_144
    _resolve(model, batch_tokens=999)
    assert seen == [(["tensorflow"], 262_144), (["tensorflow"], 999)]


def test_the_fastest_engine_and_its_least_budget_within_noise():
    speeds = {
        "tensorflow": {512: 100.0, 1024: 130.0},
        "openvino": {512: 90.0, 1024: 146.0, 2048: 150.0},
    }
    assert choose(speeds) == ("openvino", 1024, 146.0)
    assert choose({"a": {512: 5.0}, "b": {512: 5.0}}) == ("a", 512, 5.0)


def test_calibrates_in_a_process_of_its_own(model, monkeypatch):
    monkeypatch.setattr(resolve, "_CPU_BUDGETS", (64, 128))
    resolved = _resolve(model, threads=1)
    assert resolved.engine in ("tensorflow", "openvino")
    assert resolved.batch_tokens in (64, 128)
    assert resolved.tokens_per_second > 0
    assert resolved.threads == 1


def test_an_engine_that_dies_does_not_take_the_others_with_it(model, monkeypatch):
    asked = []

    def apart(model, engines, *rest):
        asked.append(engines)
        return {} if "openvino" in engines else {"tensorflow": {"speeds": {"64": 7.0}}}

    monkeypatch.setattr(resolve, "exact_engines", lambda: ["tensorflow", "openvino"])
    monkeypatch.setattr(resolve, "_measure_apart", apart)
    assert _resolve(model).engine == "tensorflow"
    assert asked == [["tensorflow", "openvino"], ["tensorflow"], ["openvino"]]


def test_when_no_engine_runs_the_model(model, monkeypatch):
    told = {"tensorflow": {"problem": {"message": "InternalError", "exit_code": 1}}}
    monkeypatch.setattr(resolve, "_measure_apart", lambda *rest: told)
    with pytest.raises(ReviewbeamError, match="tensorflow: InternalError") as raised:
        _resolve(model, engine="tensorflow")
    assert raised.value.exit_code == 1

    told["tensorflow"]["problem"] = {"message": "damaged", "exit_code": 2}
    with pytest.raises(UserError, match="damaged"):
        _resolve(model, engine="tensorflow")


def test_int8_that_was_never_made(model):
    with pytest.raises(UserError, match="reviewbeam quantize --model"):
        _resolve(model, engine="openvino-int8")


class _Slow:
    """Counts tokens; batches above a size don't fit."""

    concurrency = 1

    def __init__(self, most):
        self.sizes = []
        self._most = most

    def probabilities(self, token_ids, mask):
        self.sizes.append(token_ids.size)
        if token_ids.size > self._most:
            raise MemoryError
        for _ in range(200_000 // token_ids.size):  # small batches are slow
            np.exp(0.5)
        return np.zeros((len(token_ids), 2), np.float32)


def test_budgets_grow_until_memory_is_full():
    speeds = measure_speeds(_Slow(300), [64, 256, 1024], 128, seconds=60)
    assert list(speeds) == [64, 256]
    assert speeds[256] > speeds[64]
    with pytest.raises(MemoryError):
        measure_speeds(_Slow(10), [64, 256], 128)


def test_the_mix_of_lengths_is_always_the_same():
    lengths = sample_lengths(4096, 128)
    assert lengths.tobytes() == sample_lengths(4096, 128).tobytes()
    assert 3 <= lengths.min() and lengths.max() <= 128
    assert 25 < lengths.mean() < 40
    assert lengths.sum() >= 5 * 4096
