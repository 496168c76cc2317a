"""`quantize` on a tiny model: what it writes, and when it is refused."""

import json
import shutil

import numpy as np
import pytest

from reviewbeam.components.common.artifacts import describe_files
from reviewbeam.components.common.inference_config import InferenceConfig
from reviewbeam.components.common.model_directory import open_model
from reviewbeam.components.inference import openvino_library
from reviewbeam.components.inference.quantized import FOLDER

needs_nncf = pytest.mark.skipif(
    openvino_library.importlib.util.find_spec("nncf") is None, reason="NNCF is an extra"
)


@pytest.fixture(scope="module")
def twin(model, dataset, tmp_path_factory):
    """A copy of the model, quantized; and what its core was before."""
    from reviewbeam.pipelines.cli import main

    path = shutil.copytree(model, tmp_path_factory.mktemp("twin") / "model")
    before = (path / "manifest.json").read_bytes()
    arguments = ["quantize", "--model", str(path), "--dataset", str(dataset)]
    assert main(arguments) == 0
    return path, before


@pytest.fixture
def copy(twin, tmp_path):
    return shutil.copytree(twin[0], tmp_path / "model")


def _manifest(path):
    return json.loads((path / FOLDER / "manifest.json").read_text())


def _change(path, **changes):
    manifest = _manifest(path) | changes
    (path / FOLDER / "manifest.json").write_text(json.dumps(manifest))


@needs_nncf
def test_it_lies_beside_a_core_that_is_as_it_was(twin, model, dataset, command):
    path, before = twin
    assert (path / "manifest.json").read_bytes() == before
    assert open_model(str(path)).core_fingerprint == _manifest(path)["model"]
    told = _manifest(path)
    assert set(told["files"]) == {"model.xml", "model.bin"}
    assert set(told["versions"]) == {"openvino", "nncf"}
    shown = told["agreement"]
    assert 0 <= shown["all"]["agreement"] <= 1
    rows = sum(part["rows"] for part in shown["languages"].values())
    assert rows == shown["all"]["rows"]
    validation = json.loads((dataset / "manifest.json").read_text())["splits"]
    examples = validation["validation"]["examples"]
    assert rows == examples

    stamp = (path / FOLDER / "model.bin").stat().st_mtime_ns
    code, out, _ = command("quantize", "--model", path, "--dataset", dataset)
    assert code == 0 and "all rows" in out
    assert (path / FOLDER / "model.bin").stat().st_mtime_ns == stamp


@needs_nncf
def test_weights_are_int8_and_activations_become_it_in_groups(twin):
    import openvino

    graph = openvino.Core().read_model(twin[0] / FOLDER / "model.xml")
    kinds = [
        _weights(node)
        for node in graph.get_ordered_ops()
        if node.get_type_name() == "MatMul" and _weights(node)
    ]
    assert kinds[-1] == "f32"  # the head
    assert set(kinds[:-1]) == {"u8"}

    # What the engine sets besides must not undo it.
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(graph, "CPU", exact)
    size = compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE")
    assert size == _manifest(twin[0])["group_size"] == 128


def _weights(product):
    """Returns the element type of the constant below a product's second input."""
    node = product.input_value(1).get_node()
    while node.get_type_name() in ("Convert", "Multiply", "Subtract", "Reshape"):
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant":
        return None
    return node.get_element_type().get_type_name()


@needs_nncf
def test_a_row_hardly_depends_on_its_batch(twin):
    from reviewbeam.components.inference.engines import load_engine

    opened = open_model(str(twin[0]))
    given = {"core_fingerprint": opened.core_fingerprint, "classes": 3, "threads": 1}
    engine = load_engine("openvino-int8", twin[0], **given)
    random = np.random.default_rng(0)
    ids = random.integers(4, 50, (6, 24)).astype(np.int32)
    ids[0, 9:] = 1
    mask = np.ones_like(ids)
    mask[0, 9:] = 0
    alone = engine.probabilities(ids[:1, :9], mask[:1, :9])
    padded = engine.probabilities(ids[:1], mask[:1])
    # The last bits of attention differ with the padding, and what is rounded by them.
    np.testing.assert_allclose(padded, alone, atol=5e-3)
    np.testing.assert_array_equal(engine.probabilities(ids, mask)[:1], padded)


def _resolve(path, **config):
    from reviewbeam.components.inference.resolve import resolve_inference

    given = {"engine": "openvino-int8", "batch_tokens": 512, "threads": 1} | config
    model = open_model(str(path))
    return resolve_inference(InferenceConfig(**given), model, threads=1)


def _refused(path, message, **config):
    from reviewbeam.components.common.errors import UserError

    with pytest.raises(UserError, match=message):
        _resolve(path, **config)


@needs_nncf
def test_its_files_are_part_of_what_is_resolved(copy, dataset):
    resolved = _resolve(copy, min_agreement=0)
    assert len(resolved.engine_fingerprint) == 64
    assert _resolve(copy, min_agreement=0) == resolved

    from reviewbeam.components.inference.engines import load_engine

    opened = open_model(str(copy))
    given = {"core_fingerprint": opened.core_fingerprint, "classes": 3, "threads": 1}
    engine = load_engine("openvino-int8", copy, **given)
    ids = np.array([[0, 5, 6, 2]], np.int32)
    values = engine.probabilities(ids, np.ones_like(ids))
    exact = load_engine("openvino", copy, **given)
    expected = exact.probabilities(ids, np.ones_like(ids))
    np.testing.assert_allclose(values, expected, atol=0.2)
    from reviewbeam.components.common.errors import UserError

    with pytest.raises(UserError, match="made again since the engine was chosen"):
        load_engine("openvino-int8", copy, engine_fingerprint="other", **given)


@needs_nncf
def test_too_little_agreement_is_refused_by_the_name_of_the_key(copy):
    agreement = {"all": {"rows": 200, "agreement": 0.985}}
    _change(copy, agreement=agreement)
    _refused(copy, r"on 98.50% of 200 rows .* inference.min_agreement asks for 99.00%")
    assert _resolve(copy, min_agreement=0.98).engine == "openvino-int8"
    for wrong in ({}, {"all": {"rows": 1, "agreement": "x"}}, [], None):
        _change(copy, agreement=wrong)
        _refused(copy, "not a manifest that reviewbeam wrote")
    _change(copy, agreement={"all": {"rows": 1, "agreement": float("nan")}})
    _refused(copy, "min_agreement")


@needs_nncf
def test_files_that_are_not_its_own_are_refused(copy):
    _change(copy, model="another")
    _refused(copy, "made from another model")


@needs_nncf
def test_a_changed_file_is_refused(copy):
    path = copy / FOLDER / "model.bin"
    path.write_bytes(path.read_bytes()[:-1])
    _refused(copy, "'model.bin' is not the file that its manifest describes")
    _change(copy, files=describe_files(copy / FOLDER, ["model.bin", "model.xml"]))
    _refused(copy, "a constant lies outside")


@needs_nncf
def test_a_poisoned_graph_is_refused(copy):
    path = copy / FOLDER / "model.xml"
    poison = path.read_text().replace('type="MatMul"', 'type="Custom"', 1)
    path.write_text(poison)
    _change(copy, files=describe_files(copy / FOLDER, ["model.bin", "model.xml"]))
    _refused(copy, "holds 'Custom' of 'opset1'")


def test_without_nncf_a_message_names_the_extra(command, model, dataset, monkeypatch):
    monkeypatch.setattr(openvino_library.importlib.util, "find_spec", lambda name: None)
    code, out, err = command("quantize", "--model", model, "--dataset", dataset)
    assert code == 2 and not out
    assert "pip install 'reviewbeam[openvino]'" in err


@needs_nncf
@pytest.mark.parametrize("engine", ["openvino", "openvino-int8"])
def test_evaluate_runs_on_it(copy, dataset, command, write_config, tmp_path, engine):
    inference = {"engine": engine, "batch_tokens": 512, "threads": 1}
    config = write_config({"inference": inference | {"min_agreement": 0}})
    arguments = ["--model", copy, "--dataset", dataset, "--output", tmp_path / "e"]
    code, _, err = command("evaluate", "--config", config, *arguments)
    assert code == 0, err
    assert (tmp_path / "e" / "metrics.json").is_file()
