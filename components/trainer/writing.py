"""Writes what was trained as a model directory: every form, and what is known of it."""

import dataclasses
import importlib.metadata
import platform
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from reviewbeam.components.common.artifacts import write_json, write_text
from reviewbeam.components.common.calibration import Calibration, calibrated, decide
from reviewbeam.components.common.encoder_directory import EncoderDirectory
from reviewbeam.components.common.model_directory import (
    HISTORY,
    HUGGING_FACE,
    METADATA,
    MODEL_CARD,
    VOCABULARY,
    ModelDirectory,
    ModelMetadata,
)
from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.common.serving_statistics import count_predictions
from reviewbeam.components.common.train_config import TrainConfig
from reviewbeam.components.trainer.calibrate import (
    calibration_report,
    fit_calibration,
    prediction_statistics,
)
from reviewbeam.components.trainer.custom import custom_objects
from reviewbeam.components.trainer.dataset import Dataset
from reviewbeam.components.trainer.export import compare_exports, export_model
from reviewbeam.components.trainer.fitting import Fitted
from reviewbeam.components.trainer.hf_export import export_hf
from reviewbeam.components.trainer.model import weights_sha256
from reviewbeam.components.trainer.model_card import model_card
from reviewbeam.components.trainer.texts_seen import write_texts_seen

_PACKAGES = ("reviewbeam", "tensorflow", "keras", "keras-hub", "numpy")


def write_model(
    directory: Path,
    fitted: Fitted,
    config: TrainConfig,
    data: Dataset,
    encoder: EncoderDirectory,
    initial: ModelDirectory | None,
) -> dict[str, Any]:
    """Calibrates a classifier and fills a model directory, all but the manifest.

    Args:
      directory: an empty folder, or one with the run's record.
      fitted: what was trained.
      config: of the job.
      data: what it was trained on.
      encoder: what it was trained from.
      initial: the model that was begun with.

    Returns:
      core_fingerprint, and for the run's record what `compare_exports` tells and
      without_hf (why there is no Hugging Face directory; None: there is one).

    Raises:
      ReviewbeamError: the written forms don't agree.
    """
    # The forms are compared in full float32, which newer GPUs don't compute in.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    metadata = _metadata(config, data, encoder, fitted, initial)
    history = _history(fitted)
    export_model(fitted.classifier, directory)
    without_hf = export_hf(
        fitted.classifier, metadata, encoder.vocabulary, directory / HUGGING_FACE
    )
    write_json(directory / METADATA, metadata.model_dump(mode="json"))
    write_json(directory / HISTORY, history)
    write_texts_seen(directory, data, initial)
    (directory / VOCABULARY).parent.mkdir()
    shutil.copyfile(encoder.vocabulary, directory / VOCABULARY)
    reviews = fitted.splits["validation"]
    by_language = {}
    if len(reviews):
        by_language = fitted.task.by_language(fitted.logits, reviews)
    facts = compare_exports(
        directory,
        reviews if len(reviews) else fitted.splits["train"],
        config.training.seed,
        single_label=data.labels.type != "multilabel",
        custom_objects=custom_objects(config),
    )
    card = model_card(
        metadata,
        history,
        by_language=by_language,
        hf_obstacle=without_hf,
        hf_compared=facts["hf_compared"],
    )
    write_text(directory / MODEL_CARD, card)
    core = {"core_fingerprint": metadata.core_fingerprint(), "without_hf": without_hf}
    return core | facts


def _metadata(
    config: TrainConfig,
    data: Dataset,
    encoder: EncoderDirectory,
    fitted: Fitted,
    initial: ModelDirectory | None,
) -> ModelMetadata:
    calibration, predictions = _calibrate(fitted, data.labels)
    return ModelMetadata(
        labels=data.labels,
        text=data.text,
        split=data.split,
        config=config,
        language_detector=data.language_detector,
        vocabulary_sha256=encoder.vocabulary_sha256,
        weights_sha256=weights_sha256(fitted.classifier),
        encoder_fingerprint=encoder.content,
        dataset_fingerprint=data.fingerprint,
        class_weights=tuple(fitted.class_weights.tolist()),
        initial_model=initial and initial.core_fingerprint,
        calibration=calibration,
        training_statistics=data.statistics() | {"predictions": predictions},
        versions={"python": platform.python_version()}
        | {package: importlib.metadata.version(package) for package in _PACKAGES},
    )


def _calibrate(
    fitted: Fitted, labels: LabelRules
) -> tuple[Calibration, dict[str, Any] | None]:
    """Returns the calibration, and what the model predicts on validation."""
    kind, validation = labels.type, fitted.splits["validation"]
    codes, names = validation.language_codes()
    languages = [names[code] for code in codes]
    found = np.zeros((0, len(labels.names)), np.float32)
    if len(validation):
        found = fitted.task.probabilities(fitted.logits)
    calibration = fit_calibration(found, validation.labels, languages, kind)
    if not len(validation):
        return calibration, None
    report = calibration_report(found, validation.labels, languages, kind, calibration)
    found = calibrated(found, languages, kind, calibration)
    decided = decide(found, languages, kind, calibration)
    statistics = prediction_statistics(found, decided, languages, labels.names, kind)
    histograms = count_predictions(
        found, decided, labels.names, kind, validation.counts
    )
    return calibration, statistics | {"calibration": report, "histograms": histograms}


def _history(fitted: Fitted) -> dict[str, Any]:
    progress = fitted.progress
    history = {
        "best_epoch": progress.best_epoch,
        "validation": progress.best and dataclasses.asdict(progress.best),
        "epochs": progress.history,
        "curve": progress.points(),
        "seen": fitted.mix,
    }
    if fitted.against_initial:
        history["against_initial"] = fitted.against_initial
    return history
