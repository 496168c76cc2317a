"""Folders that one run at a time writes: made where needed, and locked."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from reviewbeam.components.common.errors import BusyError, UserError
from reviewbeam.components.common.places import Place
from reviewbeam.components.common.run_record import RunRecord
from reviewbeam.components.common.store_lock import held
from reviewbeam.components.common.stores import StorePath

_NOT_WRITABLE = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,  # a file where a folder is needed
)


def make_folder(path: Path) -> None:
    """Creates a folder and its parents, or takes the one that is there.

    Raises:
      UserError: it can't be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    except OSError as error:
        if error.errno in _NOT_WRITABLE:
            raise UserError(
                f"Can't write {os.fspath(error.filename or path)!r}: {error.strerror}. "
                "Choose an --output in a folder that you may write to."
            ) from None
        raise


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Holds the only lock on a folder.

    Raises:
      BusyError: another process holds it.
    """
    descriptor = None
    try:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            same = os.fstat(descriptor).st_ino == os.stat(folder).st_ino
        except (BlockingIOError, FileNotFoundError):
            same = False
        if not same:
            raise BusyError(
                f"Another run is writing {str(folder)!r}. Wait for its end, or choose "
                "another --output."
            )
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextlib.contextmanager
def held_folder(folder: Place, run: RunRecord, *, lock: bool = True) -> Iterator[None]:
    """Makes a folder, or takes the one that is there, and holds the only lock on it.

    Args:
      folder: of an output.
      run: whose `check` tells whether the lock was lost.
      lock: as in `staged_output`.

    Raises:
      UserError: it can't be written.
      BusyError: another run holds it.
    """
    if isinstance(folder, StorePath):
        with held(folder, run, lock=lock):
            yield
        return
    make_folder(folder)
    with folder_lock(folder):
        yield
