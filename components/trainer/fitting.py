"""From a dataset and an encoder to a trained classifier, not yet written anywhere."""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from reviewbeam.components.common.encoder_directory import (
    Architecture,
    EncoderDirectory,
)
from reviewbeam.components.common.errors import listing
from reviewbeam.components.common.model_directory import ModelDirectory
from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.common.train_config import TrainConfig
from reviewbeam.components.trainer.checkpoint import Checkpoints
from reviewbeam.components.trainer.class_weights import (
    absent_classes,
    class_weights,
    label_weights,
)
from reviewbeam.components.trainer.dataset import Dataset
from reviewbeam.components.trainer.display import TrainingDisplay
from reviewbeam.components.trainer.heads import head_kind, initialise_thresholds
from reviewbeam.components.trainer.initial import NEVER, compared, take_over_weights
from reviewbeam.components.trainer.input import Split, concatenate, read_split
from reviewbeam.components.trainer.loop import Trainer, predict_split
from reviewbeam.components.trainer.lora import is_factor, merge_lora
from reviewbeam.components.trainer.losses import keras_loss, row_losses
from reviewbeam.components.trainer.metrics import Task
from reviewbeam.components.trainer.model import (
    build_classifier,
    empty_backbone,
    load_backbone,
    logits_model,
)
from reviewbeam.components.trainer.optimizer import plain_optimizer, training_optimizer
from reviewbeam.components.trainer.precision import resolve_precision
from reviewbeam.components.trainer.progress import Progress
from reviewbeam.components.trainer.sampling import described_mix
from reviewbeam.components.trainer.step import make_predict_step

_SHOWN_LANGUAGES = 8  # of the mix


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A trained classifier and what is known of its training.

    Attributes:
      classifier: plain, compiled, float32, with the weights of the best epoch.
      task: labels, head and losses.
      progress: the finished training.
      splits: `train` (with the augmented rows) and `validation`.
      logits: the classifier's, of the validation split; float32 [rows, …].
      class_weights: float32 [classes].
      precision: float32, bfloat16 or float16.
      mix: what an epoch sees of each language.
      against_initial: figures of the initial model and this one by language; None
        without one, or where its head could not be taken over.
    """

    classifier: keras.Model
    task: Task
    progress: Progress
    splits: dict[str, Split]
    logits: np.ndarray
    class_weights: np.ndarray
    precision: str
    mix: list[dict[str, Any]]
    against_initial: list[dict[str, Any]] | None


def fit_classifier(
    config: TrainConfig,
    data: Dataset,
    encoder: EncoderDirectory,
    strategy: tf.distribute.Strategy,
    checkpoints: Checkpoints,
    display: TrainingDisplay,
    initial: ModelDirectory | None = None,
    splits: dict[str, Split] | None = None,
) -> Fitted:
    """Trains a classifier, from its newest checkpoint where there is one.

    Args:
      config: of the job.
      data: a dataset that `check_trainable` let pass.
      encoder: the encoder directory.
      strategy: the devices.
      checkpoints: where the state is kept.
      display: what a person sees.
      initial: an earlier model to begin with.
      splits: of `read_splits`, where they are read already.

    Raises:
      UserError, ReviewbeamError, StoppedError: see `Trainer.fit`.
    """
    _seed(config)
    precision = resolve_precision(config.training, strategy.num_replicas_in_sync)
    splits = splits or read_splits(data)
    weights = _class_weights(config, data, display)
    task = _task(config, data.labels, weights)
    mix = _told_mix(splits["train"], config, display)
    classifier = _new_classifier(config, data, encoder, strategy, precision)
    fresh = initial and _take_over(classifier, data, config, initial, display)
    with strategy.scope():
        optimizer = training_optimizer(
            config.training, classifier.trainable_variables, encoder.architecture.layers
        )
    trainer = Trainer(
        strategy,
        classifier,
        optimizer,
        task,
        config,
        checkpoints,
        display,
        float16=precision == "float16",
    )
    validation, budget = splits["validation"], config.training.batch_tokens
    before = _initial_figures(trainer, task, validation, budget, fresh)
    with display:
        progress = trainer.fit(splits["train"], validation)
    copy = plain_copy(classifier, optimizer, encoder.architecture, data.labels, config)
    del classifier, optimizer, trainer  # three times the weights
    predict = make_predict_step(tf.distribute.get_strategy(), logits_model(copy))
    logits = predict_split(predict, validation, budget) if len(validation) else None
    against = before and compared(before, task.by_language(logits, validation))
    return Fitted(
        copy, task, progress, splits, logits, weights, precision, mix, against
    )


def read_splits(data: Dataset) -> dict[str, Split]:
    """Reads `train`, with the augmented rows, and `validation` into memory.

    Raises:
      UserError: a file isn't what the manifest says.
    """
    splits = {
        name: read_split(data.path, name, data.splits[name], data.labels)
        for name in ("train", "validation")
    }
    if data.augmented:
        extra = read_split(data.path, "augmented", data.augmented, data.labels)
        splits["train"] = concatenate([splits["train"], extra])
    return splits


def plain_copy(
    classifier: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    architecture: Architecture,
    labels: LabelRules,
    config: TrainConfig,
) -> keras.Model:
    """Copies model and optimizer out of the strategy, as plain float32 Keras objects.

    To be called outside of the strategy's scope. Low-rank factors are merged. The
    copy is compiled, so that who loads it can go on training with `fit`. It is made
    as loading makes it, to which no transformer layer is frozen, so that the
    optimizer's state is that of the variables which a loaded model trains.
    """
    merge_lora(classifier)
    model = config.model.model_copy(update={"lora": None, "freeze_layers": 0})
    copy = build_classifier(empty_backbone(architecture, model), labels, model)
    # By their order: the names in a pooling of the user's own depend on what was built
    # before.
    sources = [v for v in classifier.weights if not is_factor(v)]
    pairs = list(zip(copy.weights, sources, strict=True))
    for target, source in pairs:
        target.assign(source.numpy())
    trained = [pair for pair in pairs if pair[0].trainable]
    copy.compile(
        optimizer=plain_optimizer(optimizer, config.training, trained),
        loss=keras_loss(config.loss, head_kind(labels, model)),
    )
    return copy


def _seed(config: TrainConfig) -> None:
    keras.utils.set_random_seed(config.training.seed)
    if config.training.deterministic:
        tf.config.experimental.enable_op_determinism()


def _task(config: TrainConfig, labels: LabelRules, weights: np.ndarray) -> Task:
    kind = head_kind(labels, config.model)
    losses = row_losses(config.loss, kind, weights)
    return Task(labels.type, kind, len(labels.names), losses)


def _new_classifier(
    config: TrainConfig,
    data: Dataset,
    encoder: EncoderDirectory,
    strategy: tf.distribute.Strategy,
    precision: str,
) -> keras.Model:
    """Puts a new head on the encoder, on the strategy's devices."""
    with strategy.scope():
        dtype = "float32" if precision == "float32" else f"mixed_{precision}"
        backbone = load_backbone(str(encoder.path), config.model, dtype)
        classifier = build_classifier(backbone, data.labels, config.model)
    if head_kind(data.labels, config.model) == "cumulative":
        counts = data.training_labels()
        per_class = [counts.get(name, 0) for name in data.labels.names]
        initialise_thresholds(classifier, np.array(per_class))
    return classifier


def _take_over(
    classifier: keras.Model,
    data: Dataset,
    config: TrainConfig,
    initial: ModelDirectory,
    display: TrainingDisplay,
) -> list[int] | None:
    """Does what `take_over_weights` says, and tells when the whole head is new."""
    fresh = take_over_weights(classifier, data.labels, config, initial)
    if fresh is None:
        display.note(
            "the head begins anew: that of the earlier model is of another kind, "
            "or reads another pooling or hidden layer"
        )
    return fresh


def _initial_figures(
    trainer: Trainer,
    task: Task,
    validation: Split,
    budget: int,
    fresh: list[int] | None,
) -> dict[str | None, dict[str, Any]] | None:
    """Returns what the earlier model does by language, without labels new to it.

    None where its head was not taken over, or there is nothing to measure it on.
    """
    if fresh is None or not len(validation):
        return None
    logits = predict_split(trainer.predict, validation, budget)
    logits[:, fresh] = NEVER
    return task.by_language(logits, validation)


def _class_weights(config, data: Dataset, display: TrainingDisplay) -> np.ndarray:
    # Of what is trained on: short texts have fewer copies that differ, so the copies
    # of some classes are more than those of others.
    counts, names = data.training_labels(), data.labels.names
    absent = absent_classes(names, counts)
    if absent:
        display.note(
            f"warning: no training example has the label {listing(absent)}; the model "
            "will never predict it"
        )
    scheme = config.training.class_weights
    if data.labels.type == "multilabel":
        return label_weights(scheme, names, counts, data.training_examples())
    return class_weights(scheme, names, counts)


def _told_mix(
    train: Split, config: TrainConfig, display: TrainingDisplay
) -> list[dict[str, Any]]:
    """Returns what an epoch sees of each language, and tells it where it is chosen."""
    mix = described_mix(train, config.sampling)
    if config.sampling:
        shown = [
            f"{entry['language'] or 'unknown'} {entry['seen']} of {entry['rows']} rows"
            for entry in mix[:_SHOWN_LANGUAGES]
        ]
        more = len(mix) - _SHOWN_LANGUAGES
        rest = [f"… ({more} more)"] if more > 0 else []
        display.note("seen an epoch: " + ", ".join(shown + rest))
    return mix
