"""A Flink cluster as scripts/flink/ gives it, and what tests do with one."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOFTWARE = ROOT / "runs" / "flink"  # where it is installed once


class Flink:
    """The cluster of a folder."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None):
        """Names the folder; nothing runs yet.

        Args:
          folder: of the cluster.
          environment: that its processes get besides this one's.
        """
        self.folder = folder
        self.environment = environment or {}
        self.beam_file = folder / "beam.yaml"

    def run(self, script, *options, env=None, timeout=600):
        """Calls one of the scripts; returns its exit code and what it printed."""
        return subprocess.run(
            [ROOT / "scripts" / "flink" / script, "--folder", self.folder, *options],
            env=os.environ | self.environment if env is None else env,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def up(self, *options, env=None):
        done = self.run("up", *options, env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def down(self):
        done = self.run("down")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def settings(self):
        return json.loads((self.folder / "cluster.json").read_text())

    @property
    def address(self):
        """`HOST:PORT` of the REST interface."""
        settings = self.settings()
        return f"{settings['host']}:{settings['rest_port']}"

    def rest(self, path):
        with urllib.request.urlopen(f"http://{self.address}/{path}") as answer:
            return json.load(answer)

    def jobs(self):
        """Returns the jobs that the job manager knows: `jid`, `name`, `state`, …"""
        return self.rest("jobs/overview")["jobs"]

    def pids(self, kind):
        """Returns the pids of the living, as `status` tells them."""
        found = re.search(
            rf"  {kind}s: .*?  ([0-9 ]+)$", self.run("status").stdout, re.M
        )
        return [int(pid) for pid in found[1].split()] if found else []

    def workers(self):
        return self.pids("worker")

    def kill_task_manager(self):
        """Kills one as if the kernel had; `up` starts another."""
        pid = self.pids("task manager")[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def processes(self):
        """Returns the pids of all that the cluster has started and that still live."""
        mark = f"REVIEWBEAM_FLINK_FOLDER={self.folder}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def listens(self, *pids):
        """Returns where the cluster and these processes listen: addresses, ports."""
        sockets = set()
        for pid in [*self.processes(), *pids]:
            for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
                with contextlib.suppress(OSError):
                    sockets.add(os.readlink(descriptor))
        return {
            where for where, inode in _listening() if f"socket:[{inode}]" in sockets
        }


def _listening():
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            address, port = fields[1].split(":")
            if fields[3] == "0A":  # LISTEN
                # Words of 4 bytes, each in this machine's order.
                words = re.findall("." * 8, address)
                packed = b"".join(bytes.fromhex(word)[::-1] for word in words)
                text = socket.inet_ntop(family, packed).removeprefix("::ffff:")
                yield (text, int(port, 16)), fields[9]


def children(pid):
    """Returns the pids of a process's children, and theirs."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in path.read_text().split():
                found += [int(child), *children(child)]
    return found


def is_open(address, port):
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0
