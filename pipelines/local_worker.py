"""Worker processes on this machine, forked from their launcher before it has threads.

A forked worker has imported all that the launcher has, and shares its memory: it
starts at once, where a new process would import TensorFlow and Beam again.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator

_PR_SET_PDEATHSIG = 1
# Run by Beam for each worker: has it forked, and lives as long as it does.
_REQUEST = """
import json, os, socket
line = socket.socket(socket.AF_UNIX)
line.connect({address!r})
line.sendall(json.dumps(dict(os.environ)).encode())
line.shutdown(socket.SHUT_WR)
line.recv(1)
"""


@contextlib.contextmanager
def worker_source() -> Iterator[list[str]]:
    """Yields the command that starts a worker; in the end all of them are gone.

    Must be entered before gRPC or TensorFlow have threads.
    """
    server = socket.socket(socket.AF_UNIX)
    address = f"\0reviewbeam-{os.getpid()}-{id(server)}"  # abstract: no file is left
    server.bind(address)
    server.listen()
    launcher = os.getpid()
    source = os.fork()
    if source == 0:
        _serve(server, launcher)
    server.close()
    try:
        yield [sys.executable, "-S", "-c", _REQUEST.format(address=address)]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(source, signal.SIGKILL)
        os.waitpid(source, 0)


def _serve(server: socket.socket, launcher: int) -> None:
    """Forks a worker for each request, until the launcher is gone."""
    _end_with(launcher)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # workers are not waited for
    while True:
        line, _ = server.accept()
        if os.fork() == 0:
            _end_with(os.getppid())
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            server.close()
            _work(line)
        line.close()


def _work(line: socket.socket) -> None:
    """Is a worker until Beam has no more work; the line stays open meanwhile."""
    code = 1
    try:
        request = b"".join(iter(lambda: line.recv(65536), b""))
        os.environ.update(json.loads(request))
        from apache_beam.runners.worker import sdk_worker_main

        sdk_worker_main.main(sys.argv[:1])
        code = 0
    finally:
        os._exit(code)


def _end_with(parent: int) -> None:
    """Has the kernel kill this process when its parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it was gone before that line
