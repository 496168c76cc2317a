"""The training loop: epochs of planned steps, validation, early stopping."""

import dataclasses
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from reviewbeam.components.common.errors import ReviewbeamError, listing
from reviewbeam.components.common.train_config import TrainingConfig
from reviewbeam.components.trainer.batches import (
    BatchPlan,
    plan_batches,
    plan_in_order_of_length,
)
from reviewbeam.components.trainer.display import TrainingDisplay
from reviewbeam.components.trainer.input import Split, batches
from reviewbeam.components.trainer.metrics import ValidationMetrics, validation_metrics
from reviewbeam.components.trainer.model import logits_model
from reviewbeam.components.trainer.optimizer import learning_rates
from reviewbeam.components.trainer.step import make_predict_step, make_train_step


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What training came to.

    Attributes:
      history: one entry for each epoch, for `history.json`.
      best_epoch: whose weights the model has now; counted from 1.
      metrics: of the validation split with these weights; None without one.
    """

    history: list[dict[str, Any]]
    best_epoch: int
    metrics: ValidationMetrics | None


def fit(
    strategy: tf.distribute.Strategy,
    classifier: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    config: TrainingConfig,
    class_weights: np.ndarray,
    train: Split,
    validation: Split,
    display: TrainingDisplay,
) -> Outcome:
    """Trains a classifier; the model and optimizer end in the best epoch's state.

    Args:
      strategy: the devices, in whose scope model and optimizer were made.
      classifier: the model, changed in place.
      optimizer: built on the classifier's trainable variables, changed in place.
      config: the optimisation.
      class_weights: float32 [classes].
      train: the rows to learn from.
      validation: the rows to choose the epoch by; may be empty without early
        stopping.
      display: what a person sees.

    Raises:
      ReviewbeamError: a loss is not finite.
    """
    model = logits_model(classifier)
    train_step = make_train_step(strategy, model, optimizer, class_weights)
    predict = make_predict_step(strategy, model)
    plans = [
        plan_batches(train.lengths, config.batch_tokens, config.seed, epoch)
        for epoch in range(config.epochs)
    ]
    total_steps = sum(len(plan) for plan in plans)
    rates = learning_rates(total_steps, config.learning_rate, config.warmup_fraction)
    best = _Best(config)
    history = []
    step = 0
    display.begin(total_steps)
    for epoch, plan in enumerate(plans):
        display.begin_epoch(epoch + 1, config.epochs)
        epoch_rates = rates[step : step + len(plan)]
        loss = _train_epoch(
            train_step, optimizer, train, plan, epoch_rates, step, display
        )
        step += len(plan)
        metrics = None
        if len(validation):
            logits = predict_split(predict, validation, config.batch_tokens)
            metrics = validation_metrics(logits, validation.labels, class_weights)
        display.end_epoch(loss, metrics)
        history.append(
            {
                "epoch": epoch + 1,
                "steps": step,
                "learning_rate": float(epoch_rates[-1]),
                "padding_share": round(plan.padding_share, 4),
                "training": {"loss": loss},
                "validation": metrics and dataclasses.asdict(metrics),
            }
        )
        state = [*classifier.trainable_variables, *optimizer.variables]
        best.update(epoch + 1, metrics, state)
        if best.is_out_of_patience(epoch + 1):
            break
    if best.epoch < len(history):
        display.note(
            f"no better {config.early_stopping_metric} since epoch {best.epoch}: its "
            "weights are kept"
        )
    best.restore(state)
    return Outcome(history, best.epoch, best.metrics)


def predict_split(predict, split: Split, batch_tokens: int) -> np.ndarray:
    """Returns the logits of a split's rows in their order, float32 [rows, logits]."""
    plan = plan_in_order_of_length(split.lengths, batch_tokens)
    logits = np.concatenate(
        [predict(token_ids) for token_ids, _ in batches(split, plan)]
    )
    ordered = np.empty_like(logits)
    ordered[plan.rows] = logits
    return ordered


class _Best:
    """The best epoch so far, or just the last one, and a copy of its state."""

    def __init__(self, config: TrainingConfig):
        self.epoch = 0
        self.metrics: ValidationMetrics | None = None
        self._config = config
        self._values: list[np.ndarray] = []

    def update(self, epoch, metrics, state) -> None:
        metric = self._config.early_stopping_metric
        if metric != "none" and not metrics.better_than(self.metrics, metric):
            return
        self.epoch, self.metrics = epoch, metrics
        self._values = []  # freed before the new copy is made
        if metric != "none" and epoch < self._config.epochs:
            self._values = [variable.numpy() for variable in state]

    def is_out_of_patience(self, epoch) -> bool:
        return epoch - self.epoch >= self._config.patience

    def restore(self, state) -> None:
        if self._values:  # none where the best epoch was the last
            for variable, value in zip(state, self._values, strict=True):
                variable.assign(value)


def _train_epoch(
    train_step,
    optimizer,
    train: Split,
    plan: BatchPlan,
    rates: np.ndarray,
    steps_before: int,
    display: TrainingDisplay,
) -> float:
    """Returns the mean loss over the rows of an epoch."""
    total = 0.0
    for index, (token_ids, labels) in enumerate(batches(train, plan)):
        # A plain number, and no schedule object: the saved optimizer loads anywhere.
        optimizer.learning_rate.assign(rates[index])
        loss = float(train_step(token_ids, labels))
        rows = plan.batch(index)
        if not math.isfinite(loss):
            raise ReviewbeamError(
                f"The loss of step {steps_before + index + 1} is {loss}, so training "
                "was stopped. Try a lower training.learning_rate. The batch's "
                f"examples: {listing(train.example_ids(rows))}."
            )
        total += loss * len(rows)
        display.step(loss, int(plan.tokens[index]), int(plan.cells[index]))
    return total / len(train)
