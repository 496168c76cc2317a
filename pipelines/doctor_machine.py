"""What `doctor` looks at in the machine: memory, cores, GPUs, disks."""

import math
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from reviewbeam.components.common.host_copies import cache_root
from reviewbeam.components.common.places import in_store
from reviewbeam.components.common.processor import (
    SAFE_INSTRUCTION_SET,
    VARIABLE,
    amx_is_broken,
)
from reviewbeam.pipelines.findings import BAD, GOOD, WARNING, Finding, run

_GIB = 2**30
_LITTLE_MEMORY, _TOO_LITTLE_MEMORY = 6 * _GIB, 2 * _GIB
_LITTLE_DISK, _TOO_LITTLE_DISK = 8 * _GIB, _GIB
_SECONDS_OF_DRIVER = 10.0  # for nvidia-smi, which takes two where no job uses a GPU
_CPUINFO = Path("/proc/cpuinfo")
_MEMINFO = Path("/proc/meminfo")
_MEMBERSHIP = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")
_WITHOUT_AMX = "SSE41 AVX AVX2 AVX2_VNNI AVX512_CORE AVX512_CORE_VNNI".split() + [
    "AVX512_CORE_BF16",
    SAFE_INSTRUCTION_SET,
]


def memory() -> Finding:
    """Looks at the memory in all and what is free, a container's limit respected."""
    fields = dict(re.findall(r"^(\w+): +(\d+) kB", _MEMINFO.read_text(), re.M))
    total, free = (int(fields[n]) * 1024 for n in ("MemTotal", "MemAvailable"))
    limited = ""
    for limit, used in _memory_limits():
        if limit < total:
            total, limited = limit, " (the limit of its control group)"
        free = min(free, max(0, limit - used))
    found = f"{_gib(total)} in all{limited}, {_gib(free)} free"
    advice = "--direct_num_workers=1 and smaller training.batch_tokens need less."
    if min(total, free) < _TOO_LITTLE_MEMORY:
        what = f"At least {_gib(_TOO_LITTLE_MEMORY)} must be free"
        return Finding("memory", BAD, found, f"{what}; {advice}")
    if min(total, free) < _LITTLE_MEMORY:
        return Finding("memory", WARNING, found, f"Enough for small models; {advice}")
    return Finding("memory", GOOD, found)


def cores() -> Finding:
    """Looks at the cores that this process may use, and for how much of the time."""
    usable = len(os.sched_getaffinity(0))
    found = f"{usable} of {os.cpu_count()}"
    quota = min(_cpu_quotas(), default=math.inf)
    if quota >= usable:
        return Finding("cores", GOOD, found)
    found += f", but the time of {quota:g} (a control group's quota)"
    return Finding(
        "cores",
        WARNING,
        found,
        "Libraries start a thread for each core, and are held up. Give the container "
        "whole cores (docker's --cpuset-cpus), or start jobs by taskset on fewer.",
    )


def processor() -> Finding:
    """Looks at the instructions that numeric kernels use, and the guard's verdict."""
    text = _CPUINFO.read_text()
    flags = set(" ".join(re.findall(r"^flags\s*:(.*)$", text, re.M)).split())
    known = {
        "AVX2": "avx2",
        "AVX-512": "avx512f",
        "int8 (VNNI)": "avx512_vnni",
        "bfloat16": "avx512_bf16",
        "AMX": "amx_tile",
    }
    found = ", ".join(n for n, flag in known.items() if flag in flags) or "no AVX2"
    if "avx" not in flags:
        advice = "TensorFlow's packages need AVX: use another machine or its own build."
        return Finding("processor", BAD, found, advice)
    limit = os.environ.get(VARIABLE, "")
    if amx_is_broken(text):
        found += "; AMX is announced and doesn't work"
        if limit.upper() not in _WITHOUT_AMX:
            return Finding(
                "processor",
                BAD,
                f"{found}, and {VARIABLE}={limit} lets it be used",
                f"Unset {VARIABLE}: reviewbeam then sets {SAFE_INSTRUCTION_SET}.",
            )
        found += f", so {VARIABLE}={limit}: bfloat16 gains nothing, int8 less"
    elif limit:
        found += f"; {VARIABLE}={limit}"
    if "avx2" not in flags:
        return Finding("processor", WARNING, found, "Expect a fraction of the speed.")
    return Finding("processor", GOOD, found)


def gpus() -> tuple[Finding, str]:
    """Asks the driver for the GPUs.

    Returns:
      What was found; and what `nvidia-smi -L` told, where it works, else nothing.
    """
    advice = "Look at dmesg for the driver's faults; a restart of the machine may help."
    try:
        done = run(["nvidia-smi", "-L"], _SECONDS_OF_DRIVER)
    except OSError:
        return Finding("GPUs", GOOD, "no nvidia-smi, so none of NVIDIA"), ""
    except subprocess.TimeoutExpired:
        found = f"nvidia-smi gave no answer within {_SECONDS_OF_DRIVER:g} s"
        return Finding("GPUs", BAD, found, advice), ""
    names = re.findall(r"^GPU \d+: (.+?)(?: \(UUID.*)?$", done.stdout, re.M)
    if done.returncode:
        said = " ".join(f"{done.stdout} {done.stderr}".split())[:200]
        found = f"nvidia-smi fails: {said or f'exit code {done.returncode}'}"
        return Finding("GPUs", WARNING, found, advice), ""
    return Finding("GPUs", GOOD, ", ".join(names) or "none"), done.stdout


def disks(outputs: list[str]) -> Iterator[Finding]:
    """Looks for room and the right to write where jobs write.

    Args:
      outputs: folders that jobs are to write; they need not exist.
    """
    places: dict[Path, list[str]] = {}
    asked = [(".", "here"), (str(cache_root()), "cache"), *((o, o) for o in outputs)]
    for path, name in [*asked, (_temporary(), "TMPDIR")]:
        if in_store(path):
            yield Finding(f"disk {name}", GOOD, "in an object store: not looked at")
            continue
        places.setdefault(_existing(Path(path).absolute()), []).append(name)
    for folder, names in places.items():
        yield _disk(folder, f"disk ({', '.join(names)})")


def _disk(folder: Path, name: str) -> Finding:
    free = shutil.disk_usage(folder).free
    found = f"{_gib(free)} free in {folder}"
    if not os.access(folder, os.W_OK | os.X_OK):
        advice = "Write elsewhere: --output, TMPDIR, REVIEWBEAM_CACHE."
        return Finding(name, BAD, f"{folder} can't be written", advice)
    if free < _TOO_LITTLE_DISK:
        advice = f"Make room: jobs need {_gib(_TOO_LITTLE_DISK)} and more."
        return Finding(name, BAD, found, advice)
    if free < _LITTLE_DISK:
        advice = "Enough for small models; XLM-R base with checkpoints takes 8 GiB."
        return Finding(name, WARNING, found, advice)
    return Finding(name, GOOD, found)


def _temporary() -> str:
    """Where temporary files go; what TMPDIR names, though it may not be of use."""
    return os.environ.get("TMPDIR") or tempfile.gettempdir()


def _existing(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if p.is_dir())


def _memory_limits() -> Iterator[tuple[int, int]]:
    """Yields limits of control groups and what counts as used of each, in bytes."""
    for folder in _control_groups("memory"):
        for limit, used, cached in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            told = _number(folder / limit)
            if told is None or told >= 2**60:  # version 1's way to say: none
                continue
            stat = _text(folder / "memory.stat")
            pages = re.search(rf"^{cached} (\d+)$", stat, re.M)
            kept = int(pages[1]) if pages else 0  # is given back where it is needed
            yield int(told), max(0, int(_number(folder / used) or 0) - kept)


def _cpu_quotas() -> Iterator[float]:
    """Yields how many cores' time control groups allow."""
    for folder in _control_groups("cpu"):
        quota, period = (_text(folder / "cpu.max").split() + ["", ""])[:2]
        if not period:
            quota = _text(folder / "cpu.cfs_quota_us").strip()
            period = _text(folder / "cpu.cfs_period_us").strip()
        if quota.isdecimal() and period.isdecimal():  # not `max`, not -1
            yield int(quota) / int(period)


def _control_groups(controller: str) -> Iterator[Path]:
    """Yields the folders of this process's group and those above, of both versions."""
    for line in _text(_MEMBERSHIP).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = _CGROUPS / controller if controllers else _CGROUPS
        below = Path(path.lstrip("/"))
        # In a container the path may be the host's; its own group is the root then.
        for part in (below, *below.parents):
            if (root / part).is_dir():
                yield root / part


def _number(path: Path) -> float | None:
    text = _text(path).strip()
    return float(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _gib(size: float) -> str:
    return f"{size / _GIB:.1f} GiB"
