import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.inference.safe_saved_model import check_saved_model

CLASSES = 3
_IDS = tf.TensorSpec([None, None], tf.int32, "token_ids")
_MASK = tf.TensorSpec([None, None], tf.int32, "padding_mask")


def save(path, poison=None, *, dtype=tf.int32, output="probabilities", more=None):
    """Saves a model; `poison` is called in its function with the token ids."""

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.scale = tf.Variable(np.ones(CLASSES, np.float32))

        @tf.function(
            input_signature=[tf.TensorSpec([None, None], dtype, "token_ids"), _MASK]
        )
        def serve(self, token_ids, padding_mask):
            if poison is not None:
                poison(token_ids)
            mask = tf.cast(padding_mask, tf.float32)[:, :, None]
            return {output: tf.nn.softmax(tf.reduce_mean(mask, 1) * self.scale)}

    module = Module()
    signatures = {"serving_default": module.serve} | (more(module) if more else {})
    tf.saved_model.save(module, str(path), signatures=signatures)
    return path


def change_program(source, target, change):
    """Copies a SavedModel with its only graph changed, as an attacker would."""
    shutil.copytree(source, target)
    path = target / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    change(saved.meta_graphs[0])
    path.write_bytes(saved.SerializeToString())
    return target


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return save(tmp_path_factory.mktemp("sound") / "saved_model")


def test_what_train_writes_is_sound(sound, tiny_model):
    check_saved_model(sound, CLASSES)
    directory, classes = tiny_model
    check_saved_model(directory, classes)


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    """A SavedModel with the operations of a transformer, and its classes."""
    path = tmp_path_factory.mktemp("tiny") / "saved_model"

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.table = tf.Variable(tf.random.normal([500, 8]))
            self.head = tf.Variable(tf.random.normal([8, 4]))

        @tf.function(input_signature=[_IDS, _MASK])
        def serve(self, token_ids, padding_mask):
            hidden = tf.gather(self.table, token_ids)
            scores = tf.einsum("bld,bmd->blm", hidden, hidden)
            scores -= 1e9 * (1 - tf.cast(padding_mask, tf.float32))[:, None, :]
            hidden = tf.nn.gelu(tf.nn.softmax(scores) @ hidden)
            mean, variance = tf.nn.moments(hidden, -1, keepdims=True)
            hidden = (hidden - mean) * tf.math.rsqrt(variance + 1e-5)
            return {"probabilities": tf.nn.softmax(hidden[:, 0] @ self.head)}

    module = Module()
    tf.saved_model.save(module, str(path), {"serving_default": module.serve})
    return path, 4


def _python(token_ids):
    tf.numpy_function(lambda ids: os.abort(), [token_ids], tf.int32)


def _eager_python(token_ids):
    tf.py_function(lambda ids: os.abort(), [token_ids], tf.int32)


def _stateless_python(token_ids):
    tf.numpy_function(lambda ids: ids, [token_ids], tf.int32, stateful=False)


def _prints(token_ids):
    tf.print(token_ids, output_stream="file:///tmp/texts")


def _restores(token_ids):
    tf.raw_ops.RestoreV2(
        prefix="/etc/x", tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.int32]
    )


def _saves(token_ids):
    tf.raw_ops.SaveV2(
        prefix="/tmp/x",
        tensor_names=["a"],
        shape_and_slices=[""],
        tensors=[token_ids],
    )


def _inner(token_ids):
    inner = tf.function(lambda: tf.io.read_file("/etc/passwd"))
    inner()


def _branch(token_ids):
    tf.cond(
        tf.size(token_ids) > 5,
        lambda: tf.io.read_file("/etc/passwd"),
        lambda: tf.constant(""),
    )


@pytest.mark.parametrize(
    ("poison", "op"),
    [
        (_python, "PyFunc"),
        (_eager_python, "EagerPyFunc"),
        (_stateless_python, "PyFuncStateless"),
        (lambda _: tf.io.read_file("/etc/passwd"), "ReadFile"),
        (lambda _: tf.io.write_file("/tmp/x", "x"), "WriteFile"),
        (lambda _: tf.io.matching_files("/home/*"), "MatchingFiles"),
        (_prints, "PrintV2"),
        (_inner, "ReadFile"),
        (_branch, "ReadFile"),
        (lambda _: tf.data.TFRecordDataset("/etc/x").reduce(0, lambda n, _: n), "Data"),
    ],
)
def test_what_runs_code_or_touches_files_is_refused(tmp_path, poison, op):
    path = save(tmp_path / "saved_model", poison)
    with pytest.raises(UserError, match=f"was not opened: it holds .*'.*{op}.*'"):
        check_saved_model(path, CLASSES)


@pytest.mark.parametrize("poison", [_restores, _saves])
def test_a_checkpoint_is_only_touched_by_the_saver(tmp_path, poison):
    path = save(tmp_path / "saved_model", poison)
    with pytest.raises(UserError, match="'StatefulPartitionedCall' reads or writes"):
        check_saved_model(path, CLASSES)


def _serve_the_saver(graph):
    output = graph.signature_def["serving_default"].outputs["probabilities"]
    output.name = graph.saver_def.save_tensor_name


def _initialise_by_the_saver(graph):
    output = graph.signature_def["__saved_model_init_op"].outputs
    output["__saved_model_init_op"].name = graph.saver_def.restore_op_name


def _wait_for_the_saver(graph):
    node = next(n for n in graph.graph_def.node if n.op == "NoOp")
    node.input.append(f"^{graph.saver_def.restore_op_name}")


def _load_the_saver(graph):
    name = next(
        f.signature.name
        for f in graph.graph_def.library.function
        if "traced_save" in f.signature.name
    )
    graph.object_graph_def.concrete_functions[name].SetInParent()


def _save_by_another_node(graph):
    node = graph.graph_def.node.add(name="more", op="SaveV2")
    node.input.append("saver_filename")


@pytest.mark.parametrize(
    "change",
    [
        _serve_the_saver,
        _initialise_by_the_saver,
        _wait_for_the_saver,
        _load_the_saver,
        _save_by_another_node,
    ],
)
def test_nothing_that_is_loaded_leads_to_the_saver(sound, tmp_path, change):
    path = change_program(sound, tmp_path / "saved_model", change)
    with pytest.raises(UserError, match="reads or writes files"):
        check_saved_model(path, CLASSES)


def _function(graph, part):
    library = graph.graph_def.library.function
    return next(f for f in library if part in f.signature.name)


def _name_the_saver_as_an_operation(graph):
    function = graph.graph_def.library.function.add()
    function.CopyFrom(_function(graph, "traced_save"))
    function.signature.name = "Abs"
    _function(graph, "serve").node_def.add(name="more", op="Abs")


def _name_a_function_as_an_operation_of_the_saver(graph):
    graph.graph_def.library.function.add().signature.name = "SaveV2"


def _name_two_functions_alike(graph):
    function = graph.graph_def.library.function.add()
    function.CopyFrom(_function(graph, "traced_save"))
    function.signature.name = _function(graph, "serve").signature.name


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_name_the_saver_as_an_operation, "with the operation's name 'Abs'"),
        (
            _name_a_function_as_an_operation_of_the_saver,
            "with the operation's name 'SaveV2'",
        ),
        (_name_two_functions_alike, "two functions of the name '.*serve"),
    ],
)
def test_names_that_mean_two_things_are_refused(sound, tmp_path, change, reason):
    path = change_program(sound, tmp_path / "saved_model", change)
    with pytest.raises(UserError, match=f"was not opened: it holds .*{reason}"):
        check_saved_model(path, CLASSES)


def _resource(graph):
    graph.object_graph_def.nodes.add().resource.device = "cpu"


def _asset(graph):
    graph.object_graph_def.nodes.add().asset.asset_file_def_index = 0


def _keras_object(graph):
    graph.object_graph_def.nodes.add().user_object.identifier = "_tf_keras_model"


def _registered(graph):
    graph.object_graph_def.nodes[0].registered_name = "package.Class"


def _restored(graph):
    graph.object_graph_def.nodes[0].saveable_objects["x"].save_function = 1


def _other_file(graph):
    graph.asset_file_def.add(filename="../../etc/passwd")


def _other_signature(graph):
    graph.signature_def["more"].method_name = "x"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_resource, "an object of the kind 'resource'"),
        (_asset, "an object of the kind 'asset'"),
        (_keras_object, "an object of the kind '_tf_keras_model'"),
        (_registered, "an object that is restored by a function"),
        (_restored, "an object that is restored by a function"),
        (_other_file, "it holds other files"),
        (_other_signature, "it has the signatures .*'more'"),
    ],
)
def test_objects_of_other_kinds_are_refused(sound, tmp_path, change, reason):
    path = change_program(sound, tmp_path / "saved_model", change)
    with pytest.raises(UserError, match=reason):
        check_saved_model(path, CLASSES)


def test_labels_that_do_not_fit_the_head_are_told(sound):
    with pytest.raises(UserError, match="gives 3 probabilities .* names 2 labels"):
        check_saved_model(sound, 2)


@pytest.mark.parametrize("changed", [{"dtype": tf.int64}, {"output": "scores"}])
def test_another_signature_is_told(tmp_path, changed):
    path = save(tmp_path / "saved_model", **changed)
    with pytest.raises(UserError, match="its signature 'serving_default' has "):
        check_saved_model(path, CLASSES)


def test_a_program_without_objects_is_refused(sound, tmp_path):
    def change(graph):
        graph.ClearField("object_graph_def")

    path = change_program(sound, tmp_path / "saved_model", change)
    with pytest.raises(UserError, match="it is no SavedModel that TensorFlow 2 wrote"):
        check_saved_model(path, CLASSES)


@pytest.mark.parametrize("data", [b"", b"\x80\x04K\x01.", b"\xff" * 100])
def test_a_damaged_program_is_refused(tmp_path, data):
    (tmp_path / "saved_model.pb").write_bytes(data)
    with pytest.raises(UserError, match="it is no SavedModel"):
        check_saved_model(tmp_path, CLASSES)


def test_a_program_that_was_cut_short_is_refused(sound, tmp_path):
    path = shutil.copytree(sound, tmp_path / "saved_model") / "saved_model.pb"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UserError, match="was not opened"):
        check_saved_model(path.parent, CLASSES)
    path.unlink()
    with pytest.raises(UserError, match="There is no"):
        check_saved_model(path.parent, CLASSES)
