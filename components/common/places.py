"""Where outputs are: folders of a file system, or of an object store.

A place is a `pathlib.Path` or a `StorePath`, which share what they can. Here is what
each does its own way: on a file system a file comes into being by a rename, on a store
by a put; and a store, where each request takes its time, is asked many things at once.
"""

import fnmatch
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from reviewbeam.components.common import stores
from reviewbeam.components.common.stores import AT_ONCE, StorePath

Place = Path | StorePath
T = TypeVar("T")


def place(where: str | os.PathLike | StorePath) -> Place:
    """Returns the place of a path or URL.

    Raises:
      UserError: it is the URL of something else than a store.
    """
    if isinstance(where, StorePath):
        return where
    where = os.fspath(where)
    return StorePath.of(where) if "://" in where else Path(where)


def in_store(where: str | os.PathLike | StorePath) -> bool:
    """Tells whether a place is in an object store."""
    return isinstance(where, StorePath) or "://" in os.fspath(where)


def names_in(folder: Place, pattern: str = "*") -> list[str]:
    """Returns the names directly in a folder, sorted; none if it isn't there."""
    if isinstance(folder, StorePath):
        names = [path.name for path in folder.iterdir()]
    else:
        names = os.listdir(folder) if folder.is_dir() else []
    return sorted(fnmatch.filter(names, pattern))


def for_each(
    folder: Place, do: Callable[[Any], T], items: Iterable[Any]
) -> Iterator[T]:
    """Yields what comes of each item, many at once where the folder is in a store."""
    if not isinstance(folder, StorePath):
        yield from map(do, items)
        return
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(do, items)


def read_all(folder: Place, pattern: str) -> Iterator[bytes]:
    """Yields the bytes of files directly in a folder, in order of their names."""
    paths = [folder / name for name in names_in(folder, pattern)]
    return for_each(folder, lambda path: path.read_bytes(), paths)


def remove_files(folder: Place, names: Iterable[str]) -> None:
    """Removes files directly in a folder."""
    if isinstance(folder, StorePath):
        stores.remove(folder / name for name in names)
    else:
        for name in names:
            (folder / name).unlink()


def remove_tree(folder: Place) -> None:
    """Removes a folder and all that is below, as far as that can be."""
    if isinstance(folder, StorePath):
        stores.remove(path for path, _, _ in folder.below())
    else:
        shutil.rmtree(folder, ignore_errors=True)


def clear_folder(folder: Path, last: str, keep: Collection[str] = ()) -> None:
    """Empties a folder of a file system.

    Args:
      folder: the folder.
      last: name of what goes last: it shows that the folder is ours.
      keep: names of what stays.
    """
    for entry in sorted(folder.iterdir(), key=lambda path: path.name == last):
        if entry.name in keep:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def move(source: Place, target: Place) -> None:
    """Moves a file into the place of another."""
    if source == target:
        return
    if isinstance(source, StorePath):
        stores.copy(source, target)
        source.unlink()
    else:
        os.replace(source, target)


def make_private(folder: Place, names: Iterable[str]) -> None:
    """Lets nobody but their owner read files; who reads a store, its bucket decides."""
    if isinstance(folder, Path):
        for name in names:
            (folder / name).chmod(0o600)
