"""The training job: a dataset and an encoder in, a model directory out."""

import dataclasses
import importlib.metadata
import platform
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from reviewbeam.components.common.artifacts import (
    files_below,
    fingerprint,
    read_json,
    read_manifest,
    write_json,
    write_manifest,
)
from reviewbeam.components.common.calibration import Calibration, calibrated, decide
from reviewbeam.components.common.encoder_directory import (
    EncoderDirectory,
    open_encoder,
)
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.model_directory import (
    HISTORY,
    HUGGING_FACE,
    METADATA,
    VOCABULARY,
    ModelDirectory,
    ModelMetadata,
    open_model,
)
from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.common.publishing import (
    add_to_run_record,
    is_done,
    staged_output,
)
from reviewbeam.components.common.train_config import TrainConfig
from reviewbeam.components.trainer.calibrate import (
    calibration_report,
    fit_calibration,
    prediction_statistics,
)
from reviewbeam.components.trainer.checkpoint import LOGS, Checkpoints
from reviewbeam.components.trainer.custom import custom_objects
from reviewbeam.components.trainer.dataset import Dataset, check_trainable, open_dataset
from reviewbeam.components.trainer.devices import peak_memory, training_strategy
from reviewbeam.components.trainer.display import TrainingDisplay
from reviewbeam.components.trainer.export import compare_exports, export_model
from reviewbeam.components.trainer.fitting import Fitted, fit_classifier
from reviewbeam.components.trainer.hf_export import export_hf
from reviewbeam.components.trainer.model import weights_sha256

RECIPE = 2  # raised when the same config and data would give another model
_PACKAGES = ("reviewbeam", "tensorflow", "keras", "keras-hub", "numpy")


def train(
    config: TrainConfig,
    dataset: Path,
    output: Path,
    *,
    initial: Path | None = None,
    overwrite: bool = False,
    display: TrainingDisplay | None = None,
) -> dict[str, Any]:
    """Trains a classifier and publishes it as a model directory.

    Args:
      config: the job's config.
      dataset: the directory that `prepare` made.
      output: the model directory; it appears whole or not at all.
      initial: a model directory whose weights are begun with.
      overwrite: replace a model that was made from something else, and discard
        checkpoints of another training.
      display: what a person sees; None: progress on standard error.

    Returns:
      A summary: output, done_before (then nothing was trained), fingerprint,
      core_fingerprint, epochs, best_epoch, validation (loss, accuracy and macro_f1,
      or None), and of a new model also what `run.json` has: seconds,
      tokens_per_second (real tokens), replicas, precision, peak_memory_bytes and more.

    Raises:
      UserError: the dataset, the encoder or the output can't be used.
      BusyError: another run trains into the same output.
      StoppedError: a signal came; the same command goes on.
      ReviewbeamError: training diverged, or the exports don't agree.
    """
    display = display or TrainingDisplay()
    encoder = open_encoder(config.encoder)
    data = open_dataset(Path(dataset))
    check_trainable(data, encoder, config)
    start = None if initial is None else open_model(str(initial))
    if start is not None and start.metadata.vocabulary_sha256 != data.vocabulary_sha256:
        raise UserError(
            f"The model {str(initial)!r} has another vocabulary than the dataset "
            f"{str(dataset)!r}. Begin with a model of the encoder that prepare used."
        )
    expected = _fingerprint(config, data, encoder, start)
    output = Path(output)
    if is_done(output, "model", expected, overwrite=overwrite):
        return _summary(output) | {"done_before": True}
    with staged_output(output, "train", overwrite=overwrite) as staging:
        checkpoints = Checkpoints(output, expected, overwrite=overwrite)
        run = _train_into(staging, config, data, encoder, checkpoints, display, start)
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
    checkpoints.remove()
    return _summary(output) | run | {"done_before": False}


def _train_into(
    staging: Path,
    config: TrainConfig,
    data: Dataset,
    encoder: EncoderDirectory,
    checkpoints: Checkpoints,
    display: TrainingDisplay,
    initial: ModelDirectory | None,
) -> dict[str, Any]:
    """Fills the staging folder; returns the model's core and figures of the run."""
    started = time.monotonic()
    strategy = training_strategy(config.training.logical_cpus)
    fitted = fit_classifier(
        config, data, encoder, strategy, checkpoints, display, initial
    )
    display.note("writing the model")
    facts = {
        "tokens_per_second": round(display.tokens_per_second),
        "padding_share": round(display.padding_share, 4),
        "waiting_share": round(display.waiting_share, 4),
        "replicas": strategy.num_replicas_in_sync,
        "precision": fitted.precision,
    }
    metadata = _metadata(config, data, encoder, fitted, initial)
    export_model(fitted.classifier, staging)
    without_hf = export_hf(
        fitted.classifier, metadata, encoder.vocabulary, staging / HUGGING_FACE
    )
    write_json(staging / METADATA, metadata.model_dump(mode="json"))
    write_json(staging / HISTORY, _history(fitted))
    (staging / VOCABULARY).parent.mkdir()
    shutil.copyfile(encoder.vocabulary, staging / VOCABULARY)
    compared = fitted.splits["validation"]
    if not len(compared):
        compared = fitted.splits["train"]
    del fitted  # each form is loaded again, one after the other
    facts |= compare_exports(
        staging,
        compared,
        config.training.seed,
        single_label=data.labels.type != "multilabel",
        custom_objects=custom_objects(config),
    )
    if (checkpoints.folder / LOGS).is_dir():
        shutil.copytree(checkpoints.folder / LOGS, staging / LOGS)
    return facts | {
        "without_hf": without_hf,
        "core_fingerprint": metadata.core_fingerprint(),
        "seconds": round(time.monotonic() - started, 1),
        "peak_memory_bytes": peak_memory(),
    }


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
    return calibration, statistics | {"calibration": report}


def _history(fitted: Fitted) -> dict[str, Any]:
    progress = fitted.progress
    history = {
        "best_epoch": progress.best_epoch,
        "validation": progress.best and dataclasses.asdict(progress.best),
        "epochs": progress.history,
        "seen": fitted.mix,
    }
    if fitted.against_initial:
        history["against_initial"] = fitted.against_initial
    return history


def _fingerprint(
    config: TrainConfig,
    data: Dataset,
    encoder: EncoderDirectory,
    initial: ModelDirectory | None,
) -> str:
    """Identifies the job's inputs: what they contain, not where they lie."""
    return fingerprint(
        {
            "recipe": RECIPE,
            "config": config.model_dump(
                mode="json", exclude={"encoder": True, "training": {"checkpoint_steps"}}
            ),
            "dataset": data.fingerprint,
            "encoder": encoder.content,
            "initial_model": initial and initial.core_fingerprint,
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
