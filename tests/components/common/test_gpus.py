"""Which GPUs are visible, with none at hand: what nvidia-smi says is made up."""

import sys

import pytest

from reviewbeam.components.common.gpus import VISIBLE, visible_gpus

_LIST = (
    "printf",
    "GPU 0: A100 (UUID: GPU-a)\n  MIG 1g.5gb Device 0: (UUID: MIG-b)\nGPU 1: A100\n"
    "GPU 2: A100\n",
)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (None, ["0", "1", "2"]),
        ("1", ["1"]),
        ("2, 0", ["2", "0"]),
        ("", []),
        ("-1", []),
        ("1,-1,2", ["1"]),
        ("0,,2", ["0"]),
        ("GPU-a", ["GPU-a"]),
        ("0,1,2,3", ["0", "1", "2"]),
    ],
)
def test_those_of_nvidia_smi_that_the_user_lets_be_seen(monkeypatch, chosen, expected):
    monkeypatch.delenv(VISIBLE, raising=False)
    if chosen is not None:
        monkeypatch.setenv(VISIBLE, chosen)
    assert visible_gpus(_LIST) == expected


def test_no_driver_means_no_gpu(monkeypatch):
    for chosen in (None, "0"):
        if chosen:
            monkeypatch.setenv(VISIBLE, chosen)
        assert visible_gpus(("no-such-command",)) == []
        assert visible_gpus((sys.executable, "-c", "exit(9)")) == []
