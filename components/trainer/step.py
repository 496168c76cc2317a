"""One step of training or prediction over all devices.

A batch is divided over the devices by rows, in near-equal parts, and each device's
loss is its share of the *global* mean: the sum over its rows, divided by all rows of
the batch. So the summed gradients are those of one device with the whole batch, also
where the rows don't divide evenly. (Keras's `fit` averages within a device and then
over devices, which gives the rows of a smaller part more weight.)
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from reviewbeam.components.trainer.input import PAD
from reviewbeam.components.trainer.model import PADDING_MASK, TOKEN_IDS

_TOKEN_IDS = tf.TensorSpec([None, None], tf.int32)
_LABELS = tf.TensorSpec([None], tf.int32)


def cross_entropy(labels, logits):
    """Returns the cross-entropy of each row, float32 [rows].

    Args:
      labels: int32 [rows].
      logits: float32 [rows, classes] for a softmax, [rows, 1] for a sigmoid.
    """
    if logits.shape[-1] == 1:
        return tf.nn.sigmoid_cross_entropy_with_logits(
            tf.cast(labels, logits.dtype), logits[:, 0]
        )
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def make_train_step(
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    class_weights: np.ndarray,
) -> Callable:
    """Compiles the step that updates the weights.

    Args:
      strategy: the devices.
      model: from tokens to logits.
      optimizer: built on the model's trainable variables.
      class_weights: float32 [classes].

    Returns:
      A function of token_ids, int32 [rows, length], and labels, int32 [rows], to the
      batch's loss, a float32 scalar: the mean over the rows of weight times
      cross-entropy. It is a mean over rows, not over weights: a batch full of a rare
      class then moves the model as far as that class's weight says.
    """
    variables = model.trainable_variables
    weights = tf.constant(class_weights, tf.float32)

    def replica_step(token_ids, labels):
        rows = tf.shape(labels)[0]
        start, size, real = _part_of_replica(rows)
        token_ids = token_ids[start : start + size]
        labels = labels[start : start + size]
        shares = tf.gather(weights, labels) * real / tf.cast(rows, tf.float32)
        # Only what is trained is watched, so that the gradient ends where the
        # frozen layers begin.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for variable in variables:
                tape.watch(variable.value)
            logits = model(_inputs(token_ids), training=True)
            loss = tf.reduce_sum(shares * cross_entropy(labels, logits))
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        # The gradient of an embedding lists a row once per token. Summed up, its
        # norm is right; Keras's Adam touches every row anyway.
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        optimizer.apply(gradients, variables)
        return loss

    @tf.function(input_signature=[_TOKEN_IDS, _LABELS])
    def train_step(token_ids, labels):
        losses = strategy.run(replica_step, args=(token_ids, labels))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    return train_step


def make_predict_step(strategy: tf.distribute.Strategy, model: keras.Model) -> Callable:
    """Compiles the step that only predicts.

    Returns:
      A function of token_ids, int32 [rows, length], to the logits as a NumPy array,
      float32 [rows, logits].
    """

    def replica_step(token_ids):
        start, size, _ = _part_of_replica(tf.shape(token_ids)[0])
        return model(_inputs(token_ids[start : start + size]), training=False)

    @tf.function(input_signature=[_TOKEN_IDS])
    def predict_step(token_ids):
        logits = strategy.run(replica_step, args=(token_ids,))
        return strategy.experimental_local_results(logits)

    def predict(token_ids) -> np.ndarray:
        rows, replicas = len(token_ids), strategy.num_replicas_in_sync
        parts = []
        for replica, logits in enumerate(predict_step(token_ids)):
            start, end = _part(replica, rows, replicas)
            parts.append(logits.numpy()[: end - start])
        return np.concatenate(parts)

    return predict


def _inputs(token_ids):
    mask = tf.cast(tf.not_equal(token_ids, PAD), tf.int32)
    return {TOKEN_IDS: token_ids, PADDING_MASK: mask}


def _part(replica, rows, replicas):
    """Returns where a replica's rows begin and end."""
    return replica * rows // replicas, (replica + 1) * rows // replicas


def _part_of_replica(rows):
    """Returns first row, number of rows, and what is real of them (float32 [rows]).

    Where there are fewer rows than replicas, a replica without a row gets one that
    counts nothing, since not every kernel takes an empty batch.
    """
    context = tf.distribute.get_replica_context()
    start, end = _part(
        context.replica_id_in_sync_group, rows, context.num_replicas_in_sync
    )
    size = tf.maximum(end - start, 1)
    return start, size, tf.cast(tf.range(start, start + size) < end, tf.float32)
