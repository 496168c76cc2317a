"""Looks through HDF5 weights before Keras reads them: numbers, and nothing else."""

import io
import os
from pathlib import Path
from typing import NoReturn

import h5py

from reviewbeam.components.common.errors import UserError

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_NUMBERS = "bfiu"  # kinds of NumPy types


def check_weights(path: Path, start: int, size: int) -> None:
    """Checks HDF5 weights that lie within a file.

    Args:
      path: of the file.
      start: the offset where they begin.
      size: their bytes.

    Raises:
      UserError: it is no HDF5, was cut short, or leads to other files.
    """
    with open(path, "rb") as file:
        window = _Window(file, start, size)
        if window.read(len(_SIGNATURE)) != _SIGNATURE:
            _refuse(path, "are not HDF5 (a pickle in their place would run code)")
        try:
            with h5py.File(window, "r") as weights:
                declared = _check_group(path, weights)
        except (OSError, RuntimeError, KeyError, ValueError, RecursionError):
            _refuse(path, "are damaged or were cut short")
    if declared > size:
        _refuse(path, f"announce {declared} bytes of numbers and hold {size}")


def _check_group(path: Path, group: h5py.Group) -> int:
    """Returns the bytes of all numbers below a group."""
    declared = 0
    for name in group:
        link = group.get(name, getlink=True)
        if type(link) is not h5py.HardLink:
            _refuse(path, f"lead elsewhere, by {type(link).__name__} {name!r}")
        item = group[name]
        if h5py.h5o.get_info(item.id).rc != 1:
            _refuse(path, f"have two names for {name!r}")
        if isinstance(item, h5py.Group):
            declared += _check_group(path, item)
        elif not isinstance(item, h5py.Dataset) or item.external or item.is_virtual:
            _refuse(path, f"lead to other files, by {name!r}")
        elif item.dtype.kind not in _NUMBERS:
            _refuse(path, f"hold {item.dtype} in {name!r}; numbers were expected")
        else:
            declared += item.size * item.dtype.itemsize
    return declared


def _refuse(path: Path, reason: str) -> NoReturn:
    raise UserError(
        f"{path} was not opened: its weights {reason}. Use a model from where you "
        "trust it."
    )


class _Window(io.RawIOBase):
    """Part of a file, as a file: so that nothing is copied."""

    def __init__(self, file: io.BufferedReader, start: int, size: int):
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=os.SEEK_SET):
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}
        self._at = origin[whence] + offset
        return self._at

    def tell(self):
        return self._at

    def readinto(self, buffer):
        self._file.seek(self._start + self._at)
        most = max(0, min(len(buffer), self._size - self._at))
        data = self._file.read(most)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
