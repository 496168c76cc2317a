"""Keeps numeric kernels off matrix instructions that the processor only shows.

A hypervisor can pass the AMX feature flags on to a guest and hide CPUID leaf
0x1D, which describes the tiles. oneDNN (TensorFlow's and OpenVINO's kernels)
then picks AMX kernels that die with an illegal instruction.
"""

import os
import re
from pathlib import Path

VARIABLE = "ONEDNN_MAX_CPU_ISA"
SAFE_INSTRUCTION_SET = "AVX512_CORE_FP16"  # the largest one without AMX
_TILE_INFORMATION_LEAF = 0x1D


def amx_is_broken(cpuinfo: str) -> bool:
    """Tells whether AMX is announced without the CPUID leaf that describes it.

    Args:
      cpuinfo: the text of `/proc/cpuinfo`; any processor in it counts.
    """
    for processor in re.split(r"\n\s*\n", cpuinfo):
        fields = dict(re.findall(r"^([^\t:]+?)\s*:[ \t]*(.*)$", processor, re.M))
        if "amx_tile" not in fields.get("flags", "").split():
            continue
        level = fields.get("cpuid level", "")
        if not level.isdigit() or int(level) < _TILE_INFORMATION_LEAF:
            return True
    return False


def guard_instruction_set(cpuinfo_path: str = "/proc/cpuinfo") -> None:
    """Limits oneDNN where AMX is broken, unless the user has set the limit."""
    if VARIABLE in os.environ:
        return
    try:
        cpuinfo = Path(cpuinfo_path).read_text()
    except OSError:  # no Linux: nothing to decide from
        return
    if amx_is_broken(cpuinfo):
        os.environ[VARIABLE] = SAFE_INSTRUCTION_SET
