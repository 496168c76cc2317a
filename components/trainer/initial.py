"""Begins with an earlier model's weights, and holds the new model against it."""

from typing import Any

import keras
import numpy as np

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.model_directory import KERAS_FILE, ModelDirectory
from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.common.train_config import TrainConfig
from reviewbeam.components.trainer.custom import custom_objects
from reviewbeam.components.trainer.heads import LOGITS, head_kind
from reviewbeam.components.trainer.lora import is_factor
from reviewbeam.components.trainer.safe_keras import load_keras_model

_HEAD = ("scale/", "thresholds/", f"{LOGITS}/")
_ENCODER = (
    "token_embedding/",
    "position_embedding/",
    "embeddings_layer_norm/",
    "transformer_layer_",
)
NEVER = -1e9  # the logit of a label that a model doesn't know


def take_over_weights(
    classifier: keras.Model,
    labels: LabelRules,
    config: TrainConfig,
    initial: ModelDirectory,
) -> list[int] | None:
    """Assigns an earlier model's weights to a new classifier.

    The head's outputs go by the names of their labels: a label that both models have
    keeps its weights, a new one begins anew.

    Args:
      classifier: the new one.
      labels: its labels.
      config: its config.
      initial: the earlier model.

    Returns:
      The outputs that begin anew; None: the whole head does, since the earlier
      model's is of another kind, or reads another pooling or hidden layer.

    Raises:
      UserError: the earlier model's encoder has other sizes.
    """
    source = load_keras_model(
        initial.path / KERAS_FILE,
        # Not those that the model names: it may be a stranger's.
        custom_objects=custom_objects(config),
    )
    values = {_place(v): v for v in source.weights}
    known = {_place(v) for v in classifier.weights}
    more = [place for place in values.keys() - known if place.startswith(_ENCODER)]
    if more:
        raise UserError(
            f"The model {str(initial.path)!r} can't be begun with: its encoder has "
            f"{min(more)}, which the encoder {config.encoder!r} has not. Train with "
            "the encoder that it was trained from."
        )
    for variable in classifier.weights:
        place = _place(variable)
        if not place.startswith(_ENCODER) or is_factor(variable):
            continue
        value = values.get(place)
        if value is None or value.shape != variable.shape:
            raise UserError(
                f"The model {str(initial.path)!r} can't be begun with: its encoder "
                f"has no {variable.path} of the shape {tuple(variable.shape)}. Train "
                "with the encoder that it was trained from."
            )
        variable.assign(value)
    if config.model.pooling == initial.metadata.config.model.pooling:
        _take_over_between(classifier, source)
    return _take_over_head(classifier, values, labels, config, initial)


def compared(
    before: dict[str | None, dict[str, Any]], after: dict[str | None, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Returns language, rows and the figures of both models, most rows first."""
    entries = [
        {
            "language": language,
            "rows": figures["rows"],
            "before": {k: v for k, v in before[language].items() if k != "rows"},
            "after": {k: v for k, v in figures.items() if k != "rows"},
        }
        for language, figures in after.items()
    ]
    return sorted(entries, key=lambda entry: -entry["rows"])


def _place(variable: keras.Variable) -> str:
    # Loaded, the tables are layers by themselves, and no part of `embeddings`.
    return variable.path.removeprefix("embeddings/")


def _take_over_between(classifier: keras.Model, source: keras.Model) -> None:
    """Assigns what is between encoder and head: a pooling's weights, a hidden layer's.

    By their order, since the names in a user's own pooling tell nothing.
    """
    between = [
        [
            variable
            for variable in model.weights
            if not _place(variable).startswith((*_ENCODER, *_HEAD))
        ]
        for model in (classifier, source)
    ]
    if [v.shape for v in between[0]] == [v.shape for v in between[1]]:
        for variable, value in zip(*between, strict=True):
            variable.assign(value)


def _take_over_head(classifier, values, labels, config, initial) -> list[int] | None:
    old, before = initial.metadata.labels, initial.metadata.config.model
    kind = head_kind(labels, config.model)
    if (kind, config.model.pooling, config.model.hidden_units) != (
        head_kind(old, before),
        before.pooling,
        before.hidden_units,
    ):
        return None
    heads = [v for v in classifier.weights if v.path.startswith(_HEAD)]
    if any(v.path not in values for v in heads):
        return None  # not as its model.json says
    if kind in ("sigmoid", "cumulative"):
        if kind == "sigmoid" and old.names == labels.names[::-1]:
            for variable in heads:
                variable.assign(-values[variable.path].numpy())
            return []
        if old.names != labels.names:
            return None
        for variable in heads:
            variable.assign(values[variable.path])
        return []
    shared = [name for name in labels.names if name in old.names]
    targets = [labels.names.index(name) for name in shared]
    sources = [old.names.index(name) for name in shared]
    for variable in heads:
        value = np.array(variable.numpy())
        value[..., targets] = values[variable.path].numpy()[..., sources]
        variable.assign(value)
    return [i for i in range(len(labels.names)) if i not in targets]
