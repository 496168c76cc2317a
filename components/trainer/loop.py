"""The training loop: planned steps, validation, checkpoints, early stopping."""

import dataclasses
import itertools
import math
import time
from collections.abc import Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

from reviewbeam.components.common.errors import (
    ReviewbeamError,
    StoppedError,
    UserError,
    listing,
)
from reviewbeam.components.common.train_config import TrainConfig
from reviewbeam.components.trainer.batches import (
    BatchPlan,
    mates_kept,
    plan_batches,
    plan_in_order_of_length,
)
from reviewbeam.components.trainer.board import Board
from reviewbeam.components.trainer.checkpoint import LOGS, Checkpoints
from reviewbeam.components.trainer.display import TrainingDisplay
from reviewbeam.components.trainer.input import Split, batches
from reviewbeam.components.trainer.interruption import StopSignals
from reviewbeam.components.trainer.metrics import Task
from reviewbeam.components.trainer.model import logits_model
from reviewbeam.components.trainer.optimizer import learning_rates
from reviewbeam.components.trainer.progress import Progress
from reviewbeam.components.trainer.sampling import epoch_rows
from reviewbeam.components.trainer.step import TrainStep, make_predict_step


class Trainer:
    """Trains a classifier; the model and optimizer end in the best epoch's state."""

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        classifier: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        task: Task,
        config: TrainConfig,
        checkpoints: Checkpoints,
        display: TrainingDisplay,
        *,
        float16: bool = False,
    ):
        """Prepares the steps.

        Args:
          strategy: the devices, in whose scope model and optimizer were made.
          classifier: the model, changed in place.
          optimizer: built on the classifier's trainable variables, changed in place.
          task: labels, head and losses.
          config: of the job.
          checkpoints: where the state is kept, and taken up.
          display: what a person sees.
          float16: the model computes in float16.
        """
        model = logits_model(classifier)
        training = config.training
        self.predict = make_predict_step(strategy, model)
        self.progress = Progress()
        self._step = TrainStep(
            strategy,
            model,
            optimizer,
            task.losses,
            multilabel=task.label_type == "multilabel",
            accumulation=training.accumulation,
            float16=float16,
            xla=training.xla,
        )
        self._float16 = float16
        self._optimizer = optimizer
        self._task = task
        self._config = config
        self._training = training
        self._checkpoints = checkpoints
        self._display = display
        self._variables = [*_trained(classifier), *optimizer.variables]

    def fit(self, train: Split, validation: Split) -> Progress:
        """Trains to the end, from the newest checkpoint where there is one.

        Args:
          train: the rows to learn from.
          validation: the rows to choose the epoch by; may be empty without early
            stopping.

        Raises:
          StoppedError: a signal came; the state is saved.
          ReviewbeamError: a loss is not finite.
          UserError: a batch doesn't fit into the device's memory.
        """
        counts = [len(self._plan(train, e)) for e in range(self._training.epochs)]
        steps = sum(-(-count // self._training.accumulation) for count in counts)
        rates = learning_rates(steps, self._training)
        self._display.begin(steps)
        self._take_up()
        self._tell_shuffling(train)
        progress = self.progress
        logs = self._checkpoints.folder / LOGS
        with StopSignals() as stop, Board(logs) as board:
            while not progress.finished:
                plan = self._plan(train, progress.epoch)
                self._train_epoch(train, plan, rates, board, stop)
                self._end_epoch(plan, validation, rates, board)
                self._save()
                self._stop_if_asked(stop, steps)
        if progress.best_epoch < len(progress.history):
            self._display.note(
                f"no better {self._training.early_stopping_metric} since epoch "
                f"{progress.best_epoch}: its weights are kept"
            )
        if self._training.early_stopping_metric != "none":
            self._checkpoints.restore_best(progress.best_epoch, self._variables)
        return progress

    def _take_up(self) -> None:
        state = self._checkpoints.state()
        if state is None:
            return
        self.progress = Progress.from_state(state)
        self._checkpoints.restore(self._variables)
        # Another device may compute in another precision.
        if self._float16 and self.progress.loss_scale is not None:
            self._step.loss_scale = self.progress.loss_scale
            self._step.good_steps = self.progress.good_steps
        self._display.take_up(self.progress.step)

    def _plan(self, train: Split, epoch: int) -> BatchPlan:
        """Plans an epoch; not all at once, which takes 8 bytes a row for each."""
        training = self._training
        return plan_batches(
            epoch_rows(train, self._config.sampling, training.seed, epoch),
            train.lengths,
            training.batch_tokens,
            training.seed,
            epoch,
            few_shapes=training.xla,
        )

    def _tell_shuffling(self, train: Split) -> None:
        plan = self._plan(train, 0)
        lengths = np.unique(plan.shapes[:, 1])
        line = (
            f"{len(plan)} batches an epoch, of {len(lengths)} lengths, "
            f"{plan.padding_share:.1%} padding"
        )
        if self._training.epochs > 1:
            kept = mates_kept(plan, self._plan(train, 1))
            line += f"; {kept:.0%} of a row's batch mates are so again an epoch later"
        self._display.note(line)

    def _train_epoch(self, train, plan, rates, board, stop) -> None:
        progress, training = self.progress, self._training
        self._display.begin_epoch(progress.epoch + 1, training.epochs)
        feed = batches(train, plan, first=progress.batch)
        for group, waited in _groups(feed, training.accumulation):
            done = range(progress.batch, progress.batch + len(group))
            # A plain number, and no schedule object: the saved optimizer loads
            # anywhere.
            rate = rates[progress.step]
            self._optimizer.learning_rate.assign(rate)
            rows = np.concatenate([plan.batch(index) for index in done])
            loss = self._checked_step(train, group, rows)
            progress.count_step(loss, len(rows), rate, planned=len(rates))
            progress.batch += len(group)
            tokens, cells = plan.tokens[done].sum(), plan.cells[done].sum()
            self._display.step(loss, int(tokens), int(cells), waited)
            board.step(
                progress.step,
                loss=loss,
                learning_rate=rate,
                tokens_per_second=self._display.tokens_per_second,
            )
            due = progress.step % training.checkpoint_steps == 0
            if stop.received or (due and progress.batch < len(plan)):
                self._save()
                self._stop_if_asked(stop, len(rates))

    def _checked_step(self, train: Split, group, rows: np.ndarray) -> float:
        try:
            loss = self._step(group)
        except tf.errors.ResourceExhaustedError:
            raise UserError(self._out_of_memory(group)) from None
        if not math.isfinite(loss):
            # The same command would come to the same step again.
            self._checkpoints.remove()
            raise ReviewbeamError(
                f"The loss of step {self.progress.step + 1} is {loss}, so training "
                "was stopped. Try a lower training.learning_rate. The batch's "
                f"examples: {listing(train.example_ids(rows))}."
            )
        return loss

    def _out_of_memory(self, group) -> str:
        rows, length = max((tuple(b.token_ids.shape) for b in group), key=math.prod)
        tokens = self._training.batch_tokens
        return (
            f"The device's memory is not enough for a batch of {rows} rows x {length} "
            f"tokens. Try training.batch_tokens={tokens // 2} with "
            f"training.accumulation={self._training.accumulation * 2}: about the same "
            "rows a step (with --overwrite, where checkpoints stand). What is frozen "
            "or adapted (model.freeze_layers, model.lora) and training.precision count "
            "too."
        )

    def _end_epoch(self, plan, validation, rates, board) -> None:
        progress, training = self.progress, self._training
        metrics = None
        if len(validation):
            logits = predict_split(self.predict, validation, training.batch_tokens)
            metrics = self._task.metrics(logits, validation.labels)
            board.validation(progress.step, metrics)
        loss = progress.loss / len(plan.rows)
        self._display.end_epoch(loss, metrics)
        progress.epoch += 1
        progress.history.append(
            {
                "epoch": progress.epoch,
                "steps": progress.step,
                "learning_rate": float(rates[progress.step - 1]),
                "padding_share": round(plan.padding_share, 4),
                "training": {"loss": loss},
                "validation": metrics and dataclasses.asdict(metrics),
            }
        )
        progress.batch, progress.loss = 0, 0.0
        metric = training.early_stopping_metric
        if metric == "none":
            progress.best_epoch, progress.best = progress.epoch, metrics
        elif metrics.better_than(progress.best, metric):
            progress.best_epoch, progress.best = progress.epoch, metrics
            self._checkpoints.save_best(progress.epoch, self._variables)
        progress.finished = (
            progress.epoch == training.epochs
            or progress.epoch - progress.best_epoch >= training.patience
        )

    def _save(self) -> None:
        self.progress.loss_scale = self._step.loss_scale if self._float16 else None
        self.progress.good_steps = self._step.good_steps
        self._checkpoints.save(dataclasses.asdict(self.progress), self._variables)

    def _stop_if_asked(self, stop: StopSignals, steps: int) -> None:
        if stop.received:
            raise StoppedError(
                f"stopped by {stop.received} at step {self.progress.step} of {steps}; "
                "the state is saved, and the same command goes on from there."
            )


def predict_split(predict, split: Split, batch_tokens: int) -> np.ndarray:
    """Returns the logits of a split's rows in their order, float32 [rows, logits]."""
    plan = plan_in_order_of_length(split.lengths, batch_tokens)
    logits = np.concatenate(
        [predict(batch.token_ids) for batch in batches(split, plan)]
    )
    ordered = np.empty_like(logits)
    ordered[plan.rows] = logits
    return ordered


def _trained(classifier: keras.Model) -> list[keras.Variable]:
    """What training changes: weights that aren't frozen, and the seeds of dropout.

    A pooling of the user's own may have weights that follow without a gradient, as
    running averages do.
    """
    weights = {id(variable) for variable in classifier.weights}
    seeds = [v for v in classifier.variables if id(v) not in weights]
    following = [
        v
        for v in classifier.non_trainable_weights
        if not v.path.startswith(("embeddings", "transformer_layer_"))
    ]
    return [*classifier.trainable_variables, *following, *seeds]


def _groups(feed: Iterable, size: int) -> Iterator[tuple[list, float]]:
    """Yields the batches of each step, and the seconds that were waited for them."""
    iterator = iter(feed)
    started = time.monotonic()
    while group := list(itertools.islice(iterator, size)):
        yield group, time.monotonic() - started
        started = time.monotonic()
