import io
import json
import pickle
import zipfile

import h5py
import keras
import numpy as np
import pytest

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.trainer.safe_keras import load_keras_model
from tests.components.trainer.classifiers import make_classifier, make_metadata

LABELS = {"type": "multiclass", "names": ("a", "b", "c")}
MEMBERS = ("metadata.json", "config.json", "model.weights.h5")
INPUTS = {
    "token_ids": np.array([[0, 7, 8, 2]], np.int32),
    "padding_mask": np.ones((1, 4), np.int32),
}


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("the pickle was opened",))


@keras.saving.register_keras_serializable("tests")
class Own(keras.layers.Layer):
    """A user's own layer."""

    def call(self, inputs):
        return inputs * 2


@pytest.fixture(scope="module")
def classifier(tiny_encoder):
    return make_classifier(tiny_encoder, make_metadata(tiny_encoder, LABELS))


@pytest.fixture(scope="module")
def members(classifier, tmp_path_factory):
    """What Keras writes into the archive: name -> bytes."""
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    classifier.compile(optimizer=keras.optimizers.AdamW(), loss="mse")
    classifier.save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def with_config(path, members, change):
    config = json.loads(members["config.json"])
    change(config)
    return write(path, members | {"config.json": json.dumps(config).encode()})


def with_weights(path, members, change):
    written = io.BytesIO(members["model.weights.h5"])
    with h5py.File(written, "r+") as weights:
        change(weights)
    return write(path, members | {"model.weights.h5": written.getvalue()})


def logits_config(config):
    (found,) = [
        layer for layer in config["config"]["layers"] if layer["name"] == "logits"
    ]
    return found


@pytest.mark.parametrize(
    ("labels", "model"),
    [
        (LABELS, {"pooling": "mean"}),
        (LABELS, {"pooling": "max"}),
        (LABELS, {"pooling": "cls", "hidden_units": 8}),
        ({"type": "binary", "names": ("a", "b")}, {}),
        ({"type": "multilabel", "names": ("a", "b")}, {}),
        ({"type": "ordinal", "names": ("a", "b", "c")}, {}),
        ({"type": "ordinal", "names": ("a", "b")}, {"ordinal_head": "softmax"}),
    ],
)
def test_opens_what_train_writes(tiny_encoder, tmp_path, labels, model):
    made = make_classifier(tiny_encoder, make_metadata(tiny_encoder, labels, model))
    made.save(tmp_path / "model.keras")
    loaded = load_keras_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(INPUTS), made(INPUTS))


def test_gives_the_optimizer_only_if_asked(members, tmp_path):
    assert set(members) == set(MEMBERS)
    path = write(tmp_path / "model.keras", members)
    assert not load_keras_model(path).compiled
    loaded = load_keras_model(path, compile=True)
    assert type(loaded.optimizer) is keras.optimizers.AdamW


def test_opens_the_users_own_layer_if_it_is_given(tmp_path):
    inputs = keras.Input((2,))
    path = tmp_path / "model.keras"
    keras.Model(inputs, Own(name="own")(inputs)).save(path)
    with pytest.raises(UserError, match=r"names '.*tests>Own', which is not among"):
        load_keras_model(path)
    model = load_keras_model(path, custom_objects={"tests>Own": Own})
    np.testing.assert_array_equal(model(np.ones((1, 2))), [[2, 2]])


@keras.saving.register_keras_serializable("tests")
def own_loss(labels, probabilities):
    return keras.ops.mean(probabilities)


def test_needs_the_users_own_loss_only_to_train_on(tmp_path):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    model.compile(loss=own_loss)
    path = tmp_path / "model.keras"
    model.save(path)
    assert not load_keras_model(path).compiled
    with pytest.raises(UserError, match=r"names '.*tests>own_loss', which is not"):
        load_keras_model(path, compile=True)
    given = {"tests>own_loss": own_loss}
    loaded = load_keras_model(path, custom_objects=given, compile=True)
    assert loaded.loss is own_loss


def test_a_lambda_is_refused_and_not_run(tmp_path, monkeypatch):
    inputs = keras.Input((2,))
    outputs = keras.layers.Lambda(lambda x: pytest.fail("it ran") if 0 else x)(inputs)
    path = tmp_path / "model.keras"
    keras.Model(inputs, outputs).save(path)
    monkeypatch.setattr("keras.models.load_model", lambda *_, **__: pytest.fail())
    with pytest.raises(UserError, match="names 'keras.layers.Lambda', which is"):
        load_keras_model(path)


@pytest.mark.parametrize(
    "poison",
    [
        {"class_name": "__lambda__", "config": {"value": "x"}},
        {"class_name": "function", "module": "builtins", "config": "eval"},
        {"class_name": "function", "module": "keras.utils", "config": "get_file"},
        {"module": "os", "class_name": "system", "config": {}},
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {}},
        {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {}},
        {"module": "keras.layers", "class_name": "StringLookup", "config": {}},
        {"module": "keras.src.layers.core.lambda_layer", "class_name": "Lambda"},
        {"module": "keras_hub.src.models.preset", "class_name": "X", "config": {}},
        {"module": "keras.src.ops.core", "class_name": "Map", "config": {}},
        {"module": "keras.layers", "class_name": "Dense", "registered_name": "a>B"},
        {"module": None, "class_name": "Dense", "config": {}},
        {"class_name": ["Dense"], "config": {}},
        "/etc/passwd",
        "~/secret",
        "https://example.org/weights",
        "assets/../../x",
    ],
    ids=str,
)
def test_what_could_run_code_or_read_files_is_refused(members, tmp_path, poison):
    def change(config):
        logits_config(config)["config"]["kernel_regularizer"] = poison

    path = with_config(tmp_path / "model.keras", members, change)
    with pytest.raises(UserError, match="was not opened: its config.json"):
        load_keras_model(path)


@pytest.mark.parametrize("text", [b"{", b"[" * 100_000, b"\xff", b"{} {}"])
def test_a_config_that_is_none_is_refused(members, tmp_path, text):
    path = write(tmp_path / "model.keras", members | {"config.json": text})
    with pytest.raises(UserError, match="its config.json is not what Keras writes"):
        load_keras_model(path)


@pytest.mark.parametrize("config", [b"[]", b"1", b'{"a": 1}'])
def test_a_config_of_something_else_is_refused(members, tmp_path, config):
    path = write(tmp_path / "model.keras", members | {"config.json": config})
    with pytest.raises(UserError, match="can't open"):
        load_keras_model(path)


def test_a_pickle_in_place_of_the_weights_is_refused(members, tmp_path):
    poison = {"model.weights.h5": pickle.dumps(Bomb())}
    path = write(tmp_path / "model.keras", members | poison)
    with pytest.raises(UserError, match="its weights are not HDF5"):
        load_keras_model(path)


def test_a_pickle_in_place_of_the_file_is_refused(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="it is no archive that Keras wrote"):
        load_keras_model(path)


@pytest.mark.parametrize(
    ("extra", "found"),
    [
        ({"assets/vocabulary.txt": b"x"}, "'assets/vocabulary.txt', 'config.json'"),
        ({"../evil.py": b"x"}, "'../evil.py', 'config.json'"),
        ({"model.weights.npz": b"x"}, "'model.weights.npz'"),
    ],
)
def test_other_members_are_refused(members, tmp_path, extra, found):
    path = write(tmp_path / "model.keras", members | extra)
    with pytest.raises(UserError, match=f"it holds {found}|it holds .*{found}"):
        load_keras_model(path)


def test_a_member_that_is_there_twice_is_refused(members, tmp_path):
    path = write(tmp_path / "model.keras", members)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning):
        archive.writestr("config.json", b"{}")
    with pytest.raises(UserError, match="it holds 'config.json', 'config.json'"):
        load_keras_model(path)


def test_what_grows_when_unpacked_is_refused(members, tmp_path):
    path = write(tmp_path / "model.keras", members, zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="is compressed"):
        load_keras_model(path)


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
def test_a_file_that_was_cut_short_is_refused(members, tmp_path, share):
    path = write(tmp_path / "model.keras", members)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match="or was cut short"):
        load_keras_model(path)
    path.unlink()
    with pytest.raises(UserError, match="There is no"):
        load_keras_model(path)


def test_weights_that_were_cut_short_are_refused(members, tmp_path):
    short = members["model.weights.h5"][:-5000]
    path = write(tmp_path / "model.keras", members | {"model.weights.h5": short})
    with pytest.raises(UserError, match="weights are damaged or were cut short"):
        load_keras_model(path)


def _external_link(weights):
    del weights["layers"]
    weights["layers"] = h5py.ExternalLink("/etc/other.h5", "/")


def _soft_link(weights):
    weights["more"] = h5py.SoftLink("/layers")


def _second_name(weights):
    weights["layers/dense/again"] = weights["layers"]


def _external_storage(weights):
    weights.create_dataset("x", (4,), "f4", external=[("/etc/passwd", 0, 16)])


def _virtual(weights):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    weights.create_virtual_dataset("x", layout)


def _shape_bomb(weights):
    weights.create_dataset("x", (1 << 40,), "f4", chunks=True, compression="gzip")


def _objects(weights):
    weights.create_dataset("x", data=["text"], dtype=h5py.string_dtype())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_external_link, "lead elsewhere, by ExternalLink 'layers'"),
        (_soft_link, "lead elsewhere, by SoftLink 'more'"),
        (_second_name, "have two names for 'layers'"),
        (_external_storage, "lead to other files, by 'x'"),
        (_virtual, "lead to other files, by 'x'"),
        (_shape_bomb, "announce 4398046.* bytes of numbers and hold"),
        (_objects, "hold object in 'x'; numbers were expected"),
    ],
)
def test_weights_are_numbers_in_one_file(members, tmp_path, change, reason):
    path = with_weights(tmp_path / "model.keras", members, change)
    with pytest.raises(UserError, match=f"its weights {reason}"):
        load_keras_model(path)


def test_weights_that_are_missing_are_not_drawn_at_random(members, tmp_path):
    def change(weights):
        for name in list(weights):
            del weights[name]

    path = with_weights(tmp_path / "model.keras", members, change)
    with pytest.raises(UserError, match=f"Keras {keras.__version__} can't open"):
        load_keras_model(path)


def test_weights_of_another_model_are_told(members, tmp_path):
    def change(config):
        logits_config(config)["config"]["units"] = 5

    path = with_config(tmp_path / "model.keras", members, change)
    with pytest.raises(UserError, match=f"Keras {keras.__version__} can't open"):
        load_keras_model(path)
