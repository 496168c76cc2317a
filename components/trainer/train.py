"""The training job: a dataset and an encoder in, a model directory out."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

from reviewbeam.components.common.artifacts import (
    fingerprint,
    read_json,
    read_manifest,
)
from reviewbeam.components.common.encoder_directory import (
    EncoderDirectory,
    open_encoder,
)
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.model_directory import (
    HISTORY,
    ModelDirectory,
    open_model,
    write_model_manifest,
)
from reviewbeam.components.common.publishing import (
    add_to_run_record,
    is_done,
    staged_output,
)
from reviewbeam.components.common.train_config import TrainConfig
from reviewbeam.components.trainer.checkpoint import (
    LOGS,
    Checkpoints,
    remove_left_over,
)
from reviewbeam.components.trainer.dataset import Dataset, check_trainable, open_dataset
from reviewbeam.components.trainer.devices import peak_memory, training_strategy
from reviewbeam.components.trainer.display import TrainingDisplay
from reviewbeam.components.trainer.fitting import fit_classifier
from reviewbeam.components.trainer.writing import write_model

RECIPE = 3  # raised when the same config and data would give another model


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
      or None), against_initial (figures of `initial` and this model by language, or
      None), and of a new model also what `run.json` has: seconds,
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
        remove_left_over(output, expected)
        return _summary(output) | {"done_before": True}
    with staged_output(output, "train", overwrite=overwrite) as staging:
        checkpoints = Checkpoints(output, expected, overwrite=overwrite)
        run = _train_into(staging, config, data, encoder, checkpoints, display, start)
        write_model_manifest(staging, expected, run.pop("core_fingerprint"))
        add_to_run_record(
            staging, dataset=str(data.path), encoder=str(encoder.path), **run
        )
    os.sync()  # the model is on the disk before its checkpoints go
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
    facts = {
        "tokens_per_second": round(display.tokens_per_second),
        "padding_share": round(display.padding_share, 4),
        "waiting_share": round(display.waiting_share, 4),
        "replicas": strategy.num_replicas_in_sync,
        "precision": fitted.precision,
    }
    display.note("writing the model")
    facts |= write_model(staging, fitted, config, data, encoder, initial)
    _copy_logs(checkpoints.folder / LOGS, staging / LOGS)
    return facts | {
        "seconds": round(time.monotonic() - started, 1),
        "peak_memory_bytes": peak_memory(),
    }


def _copy_logs(source: Path, target: Path) -> None:
    """Copies TensorBoard's files, whose names tell the host, under plain names."""
    target.mkdir()
    for number, path in enumerate(sorted(source.glob("*"))):
        shutil.copyfile(path, target / f"events.out.tfevents.{number}")


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
        "against_initial": history.get("against_initial"),
    }
