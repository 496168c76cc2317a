import sys

import pytest
import tensorflow as tf

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.trainer.devices import (
    check_gpu_count,
    training_strategy,
    usable_gpus,
)

LISTING = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6)
  MIG 1g.5gb Device 0: (UUID: MIG-GPU-5d5ba0d6/1/0)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-0a1b)
GPU 2: NVIDIA A100-SXM4-40GB (UUID: GPU-77ab)
"""
NVIDIA_SMI = (sys.executable, "-c", f"print({LISTING!r}, end='')")


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, 3), ("0,2", 2), ("", 0), ("-1", 0), ("1,-1,2", 1), ("0,1,2,3", 3)],
)
def test_gpus_are_those_of_nvidia_smi_that_the_user_lets_be_seen(visible, expected):
    assert usable_gpus(visible, NVIDIA_SMI) == expected


def test_no_driver_means_no_gpu():
    assert usable_gpus(None, ("no-such-command-here",)) == 0
    assert usable_gpus(None, (sys.executable, "-c", "exit(9)")) == 0


def test_fewer_gpus_in_tensorflow_are_refused():
    with pytest.raises(UserError, match=r"shows 4 usable GPU\(s\).*sees 1") as error:
        check_gpu_count(1, 4)
    assert error.value.exit_code == 2
    assert "CUDA_VISIBLE_DEVICES" in str(error.value)
    check_gpu_count(4, 4)
    check_gpu_count(0, 0)


def test_one_device_needs_no_mirrors(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert training_strategy().num_replicas_in_sync == 1


def test_dividing_the_cpu_too_late_is_refused():
    running = len(tf.config.list_logical_devices("CPU"))  # starts TensorFlow
    with pytest.raises(UserError, match=f"asks for {running + 1} devices"):
        training_strategy(running + 1)
