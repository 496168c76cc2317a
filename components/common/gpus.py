"""The GPUs of this host, asked of the driver: TensorFlow would take them all."""

import os
import re
import subprocess

VISIBLE = "CUDA_VISIBLE_DEVICES"
_SECONDS = 60.0


def visible_gpus(command: tuple[str, ...] = ("nvidia-smi", "-L")) -> list[str]:
    """Returns the GPUs that are not hidden, as CUDA_VISIBLE_DEVICES names them.

    Args:
      command: lists the GPUs, one to a line.
    """
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    # Slices of a GPU (MIG) follow on indented lines.
    found = re.findall(r"^GPU (\d+):", result.stdout, re.MULTILINE)
    chosen = os.environ.get(VISIBLE)
    if chosen is None:
        return found
    visible = []
    for name in map(str.strip, chosen.split(",")):
        # CUDA ignores what follows the first name that isn't valid, as in "-1".
        if not name or name.startswith("-"):
            break
        visible.append(name)
    return visible[: len(found)]
