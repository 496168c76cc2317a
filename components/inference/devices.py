"""One worker process, one GPU: claims that last as long as their process."""

import fcntl
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from reviewbeam.components.common.errors import ReviewbeamError

VISIBLE = "CUDA_VISIBLE_DEVICES"

# Open files: the kernel frees their locks when the process ends, however it ends.
_held: dict[str, int] = {}


def visible_gpus(command: tuple[str, ...] = ("nvidia-smi", "-L")) -> list[str]:
    """Returns the GPUs of this host as CUDA_VISIBLE_DEVICES names them.

    Asks the driver, not TensorFlow, which would take them all into this process.

    Args:
      command: lists the GPUs, one to a line.
    """
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    found = re.findall(r"^GPU (\d+):", result.stdout, re.MULTILINE)
    chosen = os.environ.get(VISIBLE)
    if chosen is None or not found:
        return found
    visible = []
    for name in chosen.split(","):
        # CUDA ignores what follows the first name that isn't valid, as in "-1".
        if not name.strip() or name.strip().startswith("-"):
            break
        visible.append(name.strip())
    return visible


def claim_gpu(folder: str, gpus: Sequence[str]) -> str:
    """Takes a GPU that no other process has, and hides the others from this one.

    Must come before TensorFlow first looks for GPUs. A process that claimed one keeps
    it, however often it asks.

    Args:
      folder: where processes leave their claims; hosts may share it.
      gpus: those to choose from, as `visible_gpus` gives them.

    Returns:
      The GPU.

    Raises:
      ReviewbeamError: all are taken.
    """
    if folder in _held:
        return os.environ[VISIBLE]
    for gpu in gpus:
        name = re.sub(r"[^A-Za-z0-9-]", "_", f"{platform.node()}-{gpu}")
        path = Path(folder) / f"gpu-{name}.lock"
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        _held[folder] = descriptor
        os.environ[VISIBLE] = gpu
        return gpu
    raise ReviewbeamError(
        f"All {len(gpus)} GPUs of this host are taken by other worker processes. Run "
        f"as many workers as GPUs: --direct_num_workers={len(gpus)}."
    )
