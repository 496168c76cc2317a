"""The engines that run a model: one interface, chosen by name."""

from pathlib import Path
from typing import Protocol

import numpy as np

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.model_directory import SAVED_MODEL
from reviewbeam.components.inference import openvino_library
from reviewbeam.components.inference.quantized import (
    INT8_MODEL,
    check_processor,
    files_fingerprint,
    open_quantized,
)
from reviewbeam.components.inference.safe_saved_model import check_saved_model

TENSORFLOW = "tensorflow"
OPENVINO = "openvino"
OPENVINO_INT8 = "openvino-int8"


class Engine(Protocol):
    """A model that is loaded and ready."""

    concurrency: int  # calls at once that make the most of its threads

    def probabilities(self, token_ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Returns float32 [rows, classes] for int32 [rows, length] inputs."""


def exact_engines() -> list[str]:
    """Returns the installed engines that give the model's own probabilities."""
    return [TENSORFLOW, *([OPENVINO] if openvino_library.is_installed() else [])]


def load_engine(
    choice: str,
    model: Path,
    *,
    core_fingerprint: str,
    classes: int,
    threads: int,
    xla: bool = False,
    engine_fingerprint: str = "",
    device: str | None = None,
) -> Engine:
    """Looks through a model's files and loads them into an engine.

    Args:
      choice: `tensorflow`, `openvino` or `openvino-int8`.
      model: the model directory.
      core_fingerprint: of that model; the int8 files must be made from it.
      classes: how many labels the model's metadata names.
      threads: of this process.
      xla: compile with XLA (TensorFlow only).
      engine_fingerprint: of the int8 files that were resolved; empty: whichever.
      device: TensorFlow's name of the device; None: its own choice.

    Raises:
      UserError: the engine is not installed, or not for this processor; the files are
        damaged, don't fit the labels, or could run code.
    """
    saved_model = str(model / SAVED_MODEL)
    check_saved_model(saved_model, classes)
    if choice == TENSORFLOW:
        from reviewbeam.components.inference.tensorflow_engine import TensorFlowEngine

        return TensorFlowEngine(saved_model, threads=threads, xla=xla, device=device)
    if xla:
        raise UserError("inference.xla is for the engine tensorflow alone.")
    from reviewbeam.components.inference.openvino_engine import OpenVinoEngine

    if choice == OPENVINO:
        return OpenVinoEngine(saved_model, threads=threads)
    check_processor()
    folder, manifest = open_quantized(model, core_fingerprint)
    if engine_fingerprint and files_fingerprint(manifest) != engine_fingerprint:
        raise UserError(
            f"{folder} was made again since the engine was chosen, and scores of two "
            "models would mix. Score into another --output, or put the old files back."
        )
    return OpenVinoEngine(str(folder / INT8_MODEL), threads=threads)
