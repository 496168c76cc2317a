"""How far a run of `score` is: told to a person while it goes on."""

import contextlib
import dataclasses
import fnmatch
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

from reviewbeam.components.common.host_copies import cache_root
from reviewbeam.components.common.places import Place, for_each, names_in, remove_tree
from reviewbeam.components.common.progress import rows_in_progress
from reviewbeam.components.inference.parts import (
    CHUNKS,
    UNITS,
    chunk_of_bytes,
    unit_of_bytes,
)
from reviewbeam.components.ingestion.units import Unit
from reviewbeam.pipelines.score_summary import rough_duration
from reviewbeam.pipelines.watching import Show, watching

PROGRESS = "progress"  # folder below the staging folder: rows inferred, by process


def worker_folders(staging: Place, workers: int) -> dict[str, str | None]:
    """Returns where the processes that run the model tell how far they are.

    Args:
      staging: folder of the run.
      workers: how many of them share this host: they tell, too, which GPU they took.
    """
    devices = str(_devices(staging)) if workers > 1 else None
    return {"progress_folder": str(staging / PROGRESS), "devices_folder": devices}


def empty_worker_folders(staging: Place) -> None:
    """Makes these folders, or takes out what an earlier run left."""
    for folder in (staging / PROGRESS, _devices(staging)):
        remove_tree(folder)
        folder.mkdir(parents=True, mode=0o700)


def _devices(staging: Place) -> Path:
    """A claim on a GPU is a lock on a file, and for this host alone."""
    if isinstance(staging, Path):
        return staging / "devices"
    name = hashlib.sha256(str(staging).encode()).hexdigest()[:16]
    return cache_root() / "devices" / name


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a run is."""

    rows: int  # inferred by this run
    rejected: int  # in chunks that it finished
    done: float  # share of all there is to do, from 0 to 1
    seconds: float
    left: float | None  # seconds, by the speed so far; None: not known yet
    before: int = 0  # rows that an earlier run had finished

    def __str__(self) -> str:
        """Returns a line for a person."""
        rate = self.rows / self.seconds if self.seconds else 0
        parts = [
            f"{self.done:.0%}",
            f"{self.rows:,} rows",
            f"{rate:,.0f} rows/s",
            f"{self.rejected:,} rejected",
        ]
        if self.before:
            parts.append(f"{self.before:,} rows by an earlier run")
        if self.left is not None:
            parts.append(f"{rough_duration(self.left)} left")
        return ", ".join(parts)


@dataclasses.dataclass
class _Finished:
    """What is finished of a unit."""

    chunks: int = 0
    bytes: int = 0  # of its records as they were


_NOTHING = _Finished()


class Follower:
    """Reads the records that workers leave in the staging folder."""

    def __init__(self, staging: Place, units: list[Unit]):
        """Takes what stands already as the start."""
        self._staging = staging
        self._units = units
        self._seen: set[str] = set()
        self._finished: dict[str, _Finished] = {}  # by unit
        self._chunks: dict[str, int] = {}  # by unit
        self._rows = self._rejected = 0
        self._look()
        self._before = self._rows
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
        return Progress(rows, self._rejected, done, seconds, left, self._before)

    def _look(self) -> None:
        """Reads the records of chunks that were finished since."""
        names = set(names_in(self._staging)) - self._seen
        for told in self._read(fnmatch.filter(names, CHUNKS)):
            chunk = chunk_of_bytes(told)
            finished = self._finished.setdefault(chunk.unit, _Finished())
            finished.chunks += 1
            finished.bytes += chunk.inference["read_bytes"]
            self._rows += chunk.rows
            self._rejected += chunk.rejected
        for told in self._read(fnmatch.filter(names, UNITS)):
            unit = unit_of_bytes(told)
            self._chunks[unit.name] = len(unit.chunks)

    def _read(self, names: list[str]) -> Iterator[bytes]:
        self._seen.update(names)
        paths = [self._staging / name for name in names]
        return for_each(self._staging, lambda path: path.read_bytes(), paths)

    def _share(self) -> float:
        total = done = 0.0
        for unit in self._units:
            size = unit.bytes + 1
            total += size
            finished = self._finished.get(unit.name, _NOTHING)
            chunks = self._chunks.get(unit.name)  # None: not read to its end
            if chunks is not None:
                part = finished.chunks / chunks if chunks else 1.0
            else:  # the bytes of compressed files are fewer than those of their rows
                part = min(finished.bytes / size, 0.95)
            done += part * size
        return done / total if total else 1.0


@contextlib.contextmanager
def following(staging: Place, units: list[Unit], show: Show) -> Iterator[None]:
    """Shows the progress while the block runs.

    Args:
      staging: folder of the run.
      units: all there are to do.
      show: is called with each state, from a thread.
    """
    if show is None:
        yield
        return
    with watching(Follower(staging, units).progress, show):
        yield
