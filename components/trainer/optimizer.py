"""AdamW as BERT-like encoders are fine-tuned with, exact on any number of devices."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from reviewbeam.components.common.train_config import TrainingConfig

# Biases, and the scales and offsets of layer norms.
_WITHOUT_DECAY = ("bias", "gamma", "beta")


class ReplicatedAdamW(keras.optimizers.AdamW):
    """AdamW whose gradients are summed over the devices first, then clipped.

    Keras clips before it sums, which on two devices bounds each half by itself. This
    class only trains; what is saved is Keras's own AdamW (`plain_optimizer`).
    """

    def __init__(self, *, sum_clipnorm: float, **kwargs):
        super().__init__(**kwargs)
        self.sum_clipnorm = sum_clipnorm

    def _all_reduce_sum_gradients(self, grads_and_vars):
        gradients, variables = zip(
            *super()._all_reduce_sum_gradients(grads_and_vars), strict=True
        )
        clipped, _ = tf.clip_by_global_norm(gradients, self.sum_clipnorm)
        return list(zip(clipped, variables, strict=True))


def training_optimizer(
    config: TrainingConfig, variables: Sequence[keras.Variable]
) -> ReplicatedAdamW:
    """Builds the optimizer for training; to be called in the strategy's scope.

    Args:
      config: the optimisation.
      variables: the trainable ones; no other gets a slot.
    """
    optimizer = ReplicatedAdamW(sum_clipnorm=config.clip_norm, **_arguments(config))
    _build(optimizer, variables)
    return optimizer


def plain_optimizer(
    trained: keras.optimizers.Optimizer,
    config: TrainingConfig,
    pairs: Sequence[tuple[keras.Variable, keras.Variable]],
) -> keras.optimizers.AdamW:
    """Copies an optimizer with its state into one that Keras can load by itself.

    It has the peak learning rate, from which a new schedule may begin. Keras doesn't
    save which variables are spared from decay: who goes on training with a loaded
    model decays biases and norms too, unless they say so again.

    Args:
      trained: the optimizer to copy.
      config: the optimisation.
      pairs: a variable that the copy will train, and its original; where that one
        wasn't trained, the copy begins with an empty state.
    """
    optimizer = keras.optimizers.AdamW(
        global_clipnorm=config.clip_norm, **_arguments(config)
    )
    _build(optimizer, [target for target, _ in pairs])
    optimizer.iterations.assign(trained.iterations.numpy())
    for slots in ("_momentums", "_velocities"):
        sources = iter(getattr(trained, slots))
        for (_, original), slot in zip(pairs, getattr(optimizer, slots), strict=True):
            if original.trainable:
                slot.assign(next(sources).numpy())
    return optimizer


def learning_rates(total_steps: int, peak: float, warmup_fraction: float) -> np.ndarray:
    """Returns the learning rate of each step, float64 [total_steps].

    It climbs in equal steps to the peak during the warm-up, and falls in equal steps
    from there, so that a step after the last one would have rate 0.
    """
    warmup = round(total_steps * warmup_fraction)
    steps = np.arange(total_steps)
    climbing = (steps + 1) / max(warmup, 1)
    falling = (total_steps - steps) / max(total_steps - warmup, 1)
    return peak * np.where(steps < warmup, climbing, falling)


def _arguments(config: TrainingConfig) -> dict[str, float]:
    return {
        "learning_rate": config.learning_rate,
        "weight_decay": config.weight_decay,
        "epsilon": 1e-6,  # as in BERT and RoBERTa
    }


def _build(optimizer, variables) -> None:
    spared = [v for v in variables if v.name in _WITHOUT_DECAY]
    optimizer.exclude_from_weight_decay(var_list=spared)
    optimizer.build(variables)
