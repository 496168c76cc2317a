"""Curves of a training for TensorBoard."""

import dataclasses
from pathlib import Path

import tensorflow as tf

from reviewbeam.components.trainer.metrics import ValidationMetrics

# What `tf.summary.scalar` writes; it takes TensorBoard itself, which TensorFlow no
# longer brings.
_SCALAR = tf.compat.v1.SummaryMetadata(
    plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"),
)


class Board:
    """Writes scalars by step; a context manager.

    A training that is taken up writes a file of its own beside the earlier ones.
    """

    def __init__(self, folder: Path):
        self._writer = tf.summary.create_file_writer(str(folder))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._writer.close()

    def step(self, step: int, **scalars: float) -> None:
        """Writes figures of a training step."""
        with self._writer.as_default(step):
            for name, value in scalars.items():
                _write(f"training/{name}", value)

    def validation(self, step: int, metrics: ValidationMetrics) -> None:
        """Writes the metrics of an epoch at the step it ended with."""
        with self._writer.as_default(step):
            for name, value in dataclasses.asdict(metrics).items():
                if value is not None:
                    _write(f"validation/{name}", value)


def _write(tag: str, value: float) -> None:
    tf.summary.write(tag, tf.constant(value, tf.float32), metadata=_SCALAR)
