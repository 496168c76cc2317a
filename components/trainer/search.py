"""Which combinations are tried next: KerasTuner's oracles, over a config's space."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.errors import FatalError
from keras_tuner.oracles import (
    BayesianOptimizationOracle,
    GridSearchOracle,
    RandomSearchOracle,
)

from reviewbeam.components.common.tune_config import TuneConfig, is_whole
from reviewbeam.components.trainer.trials import LESS_IS_BETTER

_RUNNING = {"status": "RUNNING"}
_DRAWS = 10_000  # more than one proposal of random values takes

# The point of a combination: a number of a range, of choices the index. KerasTuner's
# own choices must be of one type, and its floats with steps miss their last step.
Point = Mapping[str, Any]


def search(
    config: TuneConfig,
    known: Sequence[Point],
    run: Callable[[int, dict[str, Any]], float | None],
    folder: Path,
) -> None:
    """Runs the trials of a search, one after the other.

    Args:
      config: of the job.
      known: the points of the trials that an earlier process has finished; `run` is
        called for them too, and in the same order.
      run: called with a trial's number, from 1, and its point; returns the objective,
        or None where the trial failed.
      folder: for KerasTuner's own records, which are not read again: they lack where
        a grid is.

    Raises:
      Exception: what `run` raises ends the search.
    """
    tuner = _Tuner(
        _oracle(config, known), directory=folder, project_name="keras_tuner",
        overwrite=True,
    )  # fmt: skip
    tuner.known, tuner.run = known, run
    tuner.oracle.verbose = 0
    try:
        tuner.search()
    except FatalError as error:
        raise error.__cause__ from None


def values_of(config: TuneConfig, point: Point) -> dict[str, Any]:
    """Returns the values of the config's keys at a point."""
    values = {}
    for key, entry in config.space.items():
        choices, value = config.choices(key), point[key]
        if choices is not None:
            values[key] = choices[value]
        else:  # KerasTuner goes beyond the end of whole numbers on a logarithmic scale
            values[key] = min(max(value, entry.min), entry.max)
    return values


def trial_count(config: TuneConfig) -> int:
    """Returns how many trials a search has at most."""
    if config.search.method != "grid":
        return config.search.trials
    combinations = math.prod(len(config.choices(key)) for key in config.space)
    return min(combinations, config.search.trials or combinations)


class _Tuner(BaseTuner):
    """Hands each trial to a function, and what that raises to the caller."""

    known: Sequence[Point]
    run: Callable[[int, dict[str, Any]], float | None]

    def run_trial(self, trial):
        number = len(self.oracle.trials)
        if number <= len(self.known):  # whatever this processor would propose now
            trial.hyperparameters.values = dict(self.known[number - 1])
        try:
            figure = self.run(number, dict(trial.hyperparameters.values))
        except Exception as error:
            raise FatalError from error
        self._failed = figure is None
        return {self.oracle.objective.name: 0.0 if self._failed else figure}

    def on_trial_end(self, trial):
        if self._failed:  # of an exception that says so, the trace would be printed
            trial.status = "FAILED"
        super().on_trial_end(trial)


class _BayesianOracle(BayesianOptimizationOracle):
    """Proposes by the trials so far and their number, not by what it drew before.

    So a search that is taken up goes on as if it had never stopped, and need not
    work out again, at seconds each, what it has proposed.
    """

    known: Sequence[Point]

    def populate_space(self, trial_id):
        number = len(self.trials)
        if number < len(self.known):
            return _RUNNING | {"values": dict(self.known[number])}
        self._seed_state = self.seed + number * _DRAWS
        self._random_state = np.random.RandomState(self.seed + number)
        return super().populate_space(trial_id)


def _oracle(config: TuneConfig, known: Sequence[Point]) -> keras_tuner.Oracle:
    name = config.search.objective
    direction = "min" if name in LESS_IS_BETTER else "max"
    trials = trial_count(config)
    options = {
        "objective": keras_tuner.Objective(name, direction),
        "max_trials": trials,
        "seed": config.search.seed,
        "hyperparameters": _parameters(config),
        "max_consecutive_failed_trials": trials + 1,
    }
    if config.search.method == "grid":
        return GridSearchOracle(**options)
    if config.search.method == "random":
        return RandomSearchOracle(**options)
    oracle = _BayesianOracle(**options)
    oracle.known = known
    return oracle


def _parameters(config: TuneConfig) -> keras_tuner.HyperParameters:
    parameters = keras_tuner.HyperParameters()
    for key, entry in config.space.items():
        choices = config.choices(key)
        if choices is not None:
            parameters.Choice(key, list(range(len(choices))))
            continue
        sampling = "log" if entry.log else "linear"
        if is_whole(key):
            parameters.Int(key, int(entry.min), int(entry.max), sampling=sampling)
        else:
            parameters.Float(key, entry.min, entry.max, sampling=sampling)
    return parameters
