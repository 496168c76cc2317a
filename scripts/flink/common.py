"""What up, down and status share: errors, locks, where things are."""

import contextlib
import fcntl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_FOLDER = ROOT / "runs" / "flink"


class Problem(Exception):  # noqa: N818
    """A message for the user, and the exit code: 1 a fault, 2 a mistake of theirs."""

    def __init__(self, message: str, code: int = 1):
        super().__init__(message)
        self.code = code


def say(text: str) -> None:
    print(f"flink: {text}", flush=True)


def run(action: Callable[[], int]) -> None:
    """Ends this process with what `action` returns, or with its problem's message."""
    try:
        sys.exit(action())
    except Problem as problem:
        print(f"flink: {problem}", file=sys.stderr)
        sys.exit(problem.code)
    except KeyboardInterrupt:
        sys.exit(130)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lets one process at a time go on, by a lock file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def tail(path: Path, lines: int = 15) -> str:
    """Returns the last lines of a log, indented; nothing where there is no file."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    return "".join(f"\n    {line}" for line in text.splitlines()[-lines:])
