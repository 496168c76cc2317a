"""Measures a command with all of its processes: time, memory, bytes written."""

import os
import resource
import subprocess
import time
from pathlib import Path

_INTERVAL = 0.2  # seconds from one sample to the next


def measure(
    command: list[str], environment: dict[str, str], logs: Path
) -> dict[str, float]:
    """Runs a command to its end.

    Args:
      command: what to run.
      environment: its environment variables.
      logs: folder for its stdout and stderr.

    Returns:
      wall: seconds.
      cpu: seconds, user and system, of all processes.
      cores: those busy on average.
      pss: peak bytes of memory of all processes; a page counts once.
      anonymous: as pss, without pages of files, which the system may drop.
      rss: peak bytes of the largest process.
      others: cores that were busy with anything else on this machine.
      written: bytes written to the file system, temporary files included.
    """
    os.sync()  # What the run before has left to write is not this one's to wait for.
    cpu, written, busy = _children_seconds(), _written(), _busy_seconds()
    start = time.monotonic()
    with open(logs / "stdout", "w") as out, open(logs / "stderr", "w") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment)
        tree = _Tree(process.pid)
        while True:
            try:
                process.wait(_INTERVAL)
                break
            except subprocess.TimeoutExpired:
                tree.sample()
    wall = time.monotonic() - start
    if process.returncode:
        raise SystemExit(f"{command[0]} failed; see {logs / 'stderr'}")
    busy = _busy_seconds() - busy
    # Children that nobody has waited for are in the samples alone.
    cpu = max(_children_seconds() - cpu, sum(tree.seconds.values()))
    run = {"wall": wall, "cpu": cpu, "cores": cpu / wall, **tree.peaks}
    run["others"] = max(0.0, busy - cpu) / wall
    return run | {"written": _written() - written}


class _Tree:
    """Samples a process and its descendants, those that outlive a parent included."""

    def __init__(self, pid: int):
        self.pids = {pid}
        self.seconds: dict[int, float] = {}
        self.peaks = {"pss": 0, "anonymous": 0, "rss": 0}

    def sample(self) -> None:
        parents = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            if fields := _read_proc(name, "stat").rpartition(")")[2].split():
                parents[int(name)] = int(fields[1]), int(fields[11]) + int(fields[12])
        known = 0
        while known < len(self.pids):
            known = len(self.pids)
            self.pids |= {
                p for p, (parent, _) in parents.items() if parent in self.pids
            }
        sums = {"pss": 0, "anonymous": 0, "rss": 0}
        for pid in self.pids & parents.keys():
            self.seconds[pid] = parents[pid][1] / os.sysconf("SC_CLK_TCK")
            lines = _read_proc(pid, "smaps_rollup").splitlines()[1:]
            sizes = {line.split()[0]: int(line.split()[1]) * 1024 for line in lines}
            sums["pss"] += sizes.get("Pss:", 0)
            sums["anonymous"] += sizes.get("Pss_Anon:", 0)
            sums["rss"] = max(sums["rss"], sizes.get("Rss:", 0))
        self.peaks = {key: max(self.peaks[key], sums[key]) for key in sums}


def _read_proc(pid: int | str, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:  # It has ended.
        return ""


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _busy_seconds() -> float:
    """Returns what all cores have worked since the start of the machine."""
    user, nice, system, _, _, *rest = map(int, _read_proc("", "stat").split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def _written() -> int:
    """Returns the bytes written by this process and the children it has waited for."""
    lines = _read_proc("self", "io").splitlines()
    return next(int(x.split()[1]) for x in lines if x.startswith("write_bytes"))
