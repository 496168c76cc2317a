"""The engines give the same probabilities, and fail in ways that are understood."""

import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.model_directory import ModelDirectory
from reviewbeam.components.inference import openvino_library
from reviewbeam.components.inference.engines import exact_engines, load_engine
from reviewbeam.components.inference.faults import is_out_of_memory
from reviewbeam.components.inference.handler import ClassifierHandler
from reviewbeam.components.inference.resolve import ResolvedInference
from tests.components.inference.saved_models import (
    CLASSES,
    fails_on,
    memory_above,
    nan_for,
    save_model,
)

needs_openvino = pytest.mark.skipif(
    not openvino_library.is_installed(), reason="OpenVINO is an extra"
)
ENGINES = ["tensorflow", pytest.param("openvino", marks=needs_openvino)]
MARKER = 63


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def transformer(tiny_encoder, tmp_path_factory):
    """A model directory of a classifier over the tiny encoder."""
    from reviewbeam.components.trainer.export import export_model
    from tests.components.trainer.classifiers import make_classifier, make_metadata

    labels = {"type": "multiclass", "names": ["a", "b", "c"]}
    metadata = make_metadata(tiny_encoder, labels)
    path = tmp_path_factory.mktemp("transformer")
    export_model(make_classifier(tiny_encoder, metadata), path)
    return path


def load(choice, path, **options):
    settings = {"core_fingerprint": "", "classes": CLASSES, "threads": 2} | options
    return load_engine(choice, path, **settings)


def batch(rows, length, seed=0):
    random = np.random.default_rng(seed)
    lengths = random.integers(1, length + 1, rows)
    mask = (np.arange(length) < lengths[:, None]).astype(np.int32)
    ids = random.integers(2, 60, (rows, length)).astype(np.int32)
    return np.where(mask == 1, ids, 1).astype(np.int32), mask


def test_calls_at_once_give_the_same_bytes(transformer):
    from concurrent.futures import ThreadPoolExecutor

    engine = load("tensorflow", transformer)
    assert engine.concurrency == 2
    assert load("tensorflow", transformer, xla=True).concurrency == 1
    batches = [batch(9, 5 + seed, seed) for seed in range(12)]
    expected = [engine.probabilities(*b).tobytes() for b in batches]
    with ThreadPoolExecutor(engine.concurrency) as pool:
        found = pool.map(lambda b: engine.probabilities(*b).tobytes(), batches * 3)
        assert list(found) == expected * 3


@needs_openvino
def test_openvino_gives_what_tensorflow_gives(model):
    reference, engine = load("tensorflow", model), load("openvino", model)
    for seed, (rows, length) in enumerate([(1, 1), (7, 30), (64, 5), (3, 128)]):
        ids, mask = batch(rows, length, seed)
        expected, found = (e.probabilities(ids, mask) for e in (reference, engine))
        assert found.dtype == np.float32 and found.shape == (rows, CLASSES)
        np.testing.assert_allclose(found, expected, atol=1e-6)


@needs_openvino
def test_a_classifier_with_attention(transformer):
    reference, engine = (load(c, transformer) for c in ("tensorflow", "openvino"))
    for seed, shape in enumerate([(1, 3), (9, 40), (30, 7)]):
        ids, mask = batch(*shape, seed)
        expected = reference.probabilities(ids, mask)
        found = engine.probabilities(ids, mask)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        # Neither batch mates nor padding matter.
        padded = [
            np.pad(array[:1], [(0, 0), (0, 4)], constant_values=value)
            for array, value in ((ids, 1), (mask, 0))
        ]
        alone = engine.probabilities(*padded)
        np.testing.assert_allclose(alone, found[:1], atol=1e-5)


@needs_openvino
def test_projections_are_rewritten_as_matrix_products(transformer):
    from reviewbeam.components.inference.einsum import einsum_to_matmul

    openvino = openvino_library.import_openvino()
    path = str(transformer / "saved_model")
    plain, changed = (openvino.Core().read_model(path) for _ in range(2))
    kinds = [op.get_type_name() for op in plain.get_ops()]
    assert einsum_to_matmul(changed) == kinds.count("Einsum") > 0
    assert "Einsum" not in [op.get_type_name() for op in changed.get_ops()]
    ids, mask = batch(5, 9)
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    expected, found = (
        openvino.compile_model(m, "CPU", settings)(
            {"token_ids": ids, "padding_mask": mask}
        )[0]
        for m in (plain, changed)
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)


def run(choice, path, rows, budget=64):
    handler = ClassifierHandler(
        ModelDirectory(path, None, "core", "content"),
        ResolvedInference(choice, budget, threads=2),
        classes=CLASSES,
        kind="multiclass",
        max_faults=10,
    )
    chunk = pa.RecordBatch.from_pydict(
        {"token_ids": pa.array(rows, pa.list_(pa.int32()))}
    )
    (inferred,) = handler.run_inference([chunk], handler.load_model())
    return inferred


ROWS = [[0, 5 + i, 2] for i in range(20)] + [[0] * 12, [0, 9]]


@needs_openvino
def test_memory_that_is_full(tmp_path, model):
    save_model(tmp_path, memory_above(10))
    with pytest.raises(RuntimeError) as raised:
        load("openvino", tmp_path).probabilities(*batch(4, 3))
    assert is_out_of_memory(raised.value)

    inferred = run("openvino", tmp_path, ROWS)
    faults = inferred.batch.column("fault").to_pylist()
    assert faults == [None] * 20 + ["model_out_of_memory", None]
    assert inferred.halved > 0
    expected = run("openvino", model, ROWS).batch.column("probabilities").to_pylist()
    found = inferred.batch.column("probabilities").to_pylist()
    del expected[20], found[20]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.slow  # TensorFlow waits ten seconds for memory before it gives up
def test_memory_that_is_full_for_tensorflow(tmp_path):
    save_model(tmp_path, memory_above(10))
    rows = [[0, 5, 2], [0, 6, 2], [0, 7, 2], [0, 8, 2]]
    inferred = run("tensorflow", tmp_path, rows)
    assert inferred.batch.column("fault").null_count == 4
    assert inferred.halved == 1


def test_a_model_that_fails_on_a_marker(tmp_path):
    save_model(tmp_path, fails_on(MARKER))
    rows = [*ROWS, [0, MARKER, 2], [0, 8, MARKER]]
    faults = run("tensorflow", tmp_path, rows).batch.column("fault").to_pylist()
    assert faults == [None] * len(ROWS) + ["model_failed"] * 2


@pytest.mark.parametrize("choice", ENGINES)
def test_a_model_that_gives_nan(choice, tmp_path):
    save_model(tmp_path, nan_for(MARKER))
    rows = [*ROWS, [0, MARKER, 2]]
    faults = run(choice, tmp_path, rows).batch.column("fault").to_pylist()
    assert faults == [None] * len(ROWS) + ["model_output_invalid"]


@pytest.mark.parametrize("choice", ENGINES)
def test_every_engine_is_guarded(choice, tmp_path):
    import tensorflow as tf

    from tests.components.inference.test_safe_saved_model import save

    save(
        tmp_path / "saved_model",
        lambda ids: tf.numpy_function(lambda _: os.abort(), [ids], tf.int32),
    )
    with pytest.raises(UserError, match="PyFunc"):
        load(choice, tmp_path)


def test_without_openvino_a_message_names_the_extra(model, monkeypatch):
    monkeypatch.setattr(openvino_library.importlib.util, "find_spec", lambda name: None)
    assert exact_engines() == ["tensorflow"]
    with pytest.raises(UserError, match=r"pip install 'reviewbeam\[openvino\]'"):
        load("openvino", model)


def test_xla(model):
    ids, mask = batch(7, 30)
    expected = load("tensorflow", model).probabilities(ids, mask)
    found = load("tensorflow", model, xla=True).probabilities(ids, mask)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(UserError, match="inference.xla is for the engine tensorflow"):
        load("openvino", model, xla=True)


_REPORTS = """
import json, socket, sys
calls = []
def refuse(*arguments, **options):
    calls.append("network")
    raise OSError("no network here")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from reviewbeam.components.inference.openvino_library import import_openvino
import_openvino()
from reviewbeam.components.inference.openvino_engine import OpenVinoEngine
OpenVinoEngine(sys.argv[1], threads=1)
nncf = import_openvino("nncf")
import nncf.telemetry.wrapper
reporters = {"openvino_telemetry", "openvino_telemetry.main"}
loaded = [name for name in reporters if sys.modules.get(name)]
print(json.dumps([calls, loaded, type(nncf.telemetry.wrapper.telemetry).__name__]))
"""


@needs_openvino
def test_nobody_is_told_that_openvino_was_imported(model, tmp_path):
    environment = os.environ | {"HOME": str(tmp_path)}  # where no file says no
    environment.pop("CI", None)
    result = subprocess.run(
        [sys.executable, "-c", _REPORTS, str(model / "saved_model")],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(result.stdout.splitlines()[-1]) == [[], [], "MagicMock"]
    assert not (tmp_path / "intel").exists()  # where it keeps whom it has seen


_DEVICES = """
import json, sys
from pathlib import Path
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
from reviewbeam.components.inference.tensorflow_engine import TensorFlowEngine
import numpy as np
engine = TensorFlowEngine(sys.argv[1], threads=1, device="/CPU:1")
ids = np.array([[0, 5, 2]], np.int32)
values = engine.probabilities(ids, np.ones_like(ids))
devices = {v.device for v in engine._signature.graph.variables}
print(json.dumps([[d[-5:] for d in devices], values.tolist()]))
"""


def test_a_model_is_placed_on_its_device(model):
    result = subprocess.run(
        [sys.executable, "-c", _DEVICES, str(model / "saved_model")],
        capture_output=True,
        text=True,
        check=True,
    )
    devices, values = json.loads(result.stdout.splitlines()[-1])
    assert devices == ["CPU:1"]
    ids = np.array([[0, 5, 2]], np.int32)
    expected = load("tensorflow", model).probabilities(ids, np.ones_like(ids))
    np.testing.assert_allclose(values, expected, atol=1e-6)


@needs_openvino
def test_a_file_that_openvino_cannot_read(tmp_path):
    from reviewbeam.components.inference.openvino_engine import OpenVinoEngine

    (tmp_path / "model.xml").write_text("<net/>")
    with pytest.raises(UserError, match="can't open .*model.xml.*inference.engine"):
        OpenVinoEngine(str(tmp_path / "model.xml"), threads=1)


@needs_openvino
def test_an_operation_that_openvino_does_not_have(tmp_path):
    import tensorflow as tf

    save_model(tmp_path, lambda ids: tf.math.lgamma(tf.cast(ids, tf.float32))[:, :1])
    load("tensorflow", tmp_path)
    with pytest.raises(UserError, match="Lgamma.*inference.engine: tensorflow"):
        load("openvino", tmp_path)


SIGNALS_AFTER_MODELS = """
import gc, os, signal, sys
from reviewbeam.components.inference.openvino_engine import OpenVinoEngine
engines = [OpenVinoEngine(sys.argv[1], threads=1) for _ in range(3)]
for place in (0, 1, 0):  # not in the order of their making
    del engines[place % len(engines)]
    gc.collect()
came = []
signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
for _ in range(3):
    os.kill(os.getpid(), signal.SIGTERM)
print(len(came))
"""


def test_signals_are_handled_when_models_are_gone(model):
    """On a processor with AMX, OpenVINO leaves a stack for them that it has freed."""
    pytest.importorskip("openvino")
    path = model / "saved_model" if (model / "saved_model").is_dir() else model
    result = subprocess.run(
        [sys.executable, "-c", SIGNALS_AFTER_MODELS, str(path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (result.returncode, result.stdout.split()[-1:]) == (0, ["3"]), result.stderr
