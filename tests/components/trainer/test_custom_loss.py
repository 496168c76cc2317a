"""A loss and a pooling of the user's own, from the config to a model's later life."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.model_directory import open_model
from tests.pipelines.launches import Launch, write_yaml

MODULE = """
import keras
from keras import ops


@keras.saving.register_keras_serializable("mine")
class Squared(keras.losses.Loss):
    def call(self, labels, probabilities):
        labels = ops.cast(ops.reshape(labels, [-1]), "int32")
        differences = ops.one_hot(labels, 3) - probabilities
        return ops.sum(ops.square(differences), axis=-1)


@keras.saving.register_keras_serializable("mine")
class Ends(keras.layers.Layer):
    '''The first token's state and the mean of the real ones, side by side.'''

    def call(self, hidden, padding_mask):
        mask = ops.cast(padding_mask, hidden.dtype)[:, :, None]
        mean = ops.sum(hidden * mask, axis=1) / ops.sum(mask, axis=1)
        return ops.concatenate([hidden[:, 0], mean], axis=-1)


class Unregistered(keras.losses.Loss):
    def call(self, labels, probabilities):
        return ops.sum(probabilities, axis=-1)


number = 3
"""
PREPARATION = """
import json, sys
import keras, keras_hub
import numpy as np
token_ids = np.array([[0, 5, 6, 7, 2], [0, 8, 2, 1, 1], [0, 9, 10, 2, 1]], np.int32)
labels = np.array([0, 1, 2])
inputs = {"token_ids": token_ids, "padding_mask": (token_ids != 1).astype(np.int32)}
"""
# What a user runs who has the module: nothing of this project is imported.
WITH_MODULE = (
    PREPARATION
    + """
import users_own
model = keras.models.load_model(sys.argv[1] + "/model.keras")
optimizer = model.optimizer
found = {"loss": type(model.loss).__name__, "steps": [int(optimizer.iterations)]}
slots = optimizer._momentums + optimizer._velocities
found["empty_slots"] = [v.path for v in slots if not np.any(v.numpy())]
found["slots"] = len(slots)
found["probabilities"] = model(inputs).numpy().tolist()
found["loss_of_these"] = float(model.loss(labels, model(inputs)))
model.run_eagerly, model.jit_compile = True, False  # to save its compilation
for _ in range(10):
    model.train_on_batch(inputs, labels)
found["steps"].append(int(optimizer.iterations))
found["loss_afterwards"] = float(model.loss(labels, model(inputs)))  # no dropout
found["reviewbeam"] = [name for name in sys.modules if name.startswith("reviewbeam")]
print(json.dumps(found))
"""
)
# And one who hasn't.
WITHOUT_MODULE = (
    PREPARATION
    + """
import tensorflow as tf
found = {}
for name, path in (("loss", sys.argv[1]), ("pooling", sys.argv[2])):
    serve = tf.saved_model.load(path + "/saved_model").signatures["serving_default"]
    tensors = {key: tf.constant(value) for key, value in inputs.items()}
    found[name + "_served"] = serve(**tensors)["probabilities"].numpy().tolist()
    for compiled in (True, False):
        try:
            model = keras.models.load_model(path + "/model.keras", compile=compiled)
            outcome = model(inputs).numpy().tolist()
        except (TypeError, ValueError) as error:
            outcome = str(error).splitlines()[0]
        found[f"{name}_{compiled}"] = outcome
print(json.dumps(found))
"""
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the user's module."""
    folder = tmp_path_factory.mktemp("users")
    (folder / "users_own.py").write_text(MODULE)
    return folder


def python(*arguments, path=None):
    """Runs Python, with a folder on PYTHONPATH; returns its standard output."""
    before = os.environ.get("PYTHONPATH")
    parts = [str(part) for part in (path, before) if part]
    result = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(parts)},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


class OnPath:
    """Does what PYTHONPATH does."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self):
        sys.path.insert(0, str(self.folder))


@pytest.fixture(scope="module")
def model_of_loss(folder, make_config, dataset):
    """Directory of a model trained by the command line with the user's loss."""
    config = make_config(epochs=1).model_dump(mode="json")
    config["model"] |= {"freeze_layers": 1}
    run = Launch(
        folder,
        *("train", "--dataset", dataset),
        *("--config", write_yaml(folder / "train.yaml", config)),
        *("--set", "loss.name=users_own:Squared", "--output", folder / "loss"),
        before=OnPath(folder),
    )
    assert run.end() == 0, run.err
    return folder / "loss"


@pytest.fixture(scope="module")
def model_of_pooling(folder, make_config, dataset, train_quietly):
    """Directory of a model with the user's pooling."""
    config = make_config(
        model={"pooling": "users_own:Ends", "freeze_layers": 2}, epochs=1
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        train_quietly(config, dataset, folder / "pooling")
    return folder / "pooling"


def steps(model):
    history = json.loads((model / "history.json").read_text())
    return history["epochs"][-1]["steps"]


def test_the_model_says_which_loss_it_was_made_with(model_of_loss):
    config = open_model(str(model_of_loss)).metadata.config
    assert config.loss.name == "users_own:Squared"


@pytest.mark.slow
def test_the_model_says_which_pooling_it_was_made_with(model_of_pooling):
    config = open_model(str(model_of_pooling)).metadata.config
    assert config.model.pooling == "users_own:Ends"


@pytest.mark.slow
def test_who_has_the_module_goes_on_training(folder, model_of_loss):
    found = json.loads(python("-c", WITH_MODULE, model_of_loss, path=folder))
    assert found["loss"] == "Squared"
    assert found["steps"] == [steps(model_of_loss), steps(model_of_loss) + 10]
    # Loading makes the frozen layer trainable: 16 variables with nothing in theirs.
    assert found["slots"] == 2 * (2 * 16 + 2)
    assert len(found["empty_slots"]) == 2 * 16
    differences = np.eye(3) - np.array(found["probabilities"])
    expected = (differences**2).sum(axis=1).mean()
    assert found["loss_of_these"] == pytest.approx(expected, rel=1e-5)
    assert found["loss_afterwards"] < 0.9 * found["loss_of_these"]
    assert found["reviewbeam"] == []


@pytest.mark.slow
def test_who_lacks_the_module_predicts(model_of_loss, model_of_pooling):
    arguments = [str(model_of_loss), str(model_of_pooling)]
    found = json.loads(python("-c", WITHOUT_MODULE, *arguments))
    np.testing.assert_allclose(found["loss_served"], found["loss_False"], atol=1e-5)
    assert "Squared" in found["loss_True"]
    assert "could not be deserialized" in found["pooling_True"]
    assert "could not be deserialized" in found["pooling_False"]
    served = np.array(found["pooling_served"])
    np.testing.assert_allclose(served.sum(axis=1), 1, atol=1e-6)
    assert np.ptp(served, axis=0).max() > 1e-3


def test_the_loss_is_what_is_minimised(model_of_loss):
    """Its sum is at most 2 a row, and the cross-entropy's is not."""
    history = json.loads((model_of_loss / "history.json").read_text())
    (epoch,) = history["epochs"]
    assert 0 < epoch["validation"]["loss"] < 2 / 3
    assert epoch["validation"]["accuracy"] > 0.6


class Marks(OnPath):
    """Puts a module of the same name on the path, which notes that it is imported."""

    def __init__(self, folder):
        super().__init__(folder)
        self.mark = folder / "imported"
        (folder / "users_own.py").write_text(
            f"open({str(self.mark)!r}, 'w').close()\nraise ImportError('users_own')\n"
        )


@pytest.mark.parametrize(
    "kind", ["loss", pytest.param("pooling", marks=pytest.mark.slow)]
)
def test_predict_and_score_import_nothing_of_the_user(kind, request, tmp_path):
    model = request.getfixturevalue(f"model_of_{kind}")
    marks = Marks(tmp_path)
    reviews = tmp_path / "reviews.jsonl"
    reviews.write_text('{"text": "good quality", "id": "1"}\n' * 1)
    config = write_yaml(
        tmp_path / "score.yaml",
        {"input": [str(reviews)], "columns": {"text": "text", "id": "id"}},
    )
    for command in (
        ["predict", "--model", model, "good quality"],
        ["score", "--model", model, "--config", config, "--output", tmp_path / "out"],
    ):
        run = Launch(tmp_path, *command, before=marks)
        assert run.end() == 0, run.err
    assert not marks.mark.exists()
    assert list((tmp_path / "out").rglob("*.parquet"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("users_none:Squared", "there is no module 'users_none'. Install it, or put"),
        ("users_own:Squares", r"has no 'Squares' \(did you mean 'Squared'\?\)"),
        ("users_own:Unregistered", "Write @keras.saving.register_keras_serializable"),
        ("users_own:Ends", "neither a function nor a keras.*Loss"),
        ("users_own:number", "neither a function nor a keras.*Loss"),
    ],
)
def test_what_cannot_be_a_loss_is_refused(folder, monkeypatch, name, message):
    from reviewbeam.components.trainer.custom import load_loss

    monkeypatch.syspath_prepend(folder)
    with pytest.raises(UserError, match=message) as error:
        load_loss(name)
    assert str(error.value).startswith(f"loss.name is {name!r}")
