"""Outputs that are whole or not there: staging, locks, manifests, fingerprints.

An artifact is built in `OUTPUT.staged/` beside its place and renamed into it,
so that OUTPUT never exists by half. The staging folder is also the lock: its
`flock` is freed by the kernel when its holder dies.
"""

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from reviewbeam.components.common.errors import BusyError, UserError

FORMAT = 1  # of every manifest
MANIFEST = "manifest.json"
RUN_FILE = "run.json"  # times, paths, runner: what may differ between equal runs
SUCCESS = "_SUCCESS"


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


def describe_files(directory: Path, names: Iterable[str]) -> dict[str, Any]:
    """Returns `{name: {"sha256", "bytes"}}` of files in an artifact."""
    return {
        name: {
            "sha256": file_sha256(directory / name),
            "bytes": (directory / name).stat().st_size,
        }
        for name in sorted(names)
    }


def files_below(directory: Path) -> list[str]:
    """Returns the files below a directory as sorted relative POSIX paths."""
    return sorted(
        path.relative_to(directory).as_posix()
        for path in directory.rglob("*")
        if path.is_file()
    )


def check_files(directory: Path, described: Mapping[str, Any], what: str) -> None:
    """Compares files with what the manifest says of them.

    Raises:
      UserError: a file is missing, has another content, or lies outside.
    """
    for name, expected in described.items():
        path = directory / name
        if not path.resolve().is_relative_to(directory.resolve()):
            raise UserError(
                f"{directory} is no sound {what}: {name!r} leads out of it."
            )
        if not path.is_file():
            raise UserError(f"{directory} is no sound {what}: {name!r} is missing.")
        if (
            path.stat().st_size != expected["bytes"]
            or file_sha256(path) != expected["sha256"]
        ):
            raise UserError(
                f"{directory} is no sound {what}: {name!r} is not the file that its "
                "manifest describes. Copy the artifact again, or make it again."
            )


def write_text(path: Path, text: str) -> None:
    """Writes a text file by rename, so that a reader sees it whole or not."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def read_json(path: Path) -> Any:
    """Reads a JSON file of ours."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_manifest(directory: str | os.PathLike, kind: str) -> dict[str, Any]:
    """Reads and checks the manifest of an artifact.

    Args:
      directory: the artifact.
      kind: what it must be: `dataset`, `model`, `evaluation` or `encoder`.

    Raises:
      UserError: it isn't there, isn't ours, or has another kind or format.
    """
    path = Path(directory) / MANIFEST
    if not path.is_file():
        found = (
            "it has no manifest.json" if Path(directory).is_dir() else "no such folder"
        )
        raise UserError(
            f"{str(directory)!r} is not a finished {kind}: {found}. Give the --output "
            f"of the command that makes a {kind}."
        )
    try:
        manifest = read_json(path)
        found_kind, found_format = manifest["kind"], manifest["format"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is not a manifest that reviewbeam wrote.") from None
    if found_kind != kind:
        raise UserError(f"{str(directory)!r} is a {found_kind}; a {kind} was expected.")
    if found_format != FORMAT:
        raise UserError(
            f"{path} has format {found_format}; this version reads format {FORMAT}. "
            f"Make the {kind} again, or use the version that made it."
        )
    return manifest


def write_manifest(
    directory: Path, kind: str, identity: str, *, files: Iterable[str], **facts: Any
) -> dict[str, Any]:
    """Writes and returns the manifest of an artifact.

    Args:
      directory: the artifact, still staged.
      kind: what it is.
      identity: fingerprint of all that it was made from, for `is_done`.
      files: names of the files that are described by size and hash, the run record
        excepted, which differs between equal runs.
      **facts: whatever else the manifest says.
    """
    described = describe_files(directory, [f for f in files if f != RUN_FILE])
    manifest = facts | {
        "format": FORMAT,
        "kind": kind,
        "fingerprint": identity,
        "files": described,
    }
    write_text(directory / MANIFEST, canonical_json(manifest))
    return manifest


def is_done(output: Path, kind: str, expected: str, *, overwrite: bool = False) -> bool:
    """Tells whether an output stands complete with the expected fingerprint.

    Raises:
      UserError: something else is there and `overwrite` is not set, or it is
        nothing that reviewbeam made.
    """
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return False
    if not (output / MANIFEST).is_file():
        raise UserError(
            f"The output {str(output)!r} exists and was not made by reviewbeam. "
            "Choose another --output."
        )
    manifest = read_manifest(output, kind)
    if manifest.get("fingerprint") == expected:
        return True
    if overwrite:
        return False
    raise UserError(
        f"The output {str(output)!r} holds a {kind} made from other inputs or another "
        "config. Choose another --output, or add --overwrite to replace it."
    )


@contextlib.contextmanager
def staged_output(output: Path, job: str) -> Iterator[Path]:
    """Yields an empty staging folder that becomes `output` when the block ends.

    A block that fails leaves nothing behind. An older output is replaced.

    Raises:
      BusyError: another run builds the same output.
      UserError: the staging folder is someone else's, or can't be written.
    """
    output = output.absolute()
    staging = output.with_name(output.name + ".staged")
    with writable(staging), folder_lock(staging):
        leftovers = set(os.listdir(staging))
        if leftovers and RUN_FILE not in leftovers:
            raise UserError(
                f"{str(staging)!r} is needed to build the output and holds files that "
                "reviewbeam did not write. Move them, or choose another --output."
            )
        _clear(staging, last=RUN_FILE)
        run = RunRecord(job)
        run.write(staging)
        try:
            yield staging
            run.write(staging, finished=True)
            (staging / SUCCESS).touch()
            _replace(staging, output)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise


@dataclasses.dataclass
class RunRecord:
    """Times and facts of one run of a job: what may differ between equal runs."""

    job: str
    name: str = RUN_FILE
    started: float = dataclasses.field(default_factory=time.time)

    def write(self, directory: Path, *, finished: bool = False, **facts: Any) -> None:
        """Writes or completes the record, keeping what the job added to it."""
        path = directory / self.name
        data = read_json(path) if path.exists() else {}
        data |= {"job": self.job, "started": _utc(self.started)} | facts
        if finished:
            data |= {
                "finished": _utc(time.time()),
                "seconds": round(time.time() - self.started, 1),
            }
        write_text(path, canonical_json(data))


def add_to_run_record(directory: Path, **facts: Any) -> None:
    """Adds facts (paths, runner, versions, speeds) to an artifact's `run.json`."""
    path = directory / RUN_FILE
    write_text(path, canonical_json(read_json(path) | facts))


@contextlib.contextmanager
def writable(path: Path) -> Iterator[None]:
    """Creates a folder; turns a full disk or a forbidden path into one message."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            raise UserError(
                f"Can't write {error.filename or str(path)!r}: {error.strerror}. "
                "Choose an --output in a folder that you may write to."
            ) from None
        raise


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Holds the only lock on a folder.

    Raises:
      BusyError: another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
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
        os.close(descriptor)


def _clear(folder: Path, *, last: str) -> None:
    entries = sorted(folder.iterdir(), key=lambda path: path.name == last)
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _replace(staging: Path, output: Path) -> None:
    if not output.exists():
        os.rename(staging, output)
        return
    old = output.with_name(f".{output.name}.replaced.{os.getpid()}")
    os.rename(output, old)
    os.rename(staging, output)
    shutil.rmtree(old)


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
