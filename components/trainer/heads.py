"""The last layers: from a pooled vector to logits, and on to probabilities.

What they are made of is known to every Keras: Dense layers and `keras.ops`. An
ordinal head is the cumulative logit model (McCullagh 1980): one number per review,
and thresholds between the classes that softplus keeps in order.
"""

import keras
import numpy as np
from keras import ops

from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.common.train_config import ModelConfig

LOGITS = "logits"
_THRESHOLDS = "thresholds"
# The scale must span all thresholds, where a logit of a softmax spans two classes: it
# is its layer's output times this, so that it moves as much faster under Adam.
_SCALE_UNIT = 8.0
# A threshold is its weight times this: it keeps up with the scale, which is a sum over
# the width of the encoder.
_THRESHOLD_UNIT = 30.0
_LEAST_GAP = 1e-4  # between thresholds: no class has the probability 0


def head_kind(labels: LabelRules, config: ModelConfig) -> str:
    """Returns sigmoid, softmax, sigmoids (one a label) or cumulative."""
    if labels.type == "ordinal":
        return config.ordinal_head
    kinds = {"binary": "sigmoid", "multiclass": "softmax", "multilabel": "sigmoids"}
    return kinds[labels.type]


def head_logits(pooled, kind: str, classes: int):
    """Puts the head's layers on a pooled vector.

    Args:
      pooled: float [batch, width].
      kind: see `head_kind`.
      classes: how many there are.

    Returns:
      The output of the layer `logits`, float32: [batch, 1] for a sigmoid;
      [batch, classes - 1] for a cumulative head, of class k or below against those
      above it, falling from left to right; else [batch, classes].
    """
    if kind != "cumulative":
        return _dense(1 if kind == "sigmoid" else classes, LOGITS)(pooled)
    scale = _dense(1, "scale", use_bias=False)(pooled) * _SCALE_UNIT
    # A layer needs an input: the thresholds are the weights of a constant.
    constant = ops.full_like(scale, _THRESHOLD_UNIT)
    raw = keras.layers.Dense(
        classes - 1,
        use_bias=False,
        kernel_initializer="zeros",
        dtype="float32",
        name=_THRESHOLDS,
    )(constant)
    gaps = ops.softplus(raw[:, 1:]) + _LEAST_GAP
    gaps = ops.concatenate([raw[:, :1], gaps], axis=-1)
    logits = ops.subtract(scale, ops.cumsum(gaps, axis=-1))
    return keras.layers.Activation("linear", dtype="float32", name=LOGITS)(logits)


def initialise_thresholds(classifier: keras.Model, counts: np.ndarray) -> None:
    """Sets the thresholds of a cumulative head to where the training labels put them.

    Args:
      classifier: its head is new: the scale is near 0.
      counts: training rows of each class, [classes]; a class without rows counts as
        one row.
    """
    shares = np.maximum(counts, 1) / np.maximum(counts, 1).sum()
    above = 1 - np.cumsum(shares)[:-1]
    thresholds = np.log(1 - above) - np.log(above)
    gaps = np.maximum(np.diff(thresholds) - _LEAST_GAP, 1e-3)
    raw = np.concatenate([thresholds[:1], np.log(np.expm1(gaps))])
    kernel = classifier.get_layer(_THRESHOLDS).kernel
    kernel.assign((raw / _THRESHOLD_UNIT)[None].astype(np.float32))


def log_probabilities(logits, kind: str):
    """Returns the logarithms of the class probabilities, float32 [batch, classes].

    They are exact where probabilities are tiny: no two of them are subtracted.

    Args:
      logits: of `head_logits`.
      kind: any but sigmoids, whose labels are no distribution.
    """
    if kind == "softmax":
        return ops.log_softmax(logits, axis=-1)
    below, above = ops.log_sigmoid(-logits), ops.log_sigmoid(logits)
    if kind == "sigmoid":
        return ops.concatenate([below, above], axis=-1)
    # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a))
    gaps = logits[:, :-1] - logits[:, 1:]
    between = above[:, :-1] + below[:, 1:] + ops.log(-ops.expm1(-gaps))
    return ops.concatenate([below[:, :1], between, above[:, -1:]], axis=-1)


def probabilities(logits, kind: str):
    """Returns the probability of each class or label, float32 [batch, classes]."""
    if kind == "sigmoids":
        return ops.sigmoid(logits)
    if kind == "sigmoid":
        # The sigmoid of -x, and not 1 - sigmoid(x), keeps small probabilities exact.
        return ops.concatenate([ops.sigmoid(-logits), ops.sigmoid(logits)], axis=-1)
    if kind == "softmax":
        return ops.softmax(logits, axis=-1)
    return ops.exp(log_probabilities(logits, kind))


def _dense(units: int, name: str, **arguments) -> keras.layers.Dense:
    return keras.layers.Dense(
        units,
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        dtype="float32",
        name=name,
        **arguments,
    )
