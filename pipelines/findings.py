"""What `doctor` finds: a line with a state, and what to do about it."""

import dataclasses
import json
import signal
import subprocess
import sys
from typing import Any, Literal

GOOD, WARNING, BAD = "good", "warning", "bad"
_SECONDS = 60.0  # for a library to be imported where no bytecode is cached


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the report."""

    check: str  # what was looked at
    state: Literal["good", "warning", "bad"]
    found: str
    advice: str = ""  # what to do; empty only where all is good


class ProbeError(Exception):
    """A library can't be used; the message says how it ended."""


def probe(code: str, seconds: float = _SECONDS) -> Any:
    """Runs Python code in a process of its own, which may crash without harm here.

    Args:
      code: prints what it finds, as one line of JSON, last.
      seconds: after which it is killed.

    Returns:
      What it found.

    Raises:
      ProbeError: it crashed, failed or took too long.
    """
    try:
        done = subprocess.run(
            # Without -P, a json.py of the folder that this runs in would be run.
            [sys.executable, "-P", "-c", code],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProbeError(f"no answer within {seconds:.0f} s") from None
    if done.returncode < 0:
        raise ProbeError(f"it crashed: {_describe_signal(-done.returncode)}")
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise ProbeError(said[-1] if said else f"exit code {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def _describe_signal(number: int) -> str:
    """Returns a signal's name, and what it means where that helps."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    meaning = {
        "SIGILL": "an instruction that this processor doesn't have",
        "SIGKILL": "killed, perhaps for want of memory",
        "SIGSEGV": "a fault of a library",
    }.get(name)
    return f"{name}, {meaning}" if meaning else name
