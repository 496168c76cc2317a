"""Trains on logical devices in several ways, and prints what came of each.

    python -m tests.components.trainer.replicas DEVICES ENCODER DATASET DIRECTORY

A process of its own for each number of devices: TensorFlow divides the CPU only before
it starts, and its collectives join groups of one size.
"""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from reviewbeam.components.common.encoder_directory import open_encoder
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.train_config import TrainConfig
from reviewbeam.components.trainer.checkpoint import Checkpoints
from reviewbeam.components.trainer.dataset import open_dataset
from reviewbeam.components.trainer.devices import training_strategy
from reviewbeam.components.trainer.display import TrainingDisplay
from reviewbeam.components.trainer.fitting import fit_classifier
from reviewbeam.components.trainer.step import TrainStep

WITHOUT_DROPOUT = {"embedding_dropout": 0, "encoder_dropout": 0, "dropout": 0}


class Killed(Exception):
    """Ends a fit in the middle."""


class Fits:
    """Fits on one dataset, each with checkpoints of its own name."""

    def __init__(self, devices: int, encoder: str, dataset: str, directory: str):
        self._strategies = {
            1: tf.distribute.get_strategy(),
            devices: training_strategy(devices),
        }
        self._encoder = encoder
        self._data = open_dataset(Path(dataset))
        self._directory = Path(directory)

    def fit(self, name, devices, *, model=None, stop=None, **training):
        """Fits on one or all devices.

        Args:
          name: of the checkpoints; a second fit of the same name goes on.
          devices: how many.
          model: config of the model; by default without dropout.
          stop: the step that never ends.
          **training: config of the training.

        Returns:
          The fitted classifier; None if it was stopped.
        """
        config = TrainConfig.model_validate(
            {
                "encoder": self._encoder,
                "model": {"freeze_layers": 0}
                | (WITHOUT_DROPOUT if model is None else model),
                # The longest rows leave one row to a batch: fewer than devices.
                "training": {
                    "learning_rate": 2e-3,
                    "batch_tokens": 48,
                    "epochs": 2,
                    "clip_norm": 0.2,
                }
                | training,
            }
        )
        call = TrainStep.__call__
        if stop:
            TrainStep.__call__ = _stopping(call, stop)
        try:
            return fit_classifier(
                config,
                self._data,
                open_encoder(self._encoder),
                self._strategies[devices],
                Checkpoints(self._directory / name, json.dumps(training)),
                TrainingDisplay(quiet=True),
            )
        except Killed:
            return None
        finally:
            TrainStep.__call__ = call


def _stopping(call, step):
    steps = iter(range(1, step + 1))

    def stopping(self, batches):
        if next(steps) == step:
            raise Killed
        return call(self, batches)

    return stopping


def main(devices: str, encoder: str, dataset: str, directory: str) -> None:
    """Fits in all ways; keeps the weights and the optimizer's state of each.

    The way `all` on all devices, and with two of them also `one` on one; `sums-2` and
    `sums-1`, accumulating; `stopped` and `whole`, with dropout in float16, the former
    in two goes; `bfloat16`.
    """
    fits = Fits(int(devices), encoder, dataset, directory)
    found = {}

    def keep(name, fitted):
        variables = fitted.classifier.weights + fitted.classifier.optimizer.variables
        arrays = [variable.numpy() for variable in variables]
        np.savez(Path(directory) / f"{name}.npz", *arrays)
        found[name] = dataclasses.asdict(fitted.progress)

    keep("all", fits.fit("all", int(devices)))
    if int(devices) == 2:
        keep("one", fits.fit("one", 1))
        for number in (2, 1):
            fitted = fits.fit(f"sums-{number}", number, accumulation=3, epochs=1)
            keep(f"sums-{number}", fitted)
        float16 = {"precision": "float16", "checkpoint_steps": 10, "epochs": 1}
        fits.fit("stopped", 2, model={}, stop=28, **float16)
        for name in ("stopped", "whole"):
            keep(name, fits.fit(name, 2, model={}, **float16))
        keep("bfloat16", fits.fit("bfloat16", 2, precision="bfloat16"))
        try:
            fits.fit("refused", 2, precision="float16", xla=True)
        except UserError as error:
            found["refused"] = str(error)
    print(json.dumps(found))


def few_steps(encoder: str, dataset: str, directory: str) -> None:
    """Fits `all` on two devices and `one` on one, without graphs, for few steps."""
    fits = Fits(2, encoder, dataset, directory)
    tf.config.run_functions_eagerly(True)
    for name, devices in (("all", 2), ("one", 1)):
        fitted = fits.fit(name, devices, epochs=1)
        arrays = [weight.numpy() for weight in fitted.classifier.weights]
        np.savez(Path(directory) / f"{name}.npz", *arrays)
        progress = json.dumps(dataclasses.asdict(fitted.progress))
        (Path(directory) / f"{name}.json").write_text(progress)


if __name__ == "__main__":
    main(*sys.argv[1:])
