"""Artifacts of an object store, copied once to each host that uses them.

    CACHE/artifacts/<fingerprint>/<name>/   the copy, checked by its manifest
    CACHE/artifacts/<fingerprint>.json      where it came from
    CACHE/artifacts/<fingerprint>.lock      held by the process that copies

CACHE is $REVIEWBEAM_CACHE, or $XDG_CACHE_HOME/reviewbeam, or ~/.cache/reviewbeam. The
fingerprint is of the manifest and of the names, sizes and tags of all objects, so that
what comes to lie beside the manifest later (a blessing) is another copy.
"""

import dataclasses
import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reviewbeam.components.common.artifacts import (
    MANIFEST,
    canonical_json,
    check_files,
    write_json,
)
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.places import Place, for_each, place
from reviewbeam.components.common.stores import StorePath

CACHE_VARIABLE = "REVIEWBEAM_CACHE"
_ARTIFACTS = "artifacts"


@dataclasses.dataclass(frozen=True)
class HostPath:
    """A file or folder that each host has, or makes itself a copy of.

    Attributes:
      path: where it is on a file system; of a copy: below the artifact.
      url: of the artifact in its store; None: a file system has it.
      fingerprint: of that artifact.
    """

    path: str
    url: str | None = None
    fingerprint: str = ""

    def here(self) -> str:
        """Returns its path on this host; copies the artifact if it isn't there yet.

        Raises:
          UserError: the artifact isn't what it was, or is damaged.
        """
        if self.url is None:
            return self.path
        return os.path.join(
            _copied(StorePath.of(self.url), self.fingerprint), self.path
        )


def on_every_host(path: str | os.PathLike) -> HostPath:
    """Returns what leads workers on any host to a path of this one."""
    path = Path(path).absolute()
    try:
        fingerprint, name, *below = path.relative_to(_cache()).parts
        told = json.loads((_cache() / f"{fingerprint}.json").read_text())
    except (ValueError, FileNotFoundError):
        return HostPath(os.fspath(path))
    return HostPath(os.path.join(*below) if below else "", told["url"], fingerprint)


def origin(path: str | os.PathLike) -> str:
    """Returns where a path is from: the URL of a copy, else itself."""
    found = on_every_host(path)
    return found.path if found.url is None else f"{found.url}/{found.path}".rstrip("/")


def host_copy(where: str | os.PathLike | StorePath) -> Path:
    """Returns the local folder of an artifact; of one in a store, this host's copy.

    Raises:
      UserError: the store has no artifact there, or a damaged one.
    """
    found = place(where)
    return found if isinstance(found, Path) else _copied(found, None)


def cache_root() -> Path:
    """Returns the folder for what is brought from elsewhere."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser() / "reviewbeam"


def _cache() -> Path:
    return cache_root().absolute() / _ARTIFACTS


def _copied(source: StorePath, wanted: str | None) -> Path:
    """Returns the copy of an artifact; makes it where there is none.

    Args:
      source: the artifact.
      wanted: its fingerprint; None: as it is now.
    """
    if wanted is not None and (copy := _place_of(source, wanted)).is_dir():
        return copy
    found, objects = _look(source)
    if wanted not in (None, found):
        raise UserError(
            f"{source} was changed while this run was using it. Run it again."
        )
    copy = _place_of(source, found)
    if not copy.is_dir():
        with _alone(found):
            if not copy.is_dir():  # another process was first
                _copy(source, objects, copy)
    return copy


def _place_of(source: StorePath, fingerprint: str) -> Path:
    return _cache() / fingerprint / (source.name or "artifact")


def _look(source: StorePath) -> tuple[str, list[StorePath]]:
    """Returns the fingerprint of an artifact, and its objects."""
    try:
        manifest = (source / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{source} is no finished artifact: there is no {source / MANIFEST}. Give "
            "the --output of the command that made it, or copy it there again."
        ) from None
    objects = source.below()
    listed = [[str(path), size, tag] for path, size, tag in objects]
    digest = hashlib.sha256(manifest + canonical_json(listed).encode())
    return digest.hexdigest()[:32], [path for path, _, _ in objects]


def _copy(source: StorePath, objects: list[StorePath], target: Place) -> None:
    """Copies an artifact, whole or not at all; no other process copies the same."""
    folder = target.parent
    for killed in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(killed, ignore_errors=True)
    staged = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        copy = staged / target.name
        copy.mkdir(parents=True)

        def download(path: StorePath) -> None:
            name = path.key.removeprefix(f"{source.key}/")
            if not (copy / name).resolve().is_relative_to(copy.resolve()):
                raise UserError(f"{source} holds {name!r}, which leads out of it.")
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            path.download(copy / name)

        list(for_each(source, download, objects))
        _check(source, copy)
        write_json(folder.with_name(f"{folder.name}.json"), {"url": str(source)})
        os.rename(staged, folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _check(source: StorePath, copy: Path) -> None:
    """Holds a copy, and what lies in it with a manifest of its own, against those."""
    for path in sorted(copy.rglob(MANIFEST)):
        try:
            described = json.loads(path.read_text(encoding="utf-8"))["files"]
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{source}: {path.relative_to(copy)} is not a manifest that reviewbeam "
                "wrote."
            ) from None
        folder = source / path.parent.relative_to(copy).as_posix().strip(".")
        check_files(path.parent, described, "artifact", shown=str(folder))


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Waits until no other process of this host copies the same."""
    _cache().mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(_cache() / f"{name}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
