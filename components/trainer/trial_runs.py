"""The trials of a tuning, one training each, kept where a stopped one goes on."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras

from reviewbeam.components.common.artifacts import (
    fingerprint,
    read_json,
    write_json,
)
from reviewbeam.components.common.encoder_directory import open_encoder
from reviewbeam.components.common.errors import ReviewbeamError, StoppedError
from reviewbeam.components.common.tune_config import TuneConfig
from reviewbeam.components.trainer.checkpoint import (
    Checkpoints,
    open_working_folder,
    remove_folder,
)
from reviewbeam.components.trainer.dataset import Dataset, check_trainable
from reviewbeam.components.trainer.devices import training_strategy
from reviewbeam.components.trainer.display import TrainingDisplay
from reviewbeam.components.trainer.fitting import fit_classifier, read_splits
from reviewbeam.components.trainer.input import Split
from reviewbeam.components.trainer.search import trial_count, values_of
from reviewbeam.components.trainer.trials import Trial, ranked, shown

TRIALS = "trials.json"


class Trials:
    """Runs and keeps the trials of a tuning.

    Attributes:
      done: the finished and the failed ones in order, those of an earlier process
        among them.
    """

    def __init__(
        self,
        config: TuneConfig,
        data: Dataset,
        folder: Path,
        expected: str,
        displays: Callable[[], TrainingDisplay],
        *,
        overwrite: bool,
    ):
        def left() -> str | None:
            begun = any(folder.glob("*.training")) or self._read()
            return "the trials of a tuning" if begun else None

        self._config = config
        self._data = data
        self._folder = folder
        self._displays = displays
        self._splits: dict[str, Split] | None = None
        open_working_folder(folder, expected, left, overwrite=overwrite)
        self.done = self._read()

    def run(self, number: int, point: dict[str, Any]) -> float | None:
        """Trains with the values at a point, unless that is done already.

        Returns:
          The objective; None: these values can't be trained with.

        Raises:
          StoppedError: a signal came; the state is saved.
          UserError: the encoder, the splits or the devices can't be used, which is
            no trial's fault.
        """
        objective = self._config.search.objective
        if number <= len(self.done):
            return self.done[number - 1].figure(objective)
        display, total = self._displays(), trial_count(self._config)
        trial = Trial(number, values_of(self._config, point), point)
        told = ", ".join(f"{key} {shown(v)}" for key, v in trial.values.items())
        display.note(f"trial {number} of {total}: {told}")
        same = [t for t in self.done if t.values == trial.values]
        if same:  # training is deterministic
            trial = dataclasses.replace(
                same[0], number=number, point=point, seconds=0.0, same_as=same[0].number
            )
        else:
            trial = self._trained(trial, display)
        self.done.append(trial)
        write_json(self._folder / TRIALS, [dataclasses.asdict(t) for t in self.done])
        for finished in self._folder.glob("*.training"):
            remove_folder(finished)
        display.note(_outcome(trial, self.done, objective))
        return trial.figure(objective)

    def forget(self) -> None:
        """Lets a later process try again what was done."""
        (self._folder / TRIALS).unlink(missing_ok=True)

    def _trained(self, trial: Trial, display: TrainingDisplay) -> Trial:
        started = time.monotonic()
        try:
            found = self._fit(trial, display)
        except _TrialError as error:
            found = {"failure": " ".join(str(error).split())}
        finally:
            _free_memory()
        seconds = round(time.monotonic() - started, 1)
        return dataclasses.replace(trial, seconds=seconds, **found)

    def _fit(self, trial: Trial, display: TrainingDisplay) -> dict[str, Any]:
        """Trains; what is the machine's fault rather than the values' is raised."""
        with _fails_the_trial():
            config = self._config.trial(trial.values)
        encoder = open_encoder(config.encoder)
        with _fails_the_trial():
            check_trainable(self._data, encoder, config)
        self._splits = self._splits or read_splits(self._data)
        strategy = training_strategy(config.training.logical_cpus)
        place = self._folder / f"trial-{trial.number}"
        identity = fingerprint(config.model_dump(mode="json"))
        checkpoints = Checkpoints(place, identity, overwrite=True)
        with _fails_the_trial():
            progress = fit_classifier(
                config,
                self._data,
                encoder,
                strategy,
                checkpoints,
                display,
                splits=self._splits,
            ).progress
        figures = dataclasses.asdict(progress.best)
        if not math.isfinite(figures[self._config.search.objective]):
            raise _TrialError(f"its metrics are no numbers: {figures}")
        return {
            "metrics": figures,
            "epochs": len(progress.history),
            "best_epoch": progress.best_epoch,
        }

    def _read(self) -> list[Trial]:
        path = self._folder / TRIALS
        return [Trial(**t) for t in read_json(path)] if path.is_file() else []


class _TrialError(Exception):
    """These values can't be trained with; others may."""


@contextlib.contextmanager
def _fails_the_trial() -> Iterator[None]:
    try:
        yield
    except StoppedError:
        raise
    except ReviewbeamError as error:
        raise _TrialError(str(error)) from error


def _free_memory() -> None:
    """Lets go of a trial's model, whose graphs and layers refer to each other."""
    keras.backend.clear_session()  # collects the garbage too


def _outcome(trial: Trial, trials: list[Trial], objective: str) -> str:
    if trial.failure:
        return f"trial {trial.number} failed: {trial.failure}"
    best = ranked(trials, objective)[0]
    line = f"trial {trial.number}: {objective} {trial.figure(objective):.4f}"
    if trial.same_as:
        line += f", as trial {trial.same_as}"
    if best.number == trial.number:
        return f"{line}, the best so far"
    return f"{line}; best so far {best.figure(objective):.4f} of trial {best.number}"
