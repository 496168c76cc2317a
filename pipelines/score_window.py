"""When a run of `score` ends before its work does: deadline, limit, signals."""

import contextlib
import dataclasses
import datetime
import fcntl
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from reviewbeam.components.common.places import Place
from reviewbeam.components.common.stores import StorePath
from reviewbeam.pipelines.store_window import StoreWindow

_STOP, _ALLOWANCE = "stop", "allowance"
_AT_ONCE = 1.0  # seconds


@dataclasses.dataclass(frozen=True)
class Window:
    """Tells workers, by files in the staging folder, whether to begin a chunk."""

    staging: str

    def open(self, limit: int | None) -> None:
        """Begins a run; to be called by the launcher.

        Args:
          limit: rows after which no chunk is begun.
        """
        for name in (_STOP, _ALLOWANCE):
            self._path(name).unlink(missing_ok=True)
        if limit is not None:
            self._path(_ALLOWANCE).write_text(str(limit))

    def close(self) -> None:
        """Has no further chunk begun."""
        self._path(_STOP).touch()

    def is_closed(self) -> bool:
        """Tells whether the run is to end."""
        return self._path(_STOP).exists()

    def begin_chunk(self, rows: int) -> bool:
        """Tells whether a chunk may be begun, and counts its rows."""
        if self.is_closed():
            return False
        try:
            with open(self._path(_ALLOWANCE), "r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                left = int(file.read())
                if left <= 0:
                    self.close()
                    return False
                file.seek(0)
                file.truncate()
                file.write(str(left - rows))
        except FileNotFoundError:
            pass  # no limit
        return True

    def _path(self, name: str) -> Path:
        return Path(self.staging) / name


def window_of(staging: Place) -> Window | StoreWindow:
    """Returns the window of a run that is staged in a folder."""
    if isinstance(staging, StorePath):
        return StoreWindow(staging)
    return Window(str(staging))


def next_deadline(time: str, now: datetime.datetime) -> datetime.datetime:
    """Returns when a time of the day, as in `05:30`, comes next.

    Args:
      time: in the time zone of the machine, whose clock may be changed that night.
      now: an aware time.
    """
    clock = datetime.time.fromisoformat(time)
    day = now.astimezone().date()
    today = datetime.datetime.combine(day, clock).astimezone()
    if today > now:
        return today
    tomorrow = day + datetime.timedelta(days=1)
    return datetime.datetime.combine(tomorrow, clock).astimezone()


@contextlib.contextmanager
def closing_at(
    window: Window | StoreWindow, deadline: datetime.datetime | None
) -> Iterator[None]:
    """Closes a window at a time, if it is still in use; at once where it is over."""
    if deadline is None:
        yield
        return
    left = deadline - datetime.datetime.now().astimezone()
    if left.total_seconds() <= 0:
        window.close()
    timer = threading.Timer(left.total_seconds(), window.close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def closing_on_signals(window: Window | StoreWindow) -> Iterator[None]:
    """Closes a window on the first SIGTERM or SIGINT; a later one interrupts.

    One that comes twice at once, to a group of processes and handed on by one of them,
    is one.

    Only the main thread of a process can listen to signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    came = []

    def close(number, frame):
        came.append(time.monotonic())
        if came[-1] - came[0] > _AT_ONCE:
            raise KeyboardInterrupt
        window.close()

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        signal.signal(number, close)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_SIGNALS = (signal.SIGTERM, signal.SIGINT)
