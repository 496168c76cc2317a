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
import struct
import sys
import threading
from collections.abc import Iterator

_PR_SET_PDEATHSIG = 1
# Run by Beam for each worker: has it forked, and lives as long as it does. Beam waits
# for ever for a worker that is gone, so that the launcher must be told.
_REQUEST = """
import json, os, signal, socket, struct, sys
for number in (signal.SIGINT, signal.SIGTERM):  # the launcher decides
    signal.signal(number, signal.SIG_IGN)
line = socket.socket(socket.AF_UNIX)
try:
    line.connect({address!r})
    owner = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, {peer}, 12))[1]
    assert owner == os.getuid()
    line.sendall(json.dumps(dict(os.environ)).encode())
    line.shutdown(socket.SHUT_WR)
    done = line.recv(1)
except (OSError, AssertionError):
    done = b""
if not done:
    print("reviewbeam: a worker process was killed, perhaps for want of memory; fewer "
          "need less: --direct_num_workers=1.", file=sys.stderr)
    os.kill(os.getppid(), signal.SIGUSR1)
"""


@contextlib.contextmanager
def worker_source() -> Iterator[list[str]]:
    """Yields the command that starts a worker; behind it no more can be started.

    Must be entered before gRPC or TensorFlow have threads.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGUSR1, signal.default_int_handler)  # a worker is gone
    server = socket.socket(socket.AF_UNIX)
    address = f"\0reviewbeam-{os.getpid()}-{id(server)}"  # abstract: no file is left
    server.bind(address)
    server.listen()
    launcher = os.getpid()
    source = os.fork()
    if source == 0:
        try:  # nothing of the launcher's own clean-up may run here
            _serve(server, launcher)
        finally:
            os._exit(1)
    server.close()
    request = _REQUEST.format(address=address, peer=int(socket.SO_PEERCRED))
    try:
        yield [sys.executable, "-I", "-S", "-c", request]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(source, signal.SIGKILL)
        os.waitpid(source, 0)


def _serve(server: socket.socket, launcher: int) -> None:
    """Forks a worker for each request, until the launcher is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the launcher decides
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # workers are not waited for
    _end_with(launcher)
    source = os.getpid()
    while True:
        line, _ = server.accept()
        if _owner(line) == os.getuid() and os.fork() == 0:
            try:
                server.close()
                _work(line, source)
            finally:
                os._exit(1)
        line.close()


def _work(line: socket.socket, source: int) -> None:
    """Is a worker until Beam has no more work; says so on the line then."""
    # A signal to all of the job's processes is the launcher's to act on.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _end_with(source)
    request = b"".join(iter(lambda: line.recv(65536), b""))
    os.environ.update(json.loads(request))
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv[:1])
    line.sendall(b"1")
    os._exit(0)


def _owner(line: socket.socket) -> int:
    """Returns the user id of the process at the other end."""
    credentials = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return struct.unpack("3i", credentials)[1]


def _end_with(parent: int) -> None:
    """Has the kernel kill this process when its parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it was gone before that line
