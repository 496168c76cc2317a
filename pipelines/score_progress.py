"""How far a run of `score` is: told to a person while it goes on."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

from reviewbeam.components.inference.parts import CHUNKS, record_path
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


class Follower:
    """Reads the records that workers leave in the staging folder."""

    def __init__(self, staging: Path, units: list[Unit]):
        """Takes what stands already as the start."""
        self._staging = staging
        self._units = units
        self._seen: dict[str, dict] = {}
        self._look()
        self._before = set(self._seen)
        self._done_before = self._share()
        self._started = time.monotonic()

    def progress(self) -> Progress:
        """Looks again."""
        self._look()
        new = [
            record for name, record in self._seen.items() if name not in self._before
        ]
        rows = max(
            sum(record["rows"] for record in new),
            rows_in_progress(self._staging / PROGRESS),
        )
        seconds, done = time.monotonic() - self._started, self._share()
        gained = done - self._done_before
        left = seconds * (1 - done) / gained if gained > 0 else None
        rejected = sum(record["rejected"] for record in new)
        return Progress(rows, rejected, done, seconds, left)

    def _look(self) -> None:
        for path in self._staging.glob(CHUNKS):
            if path.name not in self._seen:
                data = orjson.loads(path.read_bytes())
                self._seen[path.name] = {
                    "unit": data["unit"],
                    "name": data["name"],
                    "rows": sum(s["rows"] for s in data["segments"]),
                    "rejected": sum(
                        sum(s["rejected"].values()) for s in data["segments"]
                    ),
                    "bytes": data["inference"]["read_bytes"],
                }

    def _share(self) -> float:
        finished: dict[str, int] = {}
        counts: dict[str, int] = {}
        for record in self._seen.values():
            unit = record["unit"]
            finished[unit] = finished.get(unit, 0) + record["bytes"]
            counts[unit] = counts.get(unit, 0) + 1
        total = done = 0.0
        for unit in self._units:
            total += unit.bytes + 1
            told = record_path(self._staging, "unit", unit.name)
            if told.exists():
                chunks = len(orjson.loads(told.read_bytes())["chunks"])
                part = counts.get(unit.name, 0) / chunks if chunks else 1.0
            else:  # the bytes of compressed files are fewer than those of their rows
                part = min(finished.get(unit.name, 0) / (unit.bytes + 1), 0.95)
            done += part * (unit.bytes + 1)
        return done / total if total else 1.0


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
