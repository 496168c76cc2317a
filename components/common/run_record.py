"""The record of a run: times and facts, written down while the run goes on."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from reviewbeam.components.common.artifacts import RUN_FILE, read_json, write_json
from reviewbeam.components.common.places import Place

_BEFORE = "before"


@dataclasses.dataclass
class RunRecord:
    """Times and facts of one run of a job: what may differ between equal runs.

    Attributes:
      job: its name.
      name: of the record's file.
      started: seconds since 1970.
      before: what the record of the run before said, once this one has begun; {}
        if there was none. What runs noted that were killed is handed on until a run
        finishes.
      recover: is given that, while all is still as that run left it.
      leaves_job: a job of this run on a cluster may still be at work, and this record
        and the place that it writes to must stay.
      check: raises BusyError where this run has lost its output to another; to be
        called before what counts is written.
    """

    job: str
    name: str = RUN_FILE
    started: float = dataclasses.field(default_factory=time.time)
    before: dict[str, Any] = dataclasses.field(default_factory=dict)
    recover: Callable[[dict[str, Any]], None] | None = None
    leaves_job: bool = False
    check: Callable[[], None] = lambda: None

    def begin(self, directory: Place) -> None:
        """Writes a new record, and reads the one that is there."""
        self._path = directory / self.name
        self.before = _told(self._path)
        if self.recover is not None and "finished" not in self.before:
            self.recover(self.before)
        facts: dict[str, Any] = {"job": self.job, "started": utc(self.started)}
        if self.before and "finished" not in self.before:
            facts[_BEFORE] = self.before
        write_json(self._path, facts)

    def note(self, **facts: Any) -> None:
        """Adds facts (paths, runner, versions, a cluster's name of the job) at once."""
        write_json(self._path, read_json(self._path) | facts)

    def finish(self, **facts: Any) -> None:
        """Completes the record, keeping what the job added to it."""
        facts |= {
            "finished": utc(),
            "seconds": round(time.time() - self.started, 1),
        }
        told = read_json(self._path)
        told.pop(_BEFORE, None)
        write_json(self._path, told | facts)


def _told(path: Place) -> dict[str, Any]:
    """Returns what a record says; {}: there is none, or it was cut short."""
    try:
        told = read_json(path)
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(told, dict):
        return {}
    before = told.pop(_BEFORE, {})
    return before | told


def utc(seconds: float | None = None) -> str:
    """Returns a time as text; None: now."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
