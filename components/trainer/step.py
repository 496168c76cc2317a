"""One step of training or prediction over all devices.

A batch is divided over the devices by rows, in near-equal parts, and each device's
loss is its share of the *global* mean: the sum over its rows, divided by all rows of
the step. So the summed gradients are those of one device with the whole batch, also
where the rows don't divide evenly. (Keras's `fit` averages within a device and then
over devices, which gives the rows of a smaller part more weight.) Accumulation rests
on the same: the gradients of several batches add up to those of one large batch.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from reviewbeam.components.trainer.input import PAD, Batch
from reviewbeam.components.trainer.losses import RowLosses
from reviewbeam.components.trainer.model import PADDING_MASK, TOKEN_IDS

_TOKEN_IDS = tf.TensorSpec([None, None], tf.int32)
_LABELS = tf.TensorSpec([None], tf.int32)
_LABEL_MATRIX = tf.TensorSpec([None, None], tf.float32)
_ROWS = tf.TensorSpec([], tf.int32)
_SCALE = tf.TensorSpec([], tf.float32)
_FIRST_LOSS_SCALE = 2.0**15
_LEAST_LOSS_SCALE = 2.0**-10  # gradients overflow that are not even scaled
_STEPS_TO_GROW = 1000  # without an overflow, until the loss scale is doubled


class TrainStep:
    """Updates the weights by the rows of one or more batches.

    Attributes:
      loss_scale: what the loss is multiplied by before gradients are taken, so that
        none vanishes in float16; 1 for other precisions.
      good_steps: steps since the scale was last changed.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        losses: RowLosses,
        *,
        multilabel: bool = False,
        accumulation: int = 1,
        float16: bool = False,
        xla: bool = False,
    ):
        """Prepares the step; it is compiled when first called.

        Args:
          strategy: the devices.
          model: from tokens to logits.
          optimizer: built on the model's trainable variables.
          losses: of rows; see `losses.row_losses`.
          multilabel: the labels are a matrix.
          accumulation: the most batches of one step.
          float16: scale the loss, and leave a step out whose gradients overflow.
          xla: compile loss and gradients with XLA.
        """
        self.loss_scale = _FIRST_LOSS_SCALE if float16 else 1.0
        self.good_steps = 0
        self._strategy = strategy
        self._model = model
        self._optimizer = optimizer
        self._losses = losses
        self._variables = model.trainable_variables
        self._float16 = float16
        self._gradients = self._loss_and_gradients
        if xla:  # not else: TensorFlow never frees a function within a function
            self._gradients = tf.function(self._gradients, jit_compile=True)
        self._accumulators = None
        if accumulation > 1 or float16:
            with strategy.scope():
                self._accumulators = [_accumulator(v) for v in self._variables]
        # One graph for batches of any shape.
        batch = Batch(_TOKEN_IDS, _LABEL_MATRIX if multilabel else _LABELS, _ROWS)
        self._update = tf.function(self._update_once, [batch, _ROWS])
        self._accumulate = tf.function(self._accumulate_batch, [batch, _ROWS, _SCALE])
        self._apply = tf.function(self._apply_accumulated)

    def __call__(self, batches: Sequence[Batch]) -> float:
        """Makes one step.

        Returns:
          The mean over all rows of the loss. It is a mean over rows, not over class
          weights: a batch full of a rare class moves the model as far as that class's
          weight says.
        """
        rows = tf.constant(sum(int(batch.rows) for batch in batches))
        if self._accumulators is None:
            (batch,) = batches
            return float(self._update(batch, rows))
        scale = tf.constant(self.loss_scale)
        parts = [self._accumulate(batch, rows, scale) for batch in batches]
        loss = math.fsum(float(loss) for loss, _ in parts)
        finite = all(bool(finite) for _, finite in parts)
        self._apply(scale, tf.constant(finite))
        if self._float16:
            self._adapt_scale(finite)
        elif not finite:
            return math.nan
        return loss if self.loss_scale >= _LEAST_LOSS_SCALE else math.nan

    def _adapt_scale(self, finite: bool) -> None:
        self.good_steps = self.good_steps + 1 if finite else 0
        if not finite:
            self.loss_scale /= 2
        elif self.good_steps == _STEPS_TO_GROW:
            self.loss_scale, self.good_steps = self.loss_scale * 2, 0

    def _update_once(self, batch, rows):
        def replica_step(batch):
            loss, gradients = self._gradients(*_part(batch, rows), 1.0)
            self._optimizer.apply(gradients, self._variables)
            return loss

        losses = self._strategy.run(replica_step, args=(batch,))
        return self._sum(losses)

    def _accumulate_batch(self, batch, rows, scale):
        def replica_step(batch):
            loss, gradients = self._gradients(*_part(batch, rows), scale)
            for accumulator, gradient in zip(
                self._accumulators, gradients, strict=True
            ):
                accumulator.assign_add(gradient)
            finite = [tf.reduce_all(tf.math.is_finite(g)) for g in gradients]
            return loss, tf.cast(tf.reduce_all(finite), tf.float32)

        losses, finite = self._strategy.run(replica_step, args=(batch,))
        replicas = self._strategy.num_replicas_in_sync
        return self._sum(losses), self._sum(finite) >= replicas

    def _apply_accumulated(self, scale, update):
        def replica_step():
            if update:
                gradients = [a.read_value() / scale for a in self._accumulators]
                self._optimizer.apply(gradients, self._variables)
            for accumulator in self._accumulators:
                accumulator.assign(tf.zeros_like(accumulator))

        self._strategy.run(replica_step)

    def _loss_and_gradients(self, token_ids, labels, shares, scale):
        variables = [variable.value for variable in self._variables]
        # Only what is trained is watched, so that the gradient ends where the frozen
        # layers begin.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for variable in variables:
                tape.watch(variable)
            logits = self._model(_inputs(token_ids), training=True)
            loss = tf.reduce_sum(shares * self._losses(labels, logits))
            scaled = loss * scale
        gradients = tape.gradient(scaled, variables)
        # The gradient of an embedding lists a row once per token. Summed up, its norm
        # is right; Keras's Adam touches every row anyway.
        return loss, [tf.convert_to_tensor(gradient) for gradient in gradients]

    def _sum(self, values):
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)


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
            start, end = _bounds(replica, rows, replicas)
            parts.append(logits.numpy()[: end - start])
        return np.concatenate(parts)

    return predict


def _accumulator(variable: keras.Variable) -> tf.Variable:
    """A sum of gradients that each device has for itself."""
    return tf.Variable(
        tf.zeros(variable.shape, tf.float32),
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.SUM,
    )


def _inputs(token_ids) -> dict[str, Any]:
    mask = tf.cast(tf.not_equal(token_ids, PAD), tf.int32)
    return {TOKEN_IDS: token_ids, PADDING_MASK: mask}


def _part(batch: Batch, rows):
    """Returns a replica's token ids, labels, and shares of the step's mean."""
    start, size, real = _part_of_replica(tf.shape(batch.token_ids)[0])
    # Rows behind the batch's last one fill a shape and count nothing.
    real *= tf.cast(tf.range(start, start + size) < batch.rows, tf.float32)
    return (
        batch.token_ids[start : start + size],
        batch.labels[start : start + size],
        real / tf.cast(rows, tf.float32),
    )


def _bounds(replica, rows, replicas):
    """Returns where a replica's rows begin and end."""
    return replica * rows // replicas, (replica + 1) * rows // replicas


def _part_of_replica(rows):
    """Returns first row, number of rows, and what is real of them (float32 [rows]).

    Where there are fewer rows than replicas, a replica without a row gets one that
    counts nothing, since not every kernel takes an empty batch.
    """
    context = tf.distribute.get_replica_context()
    start, end = _bounds(
        context.replica_id_in_sync_group, rows, context.num_replicas_in_sync
    )
    size = tf.maximum(end - start, 1)
    return start, size, tf.cast(tf.range(start, start + size) < end, tf.float32)
