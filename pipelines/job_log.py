"""The log of a job, a file beside what it writes: `OUTPUT.log`.

It has what was shown, libraries' warnings, and where a fault came from, but no value
that a library quotes, since that may be a review's.
"""

import contextlib
import hashlib
import logging
import os
import platform
import re
import shlex
import stat
import sys
import time
import warnings
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from reviewbeam.components.common import journal
from reviewbeam.components.common.config import Config
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.host_copies import cache_root
from reviewbeam.components.common.journal import LOG_HEAD
from reviewbeam.components.common.places import Place
from reviewbeam.components.common.run_record import utc

# Nothing is followed, and what isn't a file isn't waited for.
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_FLAGS |= os.O_NOFOLLOW | os.O_NONBLOCK
_MOST_BYTES = 4 * 2**20  # then it is put aside, as OUTPUT.log.1
_PACKAGES = ("tensorflow", "keras", "apache-beam", "pyarrow", "numpy")
# These tell of code, not of data.
_ABOUT_CODE = (
    DeprecationWarning,
    FutureWarning,
    ImportWarning,
    PendingDeprecationWarning,
    SyntaxWarning,
)


class JobLog(logging.Handler):
    """Keeps the lines of one run, in memory until it is known where they belong."""

    def __init__(self, words: Sequence[str], of_beam: Sequence[str] = ()):
        """Begins to listen.

        Args:
          words: of the command line.
          of_beam: those of them that are Beam's; their values may be secrets.
        """
        super().__init__(logging.WARNING)
        self._started = time.monotonic()
        self._process = os.getpid()
        self._path: Path | None = None
        self._file: int | None = None
        self._was_empty = False
        self._written = 0
        self._waiting = _head(words, of_beam)
        self._warnings: set[str] = set()  # each is told once
        self._listener = _Listener(self)
        journal.told.addHandler(self._listener)
        logging.getLogger().addHandler(self)
        self._show_warning = warnings.showwarning
        warnings.showwarning = self._warned

    @property
    def path(self) -> Path | None:
        """The file; None: there is none."""
        return None if self._file is None else self._path

    def beside(self, output: Place, config: Config | None = None) -> None:
        """Names the output; one in an object store has its log on this host.

        Args:
          output: what the job writes.
          config: as it was resolved.
        """
        if config is not None:
            self._waiting += f"# config: {config.model_dump_json()}\n"
        if isinstance(output, Path):
            output = Path(os.path.abspath(output))
            if not output.name:  # the root, which no job can write
                return
            self._path = output.with_name(f"{output.name}.log")
        else:
            name = re.sub(r"[^\w.-]+", "-", str(output).partition("://")[2])[-80:]
            key = hashlib.sha256(str(output).encode()).hexdigest()[:8]
            self._path = cache_root() / "logs" / f"{name}-{key}.log"
            with contextlib.suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._write("")

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps where a library warned; not what it said, which may quote a review."""
        text = f"{record.levelname} of {record.name} at {record.pathname}"
        text += f":{record.lineno}"
        if record.args:  # then the message has places for the values
            text += f": {record.msg}"
        self._once(text)

    def line(self, text: str) -> None:
        """Keeps some lines, with the time."""
        for part in text.splitlines():
            self._write(f"{utc()} {part}\n")

    def _once(self, text: str) -> None:
        if text not in self._warnings:
            self._warnings.add(text)
            self.line(text)

    def close_with(self, code: int) -> None:
        """Ends the log; a mistake alone, whose message said it all, leaves none."""
        journal.told.removeHandler(self._listener)
        logging.getLogger().removeHandler(self)
        warnings.showwarning = self._show_warning
        seconds = time.monotonic() - self._started
        if self._path is not None and code != UserError.exit_code:
            with contextlib.suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
        self.line(f"exit code {code} after {seconds:.1f} s")
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            alone = self._was_empty and os.fstat(self._file).st_size == self._written
            if code == UserError.exit_code and alone:
                os.unlink(self._path)
        os.close(self._file)
        self._file = None

    def _write(self, text: str) -> None:
        self._waiting += text
        # A log is not worth a job: where it can't be written, there is none.
        with contextlib.suppress(OSError):
            if self._file is None:
                self._open()
            if self._file is not None:
                data = self._waiting.encode(errors="replace")
                self._waiting = ""
                self._written += os.write(self._file, data)

    def _open(self) -> None:
        path = self._path
        if path is None or os.getpid() != self._process:  # a worker begins none
            return
        if not path.parent.is_dir():  # the job makes it, or fails
            return
        file = os.open(path, _FLAGS, 0o600)  # its owner's alone
        found = os.fstat(file)
        head = os.pread(file, len(LOG_HEAD), 0) if stat.S_ISREG(found.st_mode) else b"?"
        if head and head != LOG_HEAD.encode():
            os.close(file)
            self._path = None  # somebody else's file
            return
        if found.st_size > _MOST_BYTES:
            os.close(file)
            os.replace(path, f"{path}.1")
            file = os.open(path, _FLAGS, 0o600)
        self._file = file
        self._was_empty = os.fstat(file).st_size == 0

    def _warned(self, message, category, filename, lineno, file=None, line=None):
        text = f"{category.__name__} at {filename}:{lineno}"
        if issubclass(category, _ABOUT_CODE):
            text += f": {message}"
        self._once(text)
        self._show_warning(message, category, filename, lineno, file, line)


class _Listener(logging.Handler):
    """Hands on what people were told."""

    def __init__(self, log: JobLog):
        super().__init__(logging.INFO)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.line(record.getMessage())


def _head(words: Sequence[str], of_beam: Sequence[str]) -> str:
    versions = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions.append(f"{package} {metadata.version(package)}")
    shown = ["reviewbeam", *(word for word in words if word not in of_beam)]
    for word in of_beam:
        name = word.partition("=")[0]
        shown.append("…" if not word.startswith("--") else f"{name}=…")
    return (
        f"{LOG_HEAD}{metadata.version('reviewbeam')}, {utc()}, process {os.getpid()}\n"
        f"# command: {shlex.join(shown)}\n"
        f"# in: {os.environ.get('PWD', '?')}\n"
        f"# with: {', '.join(versions)}, {sys.platform}\n"
    )
