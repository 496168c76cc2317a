"""One worker process, one GPU: claims that last as long as their process."""

import fcntl
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

from reviewbeam.components.common.errors import ReviewbeamError
from reviewbeam.components.common.gpus import VISIBLE

# Open files: the kernel frees their locks when the process ends, however it ends.
_held: dict[str, int] = {}


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
