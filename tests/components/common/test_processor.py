import os

import pytest

from reviewbeam.components.common.processor import (
    SAFE_INSTRUCTION_SET,
    VARIABLE,
    amx_is_broken,
    guard_instruction_set,
)

# As Linux writes it: keys padded with tabs, a blank line behind each processor.
PROCESSOR = """\
processor\t: {number}
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Processor: made up
cpuid level\t: {level}
wp\t\t: yes
flags\t\t: fpu vme avx512f avx512_fp16 {flags} flush_l1d
bugs\t\t:
power management:

"""
AMX = "amx_bf16 amx_tile amx_int8"


def _cpuinfo(*processors):
    """Text of processors, each a pair (cpuid level, flags)."""
    return "".join(
        PROCESSOR.format(number=number, level=level, flags=flags)
        for number, (level, flags) in enumerate(processors)
    )


@pytest.mark.parametrize(
    ("processors", "broken"),
    [
        ([(22, AMX)], True),  # a hypervisor that hides leaf 0x1D
        ([(28, AMX)], True),
        ([(29, AMX)], False),  # 0x1D itself
        ([(36, AMX)], False),
        ([(22, "")], False),  # an older processor
        ([(22, "amx_tile_like")], False),
        ([(36, AMX), (36, AMX), (22, AMX)], True),  # one of several
        ([(22, ""), (36, AMX)], False),  # level and flag of different processors
    ],
)
def test_amx_needs_the_leaf_that_describes_its_tiles(processors, broken):
    assert amx_is_broken(_cpuinfo(*processors)) is broken


def test_a_missing_level_counts_as_hidden():
    text = _cpuinfo((36, AMX)).replace("cpuid level\t: 36\n", "")

    assert amx_is_broken(text) is True


@pytest.mark.parametrize("level", ["", "unknown"])
def test_a_level_that_is_no_number_counts_as_hidden(level):
    assert amx_is_broken(_cpuinfo((level, AMX))) is True


@pytest.mark.parametrize(
    "text", ["", "\n\n", "Features\t: fp asimd\nCPU part\t: 0xd0c"]
)
def test_other_texts_say_nothing_of_amx(text):
    assert amx_is_broken(text) is False


@pytest.fixture
def cpuinfo(tmp_path, monkeypatch):
    """Path of a file that describes a broken processor; the limit is not set."""
    monkeypatch.setenv(VARIABLE, "to be restored")
    del os.environ[VARIABLE]
    path = tmp_path / "cpuinfo"
    path.write_text(_cpuinfo((22, AMX)))
    return path


def test_guard_sets_the_largest_safe_instruction_set(cpuinfo):
    guard_instruction_set(str(cpuinfo))

    assert VARIABLE == "ONEDNN_MAX_CPU_ISA"
    assert os.environ[VARIABLE] == SAFE_INSTRUCTION_SET == "AVX512_CORE_FP16"


@pytest.mark.parametrize("setting", ["ALL", ""])
def test_guard_leaves_the_users_own_setting(cpuinfo, monkeypatch, setting):
    monkeypatch.setenv(VARIABLE, setting)
    guard_instruction_set(str(cpuinfo))

    assert os.environ[VARIABLE] == setting


def test_guard_leaves_sound_processors_and_other_systems(cpuinfo):
    cpuinfo.write_text(_cpuinfo((36, AMX)))
    guard_instruction_set(str(cpuinfo))
    assert VARIABLE not in os.environ

    guard_instruction_set(str(cpuinfo.with_name("none")))
    assert VARIABLE not in os.environ
