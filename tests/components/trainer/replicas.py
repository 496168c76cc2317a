"""Trains on two logical devices and on one, and prints how far the weights differ.

    python -m tests.components.trainer.replicas ENCODER DATASET DIRECTORY

A process of its own: TensorFlow divides the CPU only before it starts.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np

from reviewbeam.components.common.train_config import TrainConfig
from reviewbeam.components.trainer.display import TrainingDisplay
from reviewbeam.components.trainer.train import train


def main(encoder: str, dataset: str, directory: str) -> None:
    """Trains twice; the devices are all that differs."""
    summaries, weights, slots = {}, {}, {}
    for devices in (2, None):
        config = TrainConfig.model_validate(
            {
                "encoder": encoder,
                "model": {"dropout": 0, "encoder_dropout": 0, "freeze_layers": 0},
                "training": {
                    "learning_rate": 2e-3,
                    # The longest rows leave one row to a batch: fewer than devices.
                    "batch_tokens": 48,
                    "epochs": 1,
                    "clip_norm": 0.2,
                    "logical_cpus": devices,
                },
            }
        )
        output = Path(directory) / f"devices-{devices}"
        summaries[devices] = train(
            config, Path(dataset), output, display=TrainingDisplay(quiet=True)
        )
        model = keras.models.load_model(output / "model.keras")
        weights[devices] = [variable.numpy() for variable in model.weights]
        slots[devices] = [variable.numpy() for variable in model.optimizer.variables]
    print(
        json.dumps(
            {
                "replicas": [summaries[2]["replicas"], summaries[None]["replicas"]],
                "steps": int(slots[2][0]),
                "weights": _difference(weights[2], weights[None]),
                "slots": _difference(slots[2], slots[None]),
                "losses": [
                    _losses(Path(directory) / f"devices-{devices}")
                    for devices in (2, None)
                ],
            }
        )
    )


def _difference(left, right) -> float:
    pairs = zip(left, right, strict=True)
    return max(float(np.abs(one - other).max()) for one, other in pairs)


def _losses(output: Path) -> list[float]:
    epoch = json.loads((output / "history.json").read_text())["epochs"][0]
    return [epoch["training"]["loss"], epoch["validation"]["loss"]]


if __name__ == "__main__":
    main(*sys.argv[1:])
