"""The config of `tune`: a config of `train`, and what is tried in its place."""

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import pydantic
from pydantic import Field

from reviewbeam.components.common.artifacts import canonical_json
from reviewbeam.components.common.config import Config, check_config, dotted_keys
from reviewbeam.components.common.errors import UserError, nearest
from reviewbeam.components.common.train_config import TrainConfig

_KEYS = dotted_keys(TrainConfig)
# What changes the loss itself: the losses of two such trials don't compare.
_CHANGES_LOSS = ("loss", "training.class_weights", "model.ordinal_head")


class SearchConfig(Config):
    """How combinations are chosen."""

    # bayesian: random ones first, three for each key, then by what they gave
    method: Literal["grid", "random", "bayesian"] = "random"
    trials: int | None = Field(None, ge=1)  # at most; none: all of the grid
    # On the validation split, of a trial's best epoch; loss and error: the least
    objective: Literal["macro_f1", "accuracy", "loss", "error"] = "macro_f1"
    seed: int = Field(1, ge=1, lt=2**31)  # of the choice; trials: training.seed


class Range(Config):
    """Numbers from min to max, both among them."""

    min: int | float  # the least
    max: int | float  # the most
    log: bool = False  # every factor as likely as the next, not every difference
    step: int | float | None = Field(None, gt=0)  # log: a factor; none: no steps

    @pydantic.model_validator(mode="after")
    def _check(self):
        if self.min >= self.max:
            raise ValueError(f"min {self.min} is not below max {self.max}")
        if self.log and self.min <= 0:
            raise ValueError(f"log needs a min above 0; found {self.min}")
        if self.log and self.step is not None and self.step <= 1:
            raise ValueError(f"with log, step is a factor above 1; found {self.step}")
        return self

    def steps(self) -> tuple[int | float, ...]:
        """Returns the numbers that the steps lead to; there must be a step."""
        if self.log:
            count = math.log(self.max / self.min, self.step)
            found = (self.min * self.step**i for i in range(int(count + 1e-9) + 1))
        else:
            count = (self.max - self.min) / self.step
            found = (self.min + self.step * i for i in range(int(count + 1e-9) + 1))
        # 0.1 + 2 * 0.1 is to be 0.3
        return tuple(n if isinstance(n, int) else float(f"{n:.12g}") for n in found)


class TuneConfig(Config):
    """Configures `tune`."""

    train: TrainConfig  # of every trial, but for the keys in `space`
    search: SearchConfig = SearchConfig()
    # A key of train, as in training.learning_rate -> a list of choices, or a range
    space: dict[str, Range | tuple[Any, ...]] = Field(min_length=1)

    @pydantic.field_validator("space", mode="before")
    @classmethod
    def _check_form(cls, space: Any) -> Any:
        if not isinstance(space, Mapping):
            return space
        entries, problems = {}, []
        for key, entry in space.items():
            try:
                entries[key] = _entry(key, entry)
            except UserError as error:
                problems += [f"{key}: {line}" for line in _lines(error)]
            except ValueError as error:
                problems.append(str(error))
            problems += [
                f"{key} lies within {other}; give one of them"
                for other in space
                if key.startswith(f"{other}.")
            ]
        if problems:
            raise ValueError("; ".join(problems))
        return entries

    @pydantic.model_validator(mode="after")
    def _check(self):
        problems = [
            problem
            for key, entry in self.space.items()
            for problem in self._problems(key, entry)
        ]
        if problems:
            raise ValueError("; ".join(problems))
        if self.search.method != "grid" and self.search.trials is None:
            raise ValueError(
                f"search.trials is missing: how many a {self.search.method} search "
                "tries; only a grid has an end"
            )
        changes = [key for key in self.space if key.startswith(_CHANGES_LOSS)]
        if self.search.objective == "loss" and changes:
            raise ValueError(
                f"search.objective is loss, which {', '.join(changes)} in space "
                "changes itself: such losses don't compare. Take macro_f1 or accuracy"
            )
        return self

    def choices(self, key: str) -> tuple[Any, ...] | None:
        """Returns the values of a key, in order; None: those of a range, too many."""
        entry = self.space[key]
        if not isinstance(entry, Range):
            return entry
        if entry.step is not None:
            return entry.steps()
        if self.search.method == "grid" and is_whole(key) and not entry.log:
            return tuple(range(int(entry.min), int(entry.max) + 1))
        return None

    def trial(self, values: Mapping[str, Any]) -> TrainConfig:
        """Returns the config of a trial.

        Args:
          values: of the keys in `space`.

        Raises:
          UserError: they don't go together.
        """
        return check_config(TrainConfig, self._data(values), "This combination")

    def _data(self, values: Mapping[str, Any]) -> dict[str, Any]:
        data = self.train.model_dump()
        for key, value in values.items():
            *sections, last = key.split(".")
            node = data
            for section in sections:
                if node[section] is None:
                    node[section] = {}
                node = node[section]
            node[last] = value
        return data

    def _problems(self, key: str, entry: Range | tuple[Any, ...]) -> list[str]:
        """What is wrong with the values of a key, whatever the others are."""
        values = (entry.min, entry.max) if isinstance(entry, Range) else entry
        found = [
            problem
            for problem in (self._refusal(key, value) for value in values)
            if problem
        ]
        if isinstance(entry, Range):
            if entry.step is not None and is_whole(key) and entry.step % 1:
                found.append(f"space.{key}: step {entry.step} is no whole number")
            if not found and self.search.method == "grid" and not self.choices(key):
                found.append(f"space.{key}: a grid needs a step, or a list of choices")
        return found

    def _refusal(self, key: str, value: Any) -> str | None:
        """Why a key can't have a value; what depends on other keys is no reason."""
        try:
            TrainConfig.model_validate(self._data({key: value}))
        except pydantic.ValidationError as error:
            place = tuple(key.split("."))
            own = [
                problem["msg"].removeprefix("Value error, ")
                for problem in error.errors()
                if problem["loc"][: len(place)] == place
            ]
            if own:
                return f"space.{key}: {' or '.join(own)}; found {value!r}"
        return None


def is_whole(key: str) -> bool:
    """Tells whether a key of train that takes numbers takes whole ones only."""
    return not _takes_fractions(_KEYS[key])


def _takes_fractions(annotation: Any) -> bool:
    return annotation is float or any(map(_takes_fractions, get_args(annotation)))


def _entry(key: str, entry: Any) -> Range | tuple[Any, ...]:
    if key not in _KEYS:
        raise ValueError(f"{key!r} is no key of train{nearest(key, _KEYS)}")
    if isinstance(entry, Mapping):
        if inner := [f"{key}.{name}" for name in entry if f"{key}.{name}" in _KEYS]:
            raise ValueError(f"{key} is a section; give {inner[0]} as one key")
        return check_config(Range, entry, key)
    if isinstance(entry, Range) or (isinstance(entry, tuple | list) and entry):
        shown = [] if isinstance(entry, Range) else [canonical_json(v) for v in entry]
        if len(set(shown)) < len(shown):
            raise ValueError(f"{key}: a choice stands twice in {list(entry)}")
        return entry if isinstance(entry, Range) else tuple(entry)
    raise ValueError(
        f"{key}: a list of choices, or {{min: …, max: …, log: …, step: …}} was "
        f"expected; found {entry!r}"
    )


def _lines(error: UserError) -> list[str]:
    """The problems that `check_config` lists."""
    return str(error).split("\n  - ")[1:]
