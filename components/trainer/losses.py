"""Losses, row by row: computed from logits for training, and as Keras names them."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.train_config import LossConfig, is_custom
from reviewbeam.components.trainer.custom import load_compiled_loss, load_loss
from reviewbeam.components.trainer.heads import log_probabilities, probabilities

RowLosses = Callable[[Any, Any], Any]


def row_losses(config: LossConfig, kind: str, class_weights: np.ndarray) -> RowLosses:
    """Returns the function that training minimises the mean of.

    Args:
      config: which loss.
      kind: of the head.
      class_weights: float32 [classes]; of sigmoids, what a row that has the label
        counts against one that hasn't. A custom loss of such rows takes none.

    Returns:
      A function of labels, int32 [rows] (sigmoids: float32 [rows, labels]), and
      logits to losses, float32 [rows], with their weights.
    """
    weights = tf.constant(class_weights, tf.float32)
    if is_custom(config.name):
        loss = _custom(config.name, kind)
    elif kind == "sigmoids":
        return _of_labels(config, weights)
    else:
        loss = _of_classes(config, kind)
    if kind == "sigmoids":
        return loss
    return lambda labels, logits: tf.gather(weights, labels) * loss(labels, logits)


def keras_loss(config: LossConfig, kind: str) -> Any:
    """Returns the same loss on probabilities, for whom goes on training with `fit`.

    With label smoothing, or a focal loss of classes, Keras wants the labels one-hot.
    """
    if is_custom(config.name):
        return load_compiled_loss(config.name)
    losses = keras.losses
    smoothing, focal = config.label_smoothing, config.name == "focal"
    if kind == "sigmoids":
        if focal:
            return losses.BinaryFocalCrossentropy(gamma=config.focal_gamma)
        return losses.BinaryCrossentropy(label_smoothing=smoothing)
    if focal:
        return losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=config.focal_gamma)
    if smoothing:
        return losses.CategoricalCrossentropy(label_smoothing=smoothing)
    return losses.SparseCategoricalCrossentropy()


def _of_classes(config: LossConfig, kind: str) -> RowLosses:
    smoothing = config.label_smoothing

    def loss(labels, logits):
        logs = log_probabilities(logits, kind)
        own = tf.gather(logs, labels, axis=1, batch_dims=1)
        if config.name == "focal":  # Lin et al. 2017
            # Not 0, where the power has no gradient.
            wrong = tf.maximum(1 - tf.exp(own), 1e-7)
            return -(wrong**config.focal_gamma) * own
        if smoothing:
            return -(1 - smoothing) * own - smoothing * tf.reduce_mean(logs, axis=1)
        return -own

    return loss


def _of_labels(config: LossConfig, weights) -> RowLosses:
    smoothing = config.label_smoothing

    def loss(labels, logits):
        present, absent = -tf.math.softplus(-logits), -tf.math.softplus(logits)
        if config.name == "focal":
            present *= tf.exp(absent * config.focal_gamma)
            absent *= tf.exp(-tf.math.softplus(-logits) * config.focal_gamma)
        targets = labels * (1 - smoothing) + smoothing / 2
        losses = -(weights * targets * present + (1 - targets) * absent)
        return tf.reduce_mean(losses, axis=1)

    return loss


def _custom(name: str, kind: str) -> RowLosses:
    function = load_loss(name)

    def loss(labels, logits):
        losses = function(labels, probabilities(logits, kind))
        losses = tf.cast(losses, tf.float32)
        if losses.shape.rank == 0:
            raise UserError(
                f"loss.name is {name!r}, which gave one number; a loss for each row is "
                "needed."
            )
        return tf.reduce_mean(tf.reshape(losses, [tf.shape(losses)[0], -1]), axis=1)

    return loss
