"""The training job: a dataset and an encoder in, a model directory out."""

import dataclasses
import importlib.metadata
import platform
import resource
import shutil
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from reviewbeam.components.common.artifacts import (
    files_below,
    fingerprint,
    read_json,
    read_manifest,
    write_json,
    write_manifest,
)
from reviewbeam.components.common.calibration import Calibration
from reviewbeam.components.common.encoder_directory import (
    EncoderDirectory,
    open_encoder,
)
from reviewbeam.components.common.errors import listing
from reviewbeam.components.common.model_directory import (
    HISTORY,
    METADATA,
    VOCABULARY,
    ModelMetadata,
)
from reviewbeam.components.common.publishing import (
    add_to_run_record,
    is_done,
    staged_output,
)
from reviewbeam.components.common.train_config import TrainConfig
from reviewbeam.components.trainer.class_weights import absent_classes, class_weights
from reviewbeam.components.trainer.dataset import Dataset, check_trainable, open_dataset
from reviewbeam.components.trainer.devices import training_strategy
from reviewbeam.components.trainer.display import TrainingDisplay
from reviewbeam.components.trainer.export import (
    compare_exports,
    copy_for_export,
    export_model,
)
from reviewbeam.components.trainer.input import join, read_split
from reviewbeam.components.trainer.loop import Outcome, fit
from reviewbeam.components.trainer.model import (
    build_classifier,
    load_backbone,
    weights_sha256,
)
from reviewbeam.components.trainer.optimizer import training_optimizer

RECIPE = 1  # raised when the same config and data would give another model
_PACKAGES = ("reviewbeam", "tensorflow", "keras", "keras-hub", "numpy")


def train(
    config: TrainConfig,
    dataset: Path,
    output: Path,
    *,
    overwrite: bool = False,
    display: TrainingDisplay | None = None,
) -> dict[str, Any]:
    """Trains a classifier and publishes it as a model directory.

    Args:
      config: the job's config.
      dataset: the directory that `prepare` made.
      output: the model directory; it appears whole or not at all.
      overwrite: replace a model that was made from something else.
      display: what a person sees; None: progress on standard error.

    Returns:
      A summary: output, done_before (then nothing was trained), fingerprint,
      core_fingerprint, epochs, best_epoch, validation (loss, accuracy and macro_f1,
      or None), and of a new model also seconds, tokens_per_second (real tokens),
      replicas and peak_memory_bytes.

    Raises:
      UserError: the dataset, the encoder or the output can't be used.
      BusyError: another run trains into the same output.
      ReviewbeamError: training diverged, or the exports don't agree.
    """
    display = display or TrainingDisplay()
    encoder = open_encoder(config.encoder)
    data = open_dataset(Path(dataset))
    check_trainable(data, encoder, config)
    expected = _fingerprint(config, data, encoder)
    output = Path(output)
    if is_done(output, "model", expected, overwrite=overwrite):
        return _summary(output) | {"done_before": True}
    strategy = training_strategy(config.training.logical_cpus)
    with staged_output(output, "train", overwrite=overwrite) as staging:
        run = _train_into(staging, config, data, encoder, strategy, display)
        write_manifest(
            staging,
            "model",
            expected,
            files=files_below(staging),
            core_fingerprint=run.pop("core_fingerprint"),
        )
        add_to_run_record(
            staging, dataset=str(data.path), encoder=str(encoder.path), **run
        )
    return _summary(output) | run | {"done_before": False}


def _train_into(
    staging: Path,
    config: TrainConfig,
    data: Dataset,
    encoder: EncoderDirectory,
    strategy: tf.distribute.Strategy,
    display: TrainingDisplay,
) -> dict[str, Any]:
    """Fills the staging folder; returns the model's core and figures of the run."""
    started = time.monotonic()
    keras.utils.set_random_seed(config.training.seed)
    if config.training.deterministic:
        tf.config.experimental.enable_op_determinism()
    splits = {
        name: read_split(data.path, name, data.splits[name], data.labels.names)
        for name in ("train", "validation")
    }
    if data.augmented:
        extra = read_split(data.path, "augmented", data.augmented, data.labels.names)
        splits["train"] = join(splits["train"], extra)
    # Of what is trained on: short texts have fewer copies that differ, so the copies
    # of some classes are more than those of others.
    counts = data.training_labels()
    weights = class_weights(config.training.class_weights, data.labels.names, counts)
    absent = absent_classes(data.labels.names, counts)
    if absent:
        display.note(
            f"warning: no training example has the label {listing(absent)}; the model "
            "will never predict it"
        )
    with strategy.scope():
        backbone = load_backbone(str(encoder.path), config.model)
        classifier = build_classifier(backbone, data.labels, config.model)
        optimizer = training_optimizer(config.training, classifier.trainable_variables)
    with display:
        outcome = fit(
            strategy,
            classifier,
            optimizer,
            config.training,
            weights,
            splits["train"],
            splits["validation"],
            display,
        )
    display.note("writing the model")
    copy = copy_for_export(classifier, optimizer, config.training)
    del backbone, classifier, optimizer  # three times the weights would be in memory
    export_model(copy, staging)
    metadata = _metadata(config, data, encoder, weights, weights_sha256(copy))
    del copy
    reviews = splits["validation"] if len(splits["validation"]) else splits["train"]
    difference = compare_exports(staging, reviews, config.training.seed)
    write_json(staging / METADATA, metadata.model_dump(mode="json"))
    write_json(staging / HISTORY, _history(outcome))
    (staging / VOCABULARY).parent.mkdir()
    shutil.copyfile(encoder.vocabulary, staging / VOCABULARY)
    return {
        "core_fingerprint": metadata.core_fingerprint(),
        "seconds": round(time.monotonic() - started, 1),
        "tokens_per_second": round(display.tokens_per_second),
        "replicas": strategy.num_replicas_in_sync,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "largest_export_difference": difference,
    }


def _metadata(
    config: TrainConfig,
    data: Dataset,
    encoder: EncoderDirectory,
    weights: np.ndarray,
    sha256: str,
) -> ModelMetadata:
    return ModelMetadata(
        labels=data.labels,
        text=data.text,
        split=data.split,
        config=config,
        language_detector=data.language_detector,
        vocabulary_sha256=encoder.vocabulary_sha256,
        weights_sha256=sha256,
        encoder_fingerprint=encoder.content,
        dataset_fingerprint=data.fingerprint,
        class_weights=tuple(float(weight) for weight in weights),
        initial_model=None,
        calibration=Calibration(thresholds=(0.5,) * (data.labels.type == "binary")),
        training_statistics=data.statistics(),
        versions={"python": platform.python_version()}
        | {package: importlib.metadata.version(package) for package in _PACKAGES},
    )


def _history(outcome: Outcome) -> dict[str, Any]:
    return {
        "best_epoch": outcome.best_epoch,
        "validation": outcome.metrics and dataclasses.asdict(outcome.metrics),
        "epochs": outcome.history,
    }


def _fingerprint(config: TrainConfig, data: Dataset, encoder: EncoderDirectory) -> str:
    """Identifies the job's inputs: what they contain, not where they lie."""
    return fingerprint(
        {
            "recipe": RECIPE,
            "config": config.model_dump(mode="json", exclude={"encoder"}),
            "dataset": data.fingerprint,
            "encoder": encoder.content,
        }
    )


def _summary(output: Path) -> dict[str, Any]:
    manifest = read_manifest(output, "model")
    history = read_json(output / HISTORY)
    return {
        "output": str(output),
        "fingerprint": manifest["fingerprint"],
        "core_fingerprint": manifest["core_fingerprint"],
        "epochs": len(history["epochs"]),
        "best_epoch": history["best_epoch"],
        "validation": history["validation"],
    }
