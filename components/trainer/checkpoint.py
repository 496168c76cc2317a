"""Checkpoints: all that a run needs to go on as if it had never stopped.

OUTPUT.training/
  run.json                the fingerprint of the run they belong to
  checkpoint-STEP/        state.json; variables.safetensors: weights that are trained,
                          the optimizer's state and the seeds of dropout
  best-EPOCH/             the same variables after the best epoch so far
  logs/                   TensorBoard's

A folder appears by a rename when it is whole; the one before is removed after that.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors
import safetensors.numpy

from reviewbeam.components.common.artifacts import read_json, write_json
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.publishing import make_folder

LOGS = "logs"
_RUN = "run.json"
_STATE = "state.json"
_VARIABLES = "variables.safetensors"
_CHECKPOINT = "checkpoint-"
_BEST = "best-"
_OLDER = ".older"


def open_working_folder(
    folder: Path,
    fingerprint: str,
    left: Callable[[], str | None],
    *,
    overwrite: bool = False,
) -> None:
    """Makes the folder of an unfinished job, or takes the one that is there.

    Args:
      folder: its place.
      fingerprint: of the job; a folder of another one is cleared.
      left: tells what would be lost by that, as in "a checkpoint of a training";
        None: nothing.
      overwrite: clear it all the same.

    Raises:
      UserError: something would be lost, or it holds files of someone else.
    """
    names = _names(folder)
    if names and _RUN not in names:
        raise UserError(
            f"{str(folder)!r} is needed for checkpoints and holds files that "
            "reviewbeam did not write. Move them, or choose another --output."
        )
    if names and read_json(folder / _RUN)["fingerprint"] != fingerprint:
        if (lost := left()) and not overwrite:
            raise UserError(
                f"{str(folder)!r} holds {lost} with another config, dataset or "
                "encoder. Run the command it was started with to go on there, or add "
                "--overwrite to discard it."
            )
        remove_folder(folder)
    make_folder(folder)
    write_json(folder / _RUN, {"fingerprint": fingerprint})


class Checkpoints:
    """The folder beside an output where its training keeps its state."""

    def __init__(self, output: Path, fingerprint: str, *, overwrite: bool = False):
        """Opens or makes the folder; to be called by the holder of the output's lock.

        Args:
          output: the artifact's place.
          fingerprint: of the run; only its own checkpoints are taken up.
          overwrite: discard those of another run.

        Raises:
          UserError: it holds another run's checkpoints, or files of someone else.
        """
        self.folder = _folder(output)
        open_working_folder(self.folder, fingerprint, self._left, overwrite=overwrite)

    def state(self) -> dict[str, Any] | None:
        """Returns what the newest checkpoint says of the run; None: there is none."""
        newest = self._newest()
        if newest is None:
            return None
        try:
            return read_json(newest / _STATE)
        except (OSError, ValueError) as error:
            raise self._damaged(newest, error) from None

    def restore(self, variables: Sequence[keras.Variable]) -> None:
        """Assigns the newest checkpoint's values.

        Raises:
          UserError: it is damaged.
        """
        self._load(self._newest(), variables)

    def save(self, state: dict[str, Any], variables: Sequence[keras.Variable]) -> None:
        """Writes a checkpoint and removes what it replaces.

        Args:
          state: JSON; `step` is the number of steps done, `best_epoch` that of the
            best epoch that was saved, or 0.
          variables: always the same ones in the same order.
        """
        name = f"{_CHECKPOINT}{state['step']}"
        self._write(name, variables, state)
        keep = {name, f"{_BEST}{state['best_epoch']}"}
        for path in self.folder.iterdir():
            if path.name.startswith((_CHECKPOINT, _BEST)) and path.name not in keep:
                shutil.rmtree(path)

    def save_best(self, epoch: int, variables: Sequence[keras.Variable]) -> None:
        """Keeps the values after the best epoch so far, counted from 1."""
        self._write(f"{_BEST}{epoch}", variables, {})

    def restore_best(self, epoch: int, variables: Sequence[keras.Variable]) -> None:
        """Assigns the values after an epoch that was kept."""
        self._load(self.folder / f"{_BEST}{epoch}", variables)

    def remove(self) -> None:
        """Removes the folder, when the model is published or can't be."""
        remove_folder(self.folder)

    def _left(self) -> str | None:
        newest = self._newest()
        return newest and f"a checkpoint ({newest.name}) of a training"

    def _newest(self) -> Path | None:
        found = {}
        for path in self.folder.glob(f"{_CHECKPOINT}*"):
            step = path.name.removeprefix(_CHECKPOINT).removesuffix(_OLDER)
            if step.isdigit():
                # One that was to be replaced counts where nothing took its place.
                found[int(step), not path.name.endswith(_OLDER)] = path
        return found[max(found)] if found else None

    def _write(self, name: str, variables, state: dict[str, Any]) -> None:
        partial = self.folder / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        values = {f"{i:05d}": np.asarray(v.numpy()) for i, v in enumerate(variables)}
        safetensors.numpy.save_file(values, partial / _VARIABLES)
        write_json(partial / _STATE, state)
        for path in (partial / _VARIABLES, partial / _STATE, partial):
            _sync(path)
        target, older = self.folder / name, self.folder / f"{name}{_OLDER}"
        shutil.rmtree(older, ignore_errors=True)
        if target.exists():  # of the same step, by a stop or a run that was taken up
            os.rename(target, older)
        os.rename(partial, target)
        _sync(self.folder)
        shutil.rmtree(older, ignore_errors=True)

    def _load(self, path: Path, variables: Sequence[keras.Variable]) -> None:
        try:
            with safetensors.safe_open(path / _VARIABLES, "numpy") as file:
                if len(file.keys()) != len(variables):
                    raise ValueError(f"it has {len(file.keys())} variables")
                for index, variable in enumerate(variables):
                    variable.assign(file.get_tensor(f"{index:05d}"))
        except (OSError, ValueError, safetensors.SafetensorError) as error:
            raise self._damaged(path, error) from None

    def _damaged(self, path: Path, error: Exception) -> UserError:
        return UserError(
            f"The checkpoint {str(path)!r} can't be used ({error}). Remove "
            f"{str(self.folder)!r} to train from the beginning."
        )


def remove_left_over(output: Path, fingerprint: str) -> None:
    """Removes the folder of a training that was killed after its model was there."""
    remove_working_folder(_folder(output), fingerprint)


def remove_working_folder(folder: Path, fingerprint: str) -> None:
    """Removes what `open_working_folder` made, if it is of the same job."""
    run = folder / _RUN
    if run.is_file() and read_json(run).get("fingerprint") == fingerprint:
        remove_folder(folder)


def remove_folder(folder: Path) -> None:
    """Removes a working folder that may be there; what shows whose it is goes last."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir(), key=lambda path: path.name == _RUN):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    folder.rmdir()


def _names(folder: Path) -> list[str]:
    """What is in a folder, without the traces of a write that was cut off."""
    if not folder.is_dir():
        return []
    return [name for name in os.listdir(folder) if not name.startswith(".")]


def _folder(output: Path) -> Path:
    output = output.absolute()
    return output.with_name(f"{output.name}.training")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
