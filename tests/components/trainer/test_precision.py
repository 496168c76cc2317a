import pytest

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.train_config import TrainingConfig
from reviewbeam.components.trainer.precision import _best, resolve_precision


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ([], "float32"),  # a CPU
        ([(8, 0)], "bfloat16"),  # A100
        ([(9, 0), (8, 9), (12, 0)], "bfloat16"),
        ([(7, 5)], "float16"),  # T4
        ([(7, 0), (7, 0)], "float16"),  # V100
        ([(8, 0), (7, 0)], "float16"),  # as the least of them can
        ([(6, 1)], "float32"),  # P40
        ([(8, 0), (6, 0)], "float32"),
        ([(8, 0), None], "float32"),  # no GPU of Nvidia's
    ],
)
def test_the_precision_is_what_every_gpu_computes_faster(capabilities, expected):
    assert _best(capabilities) == expected


def resolve(replicas=1, **training):
    return resolve_precision(TrainingConfig.model_validate(training), replicas)


def test_on_a_cpu_auto_is_float32():
    assert resolve() == "float32"


def test_gpus_are_asked_what_they_can_unless_the_cpu_was_chosen(monkeypatch):
    details = {"gpu0": {"compute_capability": (8, 0)}, "gpu1": {}}
    gpus = ["gpu0"]
    config = "reviewbeam.components.trainer.precision.tf.config"
    monkeypatch.setattr(f"{config}.list_physical_devices", lambda kind: gpus)
    monkeypatch.setattr(
        f"{config}.experimental.get_device_details", lambda gpu: details[gpu]
    )
    assert resolve() == "bfloat16"
    assert resolve(logical_cpus=2) == "float32"
    assert resolve(precision="float16") == "float16"
    gpus.append("gpu1")
    assert resolve() == "float32"


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_what_is_asked_for_is_taken(precision):
    assert resolve(precision=precision) == precision
    assert resolve(precision=precision, xla=True) == precision
    assert resolve(replicas=2, precision=precision) == precision


def test_float16_with_xla_on_several_devices_is_refused():
    with pytest.raises(UserError, match="true on 2 devices.*precision=bfloat16"):
        resolve(replicas=2, precision="float16", xla=True)
    assert resolve(replicas=2, precision="bfloat16", xla=True) == "bfloat16"
