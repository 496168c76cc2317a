"""AdamW as BERT-like encoders are fine-tuned with, exact on any number of devices."""

import re
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from reviewbeam.components.common.train_config import TrainingConfig

# Biases, and the scales and offsets of layer norms.
_WITHOUT_DECAY = ("bias", "gamma", "beta")


class ReplicatedAdamW(keras.optimizers.AdamW):
    """AdamW whose gradients are summed over the devices first, then clipped.

    Keras clips before it sums, which on two devices bounds each half by itself. Each
    variable has a learning rate of its own: the optimizer's times a factor. This
    class only trains; what is saved is Keras's own AdamW (`plain_optimizer`).
    """

    def __init__(
        self, *, sum_clipnorm: float | None, factors: Sequence[float], **kwargs
    ):
        super().__init__(**kwargs)
        self.sum_clipnorm = sum_clipnorm
        self.factors = factors

    def _all_reduce_sum_gradients(self, grads_and_vars):
        gradients, variables = zip(
            *super()._all_reduce_sum_gradients(grads_and_vars), strict=True
        )
        if self.sum_clipnorm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, self.sum_clipnorm)
        return list(zip(gradients, variables, strict=True))

    def _apply_weight_decay(self, variables):
        """Leaves the decay to `update_step`, which knows the variable's own rate."""

    def update_step(self, gradient, variable, learning_rate):
        """Decays and moves a variable at its own rate."""
        rate = learning_rate * self.factors[self._get_variable_index(variable)]
        if self._use_weight_decay(variable):
            self.assign_sub(variable, variable * (rate * self.weight_decay))
        super().update_step(gradient, variable, rate)


def training_optimizer(
    config: TrainingConfig, variables: Sequence[keras.Variable], layers: int
) -> ReplicatedAdamW:
    """Builds the optimizer for training; to be called in the strategy's scope.

    Args:
      config: the optimisation.
      variables: the trainable ones; no other gets a slot.
      layers: how many the encoder has.
    """
    factors = [rate_factor(v.path, layers, config.layer_decay) for v in variables]
    optimizer = ReplicatedAdamW(
        sum_clipnorm=config.clip_norm, factors=factors, **_arguments(config)
    )
    _build(optimizer, variables)
    return optimizer


def rate_factor(path: str, layers: int, decay: float) -> float:
    """Returns a variable's learning rate over that of the last layers.

    What is above the encoder has 1, the encoder's last layer `decay`, the one below
    it `decay` squared, and so on down to the embeddings (Howard and Ruder 2018).
    """
    layer = re.match(r"transformer_layer_(\d+)/", path)
    if layer:
        return decay ** (layers - int(layer[1]))
    return decay ** (layers + 1) if path.startswith("embeddings") else 1.0


def plain_optimizer(
    trained: keras.optimizers.Optimizer,
    config: TrainingConfig,
    pairs: Sequence[tuple[keras.Variable, keras.Variable]],
) -> keras.optimizers.AdamW:
    """Copies an optimizer with its state into one that Keras can load by itself.

    It has the peak learning rate, from which a new schedule may begin. Keras saves
    neither which variables are spared from decay nor rates of layers: who goes on
    training with a loaded model says so again.

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
    known = {id(v): i for i, v in enumerate(trained._trainable_variables)}
    for slots in ("_momentums", "_velocities"):
        sources = getattr(trained, slots)
        for (_, original), slot in zip(pairs, getattr(optimizer, slots), strict=True):
            if id(original) in known:
                slot.assign(sources[known[id(original)]].numpy())
    return optimizer


def learning_rates(total_steps: int, config: TrainingConfig) -> np.ndarray:
    """Returns the learning rate of each step, float64 [total_steps].

    It climbs in equal steps to the peak during the warm-up. From there it stays
    (constant), or falls so that a step after the last one would have rate 0: in equal
    steps (linear) or along half a cosine.
    """
    warmup = round(total_steps * config.warmup_fraction)
    steps = np.arange(total_steps)
    climbing = (steps + 1) / max(warmup, 1)
    done = (steps - warmup) / max(total_steps - warmup, 1)
    falling = {
        "linear": 1 - done,
        "cosine": (1 + np.cos(np.pi * done)) / 2,
        "constant": np.ones(total_steps),
    }[config.schedule]
    return config.learning_rate * np.where(steps < warmup, climbing, falling)


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
