"""The processes of a cluster, told by a variable that each of them inherits.

A task manager's workers inherit it too, and keep it when the task manager is gone. So
no file of process ids can be stale, and none of somebody else's is taken for ours.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MARK = "REVIEWBEAM_FLINK_FOLDER"
JOB_MANAGER, TASK_MANAGER, WORKER = "job manager", "task manager", "worker"
_CLASSES = {
    b"org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint": (
        JOB_MANAGER
    ),
    b"org.apache.flink.runtime.taskexecutor.TaskManagerRunner": TASK_MANAGER,
}
_ID = b"taskmanager.resource-id="


@dataclass(frozen=True)
class Process:
    """One that lives: `name` is a task manager's, by which the job manager knows it."""

    pid: int
    kind: str
    name: str = ""


def mark(folder: Path) -> dict[str, str]:
    """Returns the environment by which a process is known to be of this folder."""
    return {_MARK: os.fspath(folder)}


def processes(folder: Path) -> list[Process]:
    """Returns the processes of this folder's cluster; what isn't Java is a worker."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and _is_ours(int(entry.name), folder):
            with contextlib.suppress(OSError):
                found.append(_described(int(entry.name)))
    return found


def end(folder: Path, grace: float) -> list[Process]:
    """Ends the cluster's processes, by SIGKILL those that live after `grace` seconds.

    Returns:
      those that had to be killed.
    """
    # Workers end with their task manager.
    for process in processes(folder):
        if process.kind != WORKER:
            _send(process.pid, folder, signal.SIGTERM)
    if not _gone(folder, grace):
        stubborn = processes(folder)
        while left := processes(folder):
            for process in left:
                _send(process.pid, folder, signal.SIGKILL)
            _gone(folder, 1)
        return stubborn
    return []


def _gone(folder: Path, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while processes(folder):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def _is_ours(pid: int, folder: Path) -> bool:
    wanted = f"{_MARK}={folder}".encode()
    try:
        # Of a zombie, and of a process of somebody else, there is nothing to read.
        return wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _described(pid: int) -> Process:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    kind = next((_CLASSES[word] for word in words if word in _CLASSES), WORKER)
    name = next((word[len(_ID) :] for word in words if word.startswith(_ID)), b"")
    return Process(pid, kind, name.decode())


def _send(pid: int, folder: Path, number: int) -> None:
    with contextlib.suppress(ProcessLookupError), _held(pid) as descriptor:
        # Looked at again while it is held: the number may be another process's by now.
        if _is_ours(pid, folder):
            signal.pidfd_send_signal(descriptor, number)


@contextlib.contextmanager
def _held(pid: int) -> Iterator[int]:
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
