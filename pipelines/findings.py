"""What `doctor` finds: a line with a state, and what to do about it."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
from typing import Any, Literal

GOOD, WARNING, BAD = "good", "warning", "bad"
_SECONDS = 60.0  # for a library to be imported where no bytecode is cached
_SECONDS_TO_DIE = 2.0
_running: set[subprocess.Popen] = set()


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
        # Without -P, a json.py of the folder that this runs in would be run.
        done = run([sys.executable, "-P", "-c", code], seconds)
    except subprocess.TimeoutExpired:
        raise ProbeError(f"no answer within {seconds:g} s") from None
    if done.returncode < 0:
        raise ProbeError(f"it crashed: {_describe_signal(-done.returncode)}")
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise ProbeError(said[-1] if said else f"exit code {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def run(command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Runs a command, and kills it with all that it started where it takes too long.

    Raises:
      OSError: it can't be started.
      subprocess.TimeoutExpired: it was killed.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    _running.add(process)
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        _kill(process)
        # Not for long: a process that waits for a driver can't even be killed.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_SECONDS_TO_DIE)
        raise
    finally:
        _running.discard(process)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def kill_running() -> None:
    """Kills what is running: Ctrl-C doesn't reach sessions of their own."""
    for process in list(_running):
        _kill(process)


def _kill(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


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
