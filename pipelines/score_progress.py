"""How far a run of `score` is: told to a person while it goes on."""

import contextlib
import dataclasses
import fnmatch
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from reviewbeam.components.inference.parts import (
    CHUNKS,
    read_chunk,
    read_unit,
    record_path,
)
from reviewbeam.components.inference.progress import rows_in_progress
from reviewbeam.components.ingestion.units import Unit
from reviewbeam.pipelines.score_summary import duration

PROGRESS = "progress"  # folder below the staging folder: rows inferred, by process
_LOOK_EVERY = 2.0  # seconds


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a run is."""

    rows: int  # inferred by this run
    rejected: int  # in chunks that it finished
    done: float  # share of all there is to do, from 0 to 1
    seconds: float
    left: float | None  # seconds, by the speed so far; None: not known yet

    def __str__(self) -> str:
        """Returns a line for a person."""
        rate = self.rows / self.seconds if self.seconds else 0
        parts = [
            f"{self.done:.0%}",
            f"{self.rows:,} rows",
            f"{rate:,.0f} rows/s",
            f"{self.rejected:,} rejected",
        ]
        if self.left is not None:
            parts.append(f"{duration(self.left)} left")
        return ", ".join(parts)


@dataclasses.dataclass
class _Finished:
    """What is finished of a unit."""

    chunks: int = 0
    bytes: int = 0  # of its records as they were


_NOTHING = _Finished()


class Follower:
    """Reads the records that workers leave in the staging folder."""

    def __init__(self, staging: Path, units: list[Unit]):
        """Takes what stands already as the start."""
        self._staging = staging
        self._units = units
        self._seen: set[str] = set()
        self._finished: dict[str, _Finished] = {}  # by unit
        self._chunks: dict[str, int] = {}  # by unit
        self._rows = self._rejected = 0
        self._look()
        self._rows = self._rejected = 0
        self._done_before = self._share()
        self._started = time.monotonic()

    def progress(self) -> Progress:
        """Looks again."""
        self._look()
        rows = max(self._rows, rows_in_progress(self._staging / PROGRESS))
        seconds, done = time.monotonic() - self._started, self._share()
        gained = done - self._done_before
        left = seconds * (1 - done) / gained if gained > 0 else None
        return Progress(rows, self._rejected, done, seconds, left)

    def _look(self) -> None:
        """Reads the records of chunks that were finished since."""
        names = {entry.name for entry in os.scandir(self._staging)} - self._seen
        for name in fnmatch.filter(names, CHUNKS):
            self._seen.add(name)
            chunk = read_chunk(self._staging / name)
            finished = self._finished.setdefault(chunk.unit, _Finished())
            finished.chunks += 1
            finished.bytes += chunk.inference["read_bytes"]
            self._rows += chunk.rows
            self._rejected += chunk.rejected

    def _share(self) -> float:
        total = done = 0.0
        for unit in self._units:
            size = unit.bytes + 1
            total += size
            finished = self._finished.get(unit.name, _NOTHING)
            chunks = self._chunks_of(unit.name)
            if chunks is not None:
                part = finished.chunks / chunks if chunks else 1.0
            else:  # the bytes of compressed files are fewer than those of their rows
                part = min(finished.bytes / size, 0.95)
            done += part * size
        return done / total if total else 1.0

    def _chunks_of(self, unit: str) -> int | None:
        """Returns how many chunks a unit has; None: it isn't read to its end."""
        if unit not in self._chunks:
            told = record_path(self._staging, "unit", unit)
            if not told.exists():
                return None
            self._chunks[unit] = len(read_unit(told).chunks)
        return self._chunks[unit]


@contextlib.contextmanager
def following(
    staging: Path, units: list[Unit], show: Callable[[Progress], None] | None
) -> Iterator[None]:
    """Shows the progress while the block runs.

    Args:
      staging: folder of the run.
      units: all there are to do.
      show: is called with each state, from a thread.
    """
    if show is None:
        yield
        return
    follower, ended = Follower(staging, units), threading.Event()

    def follow() -> None:
        while not ended.wait(_LOOK_EVERY):
            show(follower.progress())

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
