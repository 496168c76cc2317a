"""The lock on a place in an object store: an object that one run can create.

Its holder writes it anew every half minute, each time in the place of the very state
that it wrote before (a conditional put). A lock that was left so for five minutes, by
the store's own clock, is taken over in the same way, so that of several runs one gets
it. What is guaranteed, given that the store's conditional puts are atomic:

- Two runs never both write a manifest that they hold the lock for: `check`, which a
  run calls right before, fails as soon as another has taken the lock.
- What remains is a run that stands still for five minutes between that check and the
  put behind it, or between the last check and the removal of its own lock.
"""

import contextlib
import dataclasses
import json
import os
import platform
import secrets
import threading
from collections.abc import Iterator
from typing import Any

from reviewbeam.components.common.background import in_background
from reviewbeam.components.common.errors import BusyError, ReviewbeamError, UserError
from reviewbeam.components.common.run_record import RunRecord, utc
from reviewbeam.components.common.stores import ChangedError, StorePath

LOCK = "_lock.json"
_REFRESH = 30.0  # seconds
_STALE = 300.0  # seconds


@contextlib.contextmanager
def held(folder: StorePath, run: RunRecord, *, lock: bool = True) -> Iterator[None]:
    """Holds the only lock on a folder of a store, for a run that asks for it.

    Args:
      folder: of the output.
      run: its `check` becomes the lock's.
      lock: False: the user sees to it that there is one run at a time.

    Raises:
      BusyError: another run holds it, or took it over.
      UserError: the store has no conditional puts, or can't be used.
    """
    if not lock:
        yield
        return
    now = _check_conditional_puts(folder)
    held = Lock(folder)
    held.take(now)
    run.check = held.check
    try:
        with in_background(held.keep):
            yield
    finally:
        held.release()


@dataclasses.dataclass
class Lock:
    """The lock of this run on a folder."""

    folder: StorePath

    def __post_init__(self):
        """Says whose it is."""
        self._path = self.folder / LOCK
        self._says = {
            "host": platform.node(),
            "pid": os.getpid(),
            "since": utc(),
            "run": secrets.token_hex(8),
        }
        self._beats = 0
        self._tag: dict[str, str] = {}
        self._guard = threading.Lock()

    def take(self, now: float) -> None:
        """Creates the lock, or takes one over that nobody keeps.

        Args:
          now: the time by the store's clock.

        Raises:
          BusyError: another run holds it.
        """
        try:
            self._tag = self._path.create(self._content())
            return
        except FileExistsError:
            pass
        try:
            found = self._path.read()
        except FileNotFoundError:  # freed in this moment
            raise self._busy({}) from None
        told = _told(found.data)
        if told.get("run") == self._says["run"]:  # the reply was lost, the put wasn't
            self._tag = found.tag
            return
        if now - found.modified <= _STALE:
            raise self._busy(told)
        try:
            self._tag = self._path.replace(self._content(), found.tag)
        except ChangedError:
            raise self._busy({}) from None

    def check(self) -> None:
        """Keeps the lock.

        Raises:
          BusyError: another run has taken it, since this one stood still.
        """
        with self._guard:
            self._beats += 1
            try:
                self._tag = self._path.replace(self._content(), self._tag)
            except ChangedError:
                try:
                    found = self._path.read()
                except FileNotFoundError:
                    raise self._lost({}) from None
                told = _told(found.data)
                if (told.get("run"), told.get("beats")) != (
                    self._says["run"],
                    self._beats,
                ):
                    raise self._lost(told) from None
                self._tag = found.tag

    def keep(self, ended: threading.Event) -> None:
        """Keeps the lock until the run has ended, or has lost it."""
        while not ended.wait(_REFRESH):
            try:
                self.check()
            except BusyError:
                return
            except ReviewbeamError:
                pass  # the next one may reach the store; so long the lock stands

    def release(self) -> None:
        """Removes the lock, if it is this run's."""
        with contextlib.suppress(ReviewbeamError):
            self.check()
            self._path.unlink()

    def _content(self) -> bytes:
        return json.dumps(self._says | {"beats": self._beats}).encode()

    def _busy(self, told: dict[str, Any]) -> BusyError:
        return BusyError(
            f"Another run is writing {str(self.folder)!r}{_whose(told)}. Wait for its "
            f"end, or choose another --output. If it was killed, the lock is free "
            f"{_STALE / 60:.0f} minutes later."
        )

    def _lost(self, told: dict[str, Any]) -> BusyError:
        return BusyError(
            f"This run stood still for so long that another one took over "
            f"{str(self.folder)!r}{_whose(told)}. Run it again when that has ended."
        )


def _whose(told: dict[str, Any]) -> str:
    if not told:
        return ""
    host, pid, since = (told.get(key) for key in ("host", "pid", "since"))
    return f": process {pid} on {host}, since {since}"


def _told(data: bytes) -> dict[str, Any]:
    try:
        told = json.loads(data)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _check_conditional_puts(folder: StorePath) -> float:
    """Tries whether the store has conditional puts; returns the time by its clock.

    Raises:
      UserError: it has none.
    """
    path = folder / f"_lock-probe-{secrets.token_hex(8)}"
    try:
        path.write_bytes(b"1")
        found = path.read()
        if not (_refuses_to_create(path) and _refuses_to_replace(path, found.tag)):
            raise UserError(
                f"{folder.root} has no conditional puts (If-None-Match, If-Match): two "
                "runs could write the same output. Use a store that has them, or see "
                "to it that there is one run at a time and add --no-lock."
            )
    finally:
        with contextlib.suppress(ReviewbeamError):
            path.unlink()
    return found.modified


def _refuses_to_create(path: StorePath) -> bool:
    try:
        path.create(b"2")
    except FileExistsError:
        return True
    except ReviewbeamError:  # "not implemented" is no conditional put either
        return False
    return False


def _refuses_to_replace(path: StorePath, tag: dict[str, str]) -> bool:
    try:
        path.replace(b"3", tag)
    except (ChangedError, ReviewbeamError):
        return False
    try:
        path.replace(b"4", tag)  # which is not its tag any more
    except ChangedError:
        return True
    except ReviewbeamError:
        return False
    return False
