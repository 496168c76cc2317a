import pytest
import tensorflow as tf

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.trainer.devices import (
    check_gpu_count,
    training_strategy,
)


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
