"""The window of a run of `score` whose output is in an object store."""

import dataclasses
import time

from reviewbeam.components.common.stores import ChangedError, StorePath

_STOP, _ALLOWANCE = "stop", "allowance"
_LOOK_EVERY = 1.0  # seconds, of a process
_looked: dict[str, tuple[float, bool]] = {}  # folder -> when, and whether it was closed


@dataclasses.dataclass(frozen=True)
class StoreWindow:
    """Tells workers, by objects below a folder, whether to begin a chunk.

    The rows that are left are counted down by conditional puts; a store that has none
    may let some chunks more begin.
    """

    folder: StorePath

    def open(self, limit: int | None) -> None:
        """Begins a run; to be called by the launcher.

        Args:
          limit: rows after which no chunk is begun.
        """
        for name in (_STOP, _ALLOWANCE):
            (self.folder / name).unlink()
        _looked.pop(str(self.folder), None)
        if limit is not None:
            (self.folder / _ALLOWANCE).write_text(str(limit))

    def close(self) -> None:
        """Has no further chunk begun; processes see it within a second."""
        (self.folder / _STOP).touch()
        _looked[str(self.folder)] = (time.monotonic(), True)

    def is_closed(self) -> bool:
        """Tells whether the run is to end."""
        now = time.monotonic()
        looked, closed = _looked.get(str(self.folder), (-_LOOK_EVERY, False))
        if not closed and now - looked >= _LOOK_EVERY:
            closed = (self.folder / _STOP).exists()
            _looked[str(self.folder)] = (now, closed)
        return closed

    def begin_chunk(self, rows: int) -> bool:
        """Tells whether a chunk may be begun, and counts its rows."""
        allowance = self.folder / _ALLOWANCE
        while not self.is_closed():
            try:
                content = allowance.read()
            except FileNotFoundError:
                return True  # no limit
            left = int(content.data)
            if left <= 0:
                self.close()
                return False
            try:
                allowance.replace(str(left - rows).encode(), content.tag)
                return True
            except ChangedError:
                pass  # another process was first
        return False
