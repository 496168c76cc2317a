import keras
import numpy as np
import pytest

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.common.train_config import TrainConfig
from reviewbeam.components.trainer.custom import (
    custom_objects,
    load_compiled_loss,
    load_loss,
    load_pooling,
    registered_name,
)
from reviewbeam.components.trainer.losses import keras_loss
from reviewbeam.components.trainer.model import build_classifier, load_backbone
from reviewbeam.components.trainer.safe_keras import load_keras_model
from tests.testdata.make_tiny_encoder import make_tiny_encoder

register = keras.saving.register_keras_serializable("tests-custom")
LABELS = LabelRules(type="multiclass", names=("negative", "neutral", "positive"))


@register
class Distance(keras.losses.Loss):
    def call(self, labels, found):
        own = keras.ops.take_along_axis(found, keras.ops.cast(labels, "int32"), axis=1)
        return (1 - own) ** 2


@register
def distance(labels, found):
    return Distance().call(labels, found)


an_instance = Distance(name="an_instance")


@register
class LastToken(keras.layers.Layer):
    def call(self, hidden, padding_mask):
        last = keras.ops.sum(padding_mask, axis=1) - 1
        found = keras.ops.take_along_axis(hidden, last[:, None, None], axis=1)
        return found[:, 0]


@register
def first_token(hidden, padding_mask):
    return hidden[:, 0]


class Unregistered(keras.losses.Loss):
    pass


@register
class NeedsArguments(keras.losses.Loss):
    def __init__(self, power):
        super().__init__()
        self.power = power


def unregistered(labels, found):
    return labels


A_NUMBER = 3


def name_of(name):
    return f"{__name__}:{name}"


def test_a_loss_is_a_function_of_labels_and_probabilities():
    assert load_loss(name_of("distance")) is distance
    assert load_compiled_loss(name_of("distance")) is distance
    labels, found = np.array([[1]]), np.array([[0.25, 0.75]])
    for name in ("Distance", "an_instance"):
        # Each row's loss: Keras's own call would sum them up.
        assert load_loss(name_of(name))(labels, found).numpy() == [[0.0625]]
        assert isinstance(load_compiled_loss(name_of(name)), Distance)
    assert load_compiled_loss(name_of("an_instance")) is an_instance


def test_a_pooling_is_a_layer_or_a_function():
    assert isinstance(load_pooling(name_of("LastToken")), LastToken)
    assert load_pooling(name_of("first_token")) is first_token


def test_registered_names_are_keras_s():
    for instance in (Distance(), distance, an_instance):
        name = registered_name(instance)
        assert name in ("tests-custom>Distance", "tests-custom>distance")
        assert keras.saving.get_registered_object(name) in (Distance, distance)


@pytest.mark.parametrize("load", [load_loss, load_compiled_loss])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:loss", "there is no module 'no_such_module'.*PYTHONPATH"),
        ("keras.no_such:loss", "there is no module 'keras.no_such'"),
        (name_of("Distanc"), r"has no 'Distanc' \(did you mean 'Distance'\?\)"),
        (name_of("nothing_like_it"), "has no 'nothing_like_it'"),
        (name_of("A_NUMBER"), "neither a function nor a keras.losses.Loss"),
        (name_of("LastToken"), "neither a function nor a keras.losses.Loss"),
        (name_of("unregistered"), "Write @keras.saving.register_keras_serializable"),
        (name_of("Unregistered"), "Write @keras.saving.register_keras_serializable"),
        (name_of("NeedsArguments"), "without arguments .*'power'.* a default"),
    ],
)
def test_a_loss_that_can_t_be_had(load, name, message):
    with pytest.raises(UserError, match=message) as error:
        load(name)
    assert str(error.value).startswith(f"loss.name is {name!r}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:pool", "there is no module 'no_such_module'"),
        (name_of("first_tokem"), "did you mean 'first_token'"),
        (name_of("Distance"), "neither a function nor a keras.layers.Layer"),
        (name_of("unregistered"), "Write @keras.saving.register_keras_serializable"),
    ],
)
def test_a_pooling_that_can_t_be_had(name, message):
    with pytest.raises(UserError, match=message) as error:
        load_pooling(name)
    assert str(error.value).startswith(f"model.pooling is {name!r}")


def test_a_module_that_lacks_another_one_names_that(tmp_path, monkeypatch):
    (tmp_path / "my_losses_of_tests.py").write_text("import no_such_package_of_mine")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="no module 'no_such_package_of_mine'"):
        load_loss("my_losses_of_tests:loss")


def make_config(encoder, loss, pooling):
    return TrainConfig.model_validate(
        {"encoder": str(encoder), "loss": {"name": loss}, "model": {"pooling": pooling}}
    )


def test_objects_that_a_saved_model_needs(tiny_encoder):
    plain = make_config(tiny_encoder, "cross_entropy", "mean")
    assert custom_objects(plain) == {}
    config = make_config(tiny_encoder, name_of("Distance"), name_of("first_token"))
    assert custom_objects(config) == {
        "tests-custom>Distance": Distance,
        "tests-custom>first_token": first_token,
    }


@pytest.mark.parametrize(
    ("loss", "pooling"), [("Distance", "first_token"), ("distance", "LastToken")]
)
def test_a_saved_model_is_loaded_with_the_user_s_own(tmp_path, loss, pooling):
    encoder = make_tiny_encoder(tmp_path / "encoder", layers=1)
    config = make_config(encoder, name_of(loss), name_of(pooling))
    backbone = load_backbone(str(encoder), config.model)
    classifier = build_classifier(backbone, LABELS, config.model)
    classifier.compile("sgd", keras_loss(config.loss, "softmax"))
    classifier.save(tmp_path / "model.keras")
    token_ids = np.array([[0, 5, 6, 2], [0, 7, 2, 1]], np.int32)
    inputs = {"token_ids": token_ids, "padding_mask": (token_ids != 1).astype(np.int32)}
    loaded = load_keras_model(
        tmp_path / "model.keras", custom_objects=custom_objects(config), compile=True
    )
    np.testing.assert_allclose(loaded(inputs), classifier(inputs), atol=1e-6)
    labels = np.array([[1], [2]])
    found = classifier(inputs).numpy()
    expected = ((1 - found[[0, 1], labels[:, 0]]) ** 2).mean()
    loss = loaded.compute_loss(y=labels, y_pred=loaded(inputs))
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(UserError, match="nor one of the user's own"):
        load_keras_model(tmp_path / "model.keras", compile=True)
