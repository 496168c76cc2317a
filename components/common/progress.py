"""How far a process is, in a small file that another one reads."""

import contextlib
import os
import secrets
import threading
import time

from reviewbeam.components.common.artifacts import write_text
from reviewbeam.components.common.errors import ReviewbeamError
from reviewbeam.components.common.places import Place, place, read_all

_SECONDS = 2.0  # between two writes, at least
_PREFIX = "progress-"


class ProgressFile:
    """Counts the rows that this process has read or inferred."""

    def __init__(self, folder: str):
        """Chooses a name that no other process has."""
        name = f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        self._path = place(folder) / name
        self._rows = 0
        self._written = float("-inf")
        self._lock = threading.Lock()

    def add(self, rows: int) -> None:
        """Adds rows, and writes the sum unless it was written just now."""
        with self._lock:
            self._rows += rows
            now = time.monotonic()
            if now - self._written >= _SECONDS:
                self._written = now
                self._write()

    def flush(self) -> None:
        """Writes the sum: at the end of a chunk, after which none may come."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        with contextlib.suppress(OSError, ReviewbeamError):  # it is not worth a job
            write_text(self._path, str(self._rows))


def rows_in_progress(folder: str | Place) -> int:
    """Returns the rows that all processes have told of."""
    return sum(map(int, read_all(place(folder), f"{_PREFIX}*")))
