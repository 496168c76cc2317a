"""What people try elsewhere, and here, in pipelines/README.md: each cell is true.

What fails with transformers 4.57.6 was run by hand; the environment has 5.
"""

import subprocess
import sys

import numpy as np
import pytest

MODULE = '''
import keras


@keras.saving.register_keras_serializable("shop")
class FirstAndMean(keras.layers.Layer):
    """The first token's vector beside the mean."""

    def call(self, hidden, padding_mask):
        mask = keras.ops.cast(padding_mask, hidden.dtype)[:, :, None]
        mean = keras.ops.sum(hidden * mask, 1) / keras.ops.sum(mask, 1)
        return keras.ops.concatenate([hidden[:, 0], mean], -1)


@keras.saving.register_keras_serializable("shop")
def brier(labels, probabilities):
    wanted = keras.ops.one_hot(labels, probabilities.shape[-1])
    return keras.ops.sum(keras.ops.square(wanted - probabilities), -1)
'''
TOKEN_IDS = np.array([[0, 7, 8, 9, 2], [0, 300, 2, 1, 1]], np.int32)
INPUTS = {"token_ids": TOKEN_IDS, "padding_mask": (TOKEN_IDS != 1).astype(np.int32)}
BINARY = {"type": "binary", "names": ("bad", "good")}
STARS = {"type": "multiclass", "names": ("1", "2", "3")}


@pytest.fixture(scope="module")
def ways(tiny_encoder, tmp_path_factory):
    """Returns a function: labels, model config, loss -> (classifier, directory)."""
    from reviewbeam.components.trainer.export import export_model
    from tests.components.trainer.classifiers import make_classifier, make_metadata

    def make(labels, model=None, loss=None):
        directory = tmp_path_factory.mktemp("model")
        metadata = make_metadata(tiny_encoder, labels, model)
        classifier = make_classifier(tiny_encoder, metadata)
        if loss is not None:
            classifier.compile(loss=loss)
        export_model(classifier, directory)
        return classifier, directory

    return make


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """The folder of a user's own module."""
    (tmp_path / "shop_objects.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def elsewhere(script, folder, *arguments):
    """Runs a script where reviewbeam is not; returns what it printed, or its fault."""
    done = subprocess.run(
        [sys.executable, "-c", f"import keras, keras_hub\n{script}", *arguments],
        env={"PYTHONPATH": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3", "PATH": ""},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return done.stderr if done.returncode else done.stdout


def test_binary_with_a_sigmoid(ways):
    with pytest.raises(ImportError, match="cannot import name 'TFXLMRobertaModel'"):
        from transformers import TFXLMRobertaModel  # noqa: F401
    classifier, _ = ways(BINARY)
    negative, positive = classifier(INPUTS).numpy().T
    logits = classifier.get_layer("logits")
    assert logits.units == 1
    np.testing.assert_allclose(negative + positive, 1, atol=1e-6)


def test_several_classes_with_a_softmax(ways):
    classifier, _ = ways(STARS)
    assert classifier.get_layer("logits").units == 3
    np.testing.assert_allclose(classifier(INPUTS).numpy().sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "max", "cls", "shop_objects:FirstAndMean"])
def test_a_pooling_of_ones_own(ways, shop, pooling):
    import keras
    import tensorflow as tf

    hidden = keras.Input((None, 8))
    with pytest.raises(ValueError, match="A KerasTensor cannot be used as input to"):
        tf.reduce_mean(hidden, axis=1)
    lambdas = keras.Model(hidden, keras.layers.Lambda(lambda h: h[:, 0])(hidden))
    lambdas.save(shop / "lambda.keras")
    with pytest.raises(ValueError, match="Requested the deserialization of a `Lambda"):
        keras.models.load_model(shop / "lambda.keras")

    classifier, directory = ways(STARS, {"pooling": pooling})
    loaded = keras.models.load_model(directory / "model.keras")
    np.testing.assert_array_equal(loaded(INPUTS), classifier(INPUTS))


def test_save_and_load(ways, tmp_path):
    import keras

    classifier, directory = ways(BINARY)
    with pytest.raises(ValueError, match="Invalid filepath extension for saving"):
        classifier.save(tmp_path / "model")
    loaded = keras.models.load_model(directory / "model.keras")
    np.testing.assert_array_equal(loaded(INPUTS), classifier(INPUTS))


def test_a_loss_of_ones_own(ways, shop):
    from reviewbeam.components.trainer.custom import load_compiled_loss

    loss = load_compiled_loss("shop_objects:brier")
    _, directory = ways(STARS, loss=loss)
    path = str(directory / "model.keras")
    script = f"""
load = keras.models.load_model
print(load({path!r}, compile=False).loss)
try:
    load({path!r})
except TypeError as error:
    print(str(error)[:44])
import shop_objects
print(load({path!r}).loss is shop_objects.brier)
"""
    without, failed, loaded = elsewhere(script, shop).splitlines()
    assert (without, loaded) == ("None", "True")
    assert failed == "Could not locate function 'shop>brier'. Make"


def test_a_saved_model_loaded_to_predict(ways):
    import keras
    import tensorflow as tf

    classifier, directory = ways(STARS)
    path = str(directory / "saved_model")
    with pytest.raises(ValueError, match="File format not supported"):
        keras.models.load_model(path)
    loaded = tf.saved_model.load(path)
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        loaded.predict(INPUTS)
    tensors = {name: tf.constant(value) for name, value in INPUTS.items()}
    served = loaded.signatures["serving_default"](**tensors)["probabilities"]
    layer = keras.layers.TFSMLayer(path)(INPUTS)["probabilities"]
    np.testing.assert_allclose(served, classifier(INPUTS), atol=1e-6)
    np.testing.assert_allclose(layer, classifier(INPUTS), atol=1e-6)
