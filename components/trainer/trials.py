"""The trials of a tuning: what was tried, what it gave, and their table."""

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from typing import Any

LESS_IS_BETTER = ("loss", "error")
_METRICS = ("macro_f1", "accuracy", "loss", "error")


@dataclasses.dataclass(frozen=True)
class Trial:
    """One combination and what training with it gave.

    Attributes:
      number: counted from 1.
      values: of the keys in the config's `space`.
      point: the same as the search knows it.
      metrics: of the best epoch on the validation split; None: the trial failed.
      failure: why; None: it did not.
      epochs: how many were trained.
      best_epoch: counted from 1.
      seconds: of training and validation; of a trial that was taken up, those since.
      same_as: number of the earlier trial whose values these are; it was not trained
        again.
    """

    number: int
    values: dict[str, Any]
    point: dict[str, Any]
    metrics: dict[str, float | None] | None = None
    failure: str | None = None
    epochs: int = 0
    best_epoch: int = 0
    seconds: float = 0.0
    same_as: int | None = None

    def figure(self, objective: str) -> float | None:
        """Returns the metric that is searched for; None: the trial failed."""
        return self.metrics and self.metrics[objective]

    def public(self) -> dict[str, Any]:
        """Returns the trial as `trials.json` has it."""
        status = "failed" if self.metrics is None else "finished"
        described = dataclasses.asdict(self) | {"status": status}
        del described["point"]
        return described

    @classmethod
    def of_public(cls, described: dict[str, Any]) -> "Trial":
        """Rebuilds it from `trials.json`."""
        facts = {key: value for key, value in described.items() if key != "status"}
        return cls(point={}, **facts)


def ranked(trials: Sequence[Trial], objective: str) -> list[Trial]:
    """Returns the trials, best first, of equals the first, those that failed last."""
    sign = 1 if objective in LESS_IS_BETTER else -1

    def place(trial: Trial) -> float:
        figure = trial.figure(objective)
        return math.inf if figure is None else sign * figure

    return sorted(trials, key=place)


def trials_table(trials: Sequence[Trial], objective: str) -> list[list[str]]:
    """Returns a header and a row for each trial, best first."""
    others = [
        name
        for name in _METRICS
        if name != objective
        and any((t.metrics or {}).get(name) is not None for t in trials)
    ]
    keys = sorted(trials[0].values)
    rows = [["trial", objective, *others, "epochs", "seconds", *keys]]
    for trial in ranked(trials, objective):
        metrics = trial.metrics or {}
        figures = [
            f"{metrics[name]:.4f}" if metrics else "failed" if name == objective else ""
            for name in (objective, *others)
        ]
        epochs = f"{trial.best_epoch} of {trial.epochs}" if metrics else ""
        seconds = f"{trial.seconds:.0f}" if trial.same_as is None else "-"
        values = [shown(trial.values[key]) for key in keys]
        rows.append([str(trial.number), *figures, epochs, seconds, *values])
    return rows


def trials_report(trials: Sequence[Trial], objective: str) -> str:
    """Returns the table as plain text, and why trials failed."""
    table = trials_table(trials, objective)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in table
    ]
    return "\n".join([*lines, *failures(trials)]) + "\n"


def failures(trials: Sequence[Trial]) -> list[str]:
    """Returns a line for each trial that failed."""
    return [f"trial {t.number} failed: {t.failure}" for t in trials if t.failure]


def trials_csv(trials: Sequence[Trial]) -> str:
    """Returns a line for each trial in order, with a column for each key."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    facts = ("status", "best_epoch", "epochs", "seconds", "failure", "same_as")
    keys = sorted(trials[0].values)
    writer.writerow(["number", *keys, *_METRICS, *facts])
    for trial in trials:
        described, metrics = trial.public(), trial.metrics or {}
        values = [shown(trial.values[key]) for key in keys]
        figures = [metrics.get(name) for name in _METRICS]
        last = [described[name] for name in facts]
        writer.writerow([trial.number, *values, *figures, *last])
    return text.getvalue()


def shown(value: Any) -> str:
    """Returns a value as a person reads it, numbers with four digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        inner = ", ".join(f"{key}: {shown(item)}" for key, item in value.items())
        return f"{{{inner}}}"
    return str(value)
