"""What artifacts are made of: manifests, fingerprints, described files."""

import dataclasses
import glob
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from reviewbeam.components.common.errors import UserError, listing
from reviewbeam.components.common.places import Place, for_each, place
from reviewbeam.components.common.stores import StorePath

FORMAT = 3  # of every manifest
MANIFEST = "manifest.json"
_UNFINISHED = ".{name}.*.tmp"  # what `write_bytes` has not renamed yet
UNFINISHED = _UNFINISHED.format(name="*")
_MOST_NEAR = 100  # entries of a folder that are looked at for an artifact
RUN_FILE = "run.json"  # times, paths, runner: what may differ between equal runs


class OtherFormatError(UserError):
    """An artifact of the right kind that another version of reviewbeam made."""


def canonical_json(data: Any) -> str:
    """Returns the one JSON text of some data: keys sorted, UTF-8 kept."""
    return json.dumps(data, sort_keys=True, ensure_ascii=False, indent=1) + "\n"


def fingerprint(data: Any) -> str:
    """Returns the SHA-256 of the data's canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(data).encode()).hexdigest()


def file_sha256(path: str | os.PathLike) -> str:
    """Returns the SHA-256 of a local file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_files(
    directory: Place, names: Iterable[str], hashes: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Returns `{name: {"sha256", "bytes"}}` of files in an artifact.

    Args:
      directory: the artifact.
      names: of its files.
      hashes: of those that were hashed when they were put into a store, so that they
        needn't be fetched from there.
    """
    if isinstance(directory, StorePath):
        return _describe_objects(directory, sorted(names), hashes or {})
    return {
        name: {
            "sha256": file_sha256(directory / name),
            "bytes": (directory / name).stat().st_size,
        }
        for name in sorted(names)
    }


def _describe_objects(
    directory: StorePath, names: list[str], hashes: Mapping[str, str]
) -> dict[str, Any]:
    sizes = {path: size for path, size, _ in directory.below()}

    def describe(name: str) -> dict[str, Any]:
        path = directory / name
        sha256 = hashes.get(name) or hashlib.sha256(path.read_bytes()).hexdigest()
        return {"sha256": sha256, "bytes": sizes[path]}

    return dict(zip(names, for_each(directory, describe, names), strict=True))


def files_below(directory: Path) -> list[str]:
    """Returns the files below a directory as sorted relative POSIX paths."""
    return sorted(
        path.relative_to(directory).as_posix()
        for path in directory.rglob("*")
        if path.is_file()
    )


def check_files(
    directory: Path, described: Mapping[str, Any], what: str, shown: str | None = None
) -> None:
    """Compares files with what the manifest says of them.

    Args:
      directory: that holds them.
      described: the manifest's `files`.
      what: it is, for messages.
      shown: its name in messages; None: its path.

    Raises:
      UserError: a file is missing, has another content, or lies outside; or the
        manifest doesn't describe files as ours do.
    """
    shown = shown or str(directory)
    if not isinstance(described, Mapping) or not all(
        isinstance(expected, Mapping) and {"bytes", "sha256"} <= expected.keys()
        for expected in described.values()
    ):
        raise UserError(f"{shown}/{MANIFEST} is not a manifest that reviewbeam wrote.")
    for name, expected in described.items():
        path = directory / name
        if "\0" in name or not path.resolve().is_relative_to(directory.resolve()):
            raise UserError(f"{shown} is no sound {what}: {name!r} leads out of it.")
        if not path.is_file():
            raise UserError(f"{shown} is no sound {what}: {name!r} is missing.")
        if (
            path.stat().st_size != expected["bytes"]
            or file_sha256(path) != expected["sha256"]
        ):
            raise UserError(
                f"{shown} is no sound {what}: {name!r} is not the file that its "
                "manifest describes. Copy the artifact again, or make it again."
            )


def write_bytes(
    path: Place, data: bytes, mode: int = 0o666, *, sync: bool = False
) -> None:
    """Writes a file by rename, or puts an object: a reader sees it whole or not.

    Args:
      path: of the file.
      data: its content.
      mode: its permissions, less the process's umask; a store has its own.
      sync: wait until it is on the disk, so that what is written after it and tells of
        it can't outlive it; in a store it always is.
    """
    if isinstance(path, StorePath):
        return path.write_bytes(data)
    # Threads and hosts may write the same at the same time.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    try:
        with open(os.open(temporary, flags, mode), "wb") as f:
            f.write(data)
            if sync:
                f.flush()
                os.fsync(f.fileno())
        os.replace(temporary, path)
    except BaseException:  # a full disk, or a signal
        temporary.unlink(missing_ok=True)
        raise


def remove_unfinished(path: Place) -> None:
    """Removes what writers of a file left that were killed, where none is at work.

    A put into a store leaves nothing.
    """
    if isinstance(path, Path):
        pattern = _UNFINISHED.format(name=glob.escape(path.name))
        for unfinished in path.parent.glob(pattern):
            unfinished.unlink(missing_ok=True)


def write_text(path: Place, text: str) -> None:
    """Writes a text file as UTF-8, by rename."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Place, data: Any) -> None:
    """Writes data as canonical JSON, by rename."""
    write_text(path, canonical_json(data))


def write_items(items: Iterable[Any], path: Place) -> None:
    """Writes dataclasses or plain values as a JSON list: what workers tell a launcher.

    The path comes last, so that `beam.Map` takes it.
    """
    write_json(
        path,
        [dataclasses.asdict(i) if dataclasses.is_dataclass(i) else i for i in items],
    )


def read_json(path: Place) -> Any:
    """Reads a JSON file of ours."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_manifest(directory: str | os.PathLike | Place, kind: str) -> dict[str, Any]:
    """Reads and checks the manifest of an artifact.

    Args:
      directory: the artifact.
      kind: what it must be: `dataset`, `model`, `tuning`, `evaluation` or `encoder`.

    Raises:
      UserError: it isn't there, isn't ours, or has another kind.
      OtherFormatError: it has another format.
    """
    folder = place(directory)
    path = folder / MANIFEST
    if not path.is_file():
        found = "it has no manifest.json" if folder.is_dir() else "no such folder"
        near = _near(folder, kind)
        meant = f"{listing(near, most=3)}, or " if near else ""
        raise UserError(
            f"{str(directory)!r} is not a finished {kind}: {found}. Give {meant}the "
            f"--output of the command that makes a {kind}."
        )
    try:
        manifest = read_json(path)
        found_kind, found_format = manifest["kind"], manifest["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{path} is not a manifest that reviewbeam wrote.") from None
    if found_kind != kind:
        raise UserError(
            f"{str(directory)!r} is of kind {found_kind!r}; {kind!r} was expected."
        )
    if found_format != FORMAT:
        raise OtherFormatError(
            f"{path} has format {found_format}; this version reads format {FORMAT}. "
            f"Make the {kind} again, or use the version that made it."
        )
    return manifest


def _near(folder: Place, kind: str) -> list[str]:
    """Returns artifacts of a kind right below or around a folder, for a message."""
    if not isinstance(folder, Path) or not folder.is_dir():
        return []
    return [
        str(path)
        for path in (*sorted(folder.iterdir())[:_MOST_NEAR], *folder.parents[:2])
        if _kind(path) == kind
    ]


def _kind(folder: Path) -> str | None:
    try:
        return read_json(folder / MANIFEST)["kind"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def write_manifest(
    directory: Place,
    kind: str,
    identity: str,
    *,
    files: Iterable[str],
    hashes: Mapping[str, str] | None = None,
    **facts: Any,
) -> dict[str, Any]:
    """Writes and returns the manifest of an artifact.

    Args:
      directory: the artifact, still staged.
      kind: what it is.
      identity: fingerprint of all that it was made from, for `is_done`.
      files: names of the files that are described by size and hash, the run record
        excepted, which differs between equal runs.
      hashes: as in `describe_files`.
      **facts: whatever else the manifest says.
    """
    names = [name for name in files if name != RUN_FILE]
    described = describe_files(directory, names, hashes)
    manifest = facts | {
        "format": FORMAT,
        "kind": kind,
        "fingerprint": identity,
        "files": described,
    }
    write_json(directory / MANIFEST, manifest)
    return manifest
