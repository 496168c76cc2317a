"""A user's own loss or pooling: `MODULE:NAME` in the config, registered with Keras."""

import importlib
from typing import Any

import keras

from reviewbeam.components.common.errors import UserError, nearest
from reviewbeam.components.common.train_config import TrainConfig, is_custom


def load_loss(name: str) -> Any:
    """Imports a loss: a `keras.losses.Loss`, a class of it, or a function.

    It is called with the labels, int32 [batch] (multilabel: float32 [batch, labels]),
    and the probabilities, float32 [batch, classes], and gives a loss for each row.

    Raises:
      UserError: there is none, or Keras could not load it again by its name.
    """
    loss = _load("loss.name", name, keras.losses.Loss)
    # Keras's own wrapper sums up: the rows' losses are needed.
    return loss.call if isinstance(loss, keras.losses.Loss) else loss


def load_compiled_loss(name: str) -> Any:
    """Imports a loss in the form that a saved model is compiled with."""
    return _load("loss.name", name, keras.losses.Loss)


def load_pooling(name: str) -> Any:
    """Imports a pooling: a layer, a class of it, or a function of `keras.ops`.

    It is called with the hidden states, float [batch, length, width], and the padding
    mask, int32 [batch, length] with 1 at real tokens, and gives [batch, any width].

    Raises:
      UserError: there is none, or Keras could not load it again by its name.
    """
    return _load("model.pooling", name, keras.layers.Layer)


def custom_objects(config: TrainConfig) -> dict[str, Any]:
    """Returns the user's own objects that a saved model needs, by registered name."""
    found = {}
    for name, load in (
        (config.loss.name, load_compiled_loss),
        (config.model.pooling, load_pooling),
    ):
        if is_custom(name):
            registered = registered_name(load(name))
            found[registered] = keras.saving.get_registered_object(registered)
    return found


def registered_name(instance: Any) -> str:
    """Returns the name that Keras saves a loss, a layer or a function under."""
    own = isinstance(instance, keras.losses.Loss | keras.layers.Layer)
    return keras.saving.get_registered_name(type(instance) if own else instance)


def _load(key: str, name: str, base: type) -> Any:
    module_name, attribute = name.split(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{key} is {name!r}, but there is no module {error.name!r}. Install it, or "
            "put its folder on PYTHONPATH."
        ) from None
    found = getattr(module, attribute, None)
    if found is None:
        raise UserError(
            f"{key} is {name!r}, but the module {module_name!r} has no "
            f"{attribute!r}{nearest(attribute, vars(module))}."
        )
    is_class = isinstance(found, type)
    if not callable(found) or (is_class and not issubclass(found, base)):
        raise UserError(
            f"{key} is {name!r}, which is neither a function nor a keras."
            f"{'losses' if base is keras.losses.Loss else 'layers'}.{base.__name__}."
        )
    try:
        instance = found() if is_class else found
        if isinstance(found, keras.layers.Layer):  # no two models share its weights
            instance = type(found).from_config(found.get_config())
    except TypeError as error:
        raise UserError(
            f"{key} is {name!r}, a class that can't be called without arguments "
            f"({error}). Give each of them a default."
        ) from None
    if keras.saving.get_registered_object(registered_name(instance)) is None:
        raise UserError(
            f"{key} is {name!r}, which Keras doesn't know, so that a saved model could "
            "not be loaded. Write @keras.saving.register_keras_serializable() above it."
        )
    return instance
