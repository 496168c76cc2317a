import json
import multiprocessing
import subprocess
import sys

import numpy as np
import pytest

from tests.components.trainer import replicas
from tests.components.trainer.datasets import make_rows, write_dataset


@pytest.fixture(scope="module")
def folder(tiny_encoder, tmp_path_factory):
    """Where `replicas` kept what it trained, in a folder by the number of devices."""
    folder = tmp_path_factory.mktemp("replicas")
    splits = {
        "train": make_rows(330, seed=7, longest=40),
        "validation": make_rows(31, seed=8, longest=40),
    }
    dataset = write_dataset(folder / "dataset", tiny_encoder, splits)
    processes = []
    for devices in (2, 4):
        (folder / str(devices)).mkdir()
        with (folder / f"{devices}.txt").open("w") as output:
            command = [sys.executable, "-m", "tests.components.trainer.replicas"]
            arguments = [devices, tiny_encoder, dataset, folder / str(devices)]
            process = subprocess.Popen(
                command + [str(argument) for argument in arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        processes.append(process)
    for process, devices in zip(processes, (2, 4), strict=True):
        process.wait(timeout=800)
        assert process.returncode == 0, (folder / f"{devices}.txt").read_text()[-3000:]
    return folder


def progress(folder, devices, name):
    """How a fit went."""
    return json.loads((folder / f"{devices}.txt").read_text().splitlines()[-1])[name]


def difference(folder, one, other):
    """The largest between the weights or the optimizer's state of two fits."""
    with np.load(folder / f"{one}.npz") as left, np.load(folder / f"{other}.npz") as r:
        return max(float(np.abs(left[name] - r[name]).max()) for name in left)


def assert_equal_histories(histories, **tolerance):
    for left, right in zip(*histories, strict=True):
        assert left["steps"] == right["steps"]
        for part in ("training", "validation"):
            # The error is None: these labels have no order.
            one, other = (
                {k: v for k, v in epoch[part].items() if k != "error"}
                for epoch in (left, right)
            )
            assert one == pytest.approx(other, **tolerance)


def test_two_devices_train_the_weights_of_one(tiny_encoder, tmp_path):
    """A few steps, the last of a single row; the slow tests have all the rest."""
    splits = {
        "train": make_rows(9, seed=7, longest=40),
        "validation": make_rows(3, seed=8, longest=40),
    }
    dataset = write_dataset(tmp_path / "dataset", tiny_encoder, splits)
    process = multiprocessing.get_context("forkserver").Process(
        target=replicas.few_steps, args=[str(tiny_encoder), str(dataset), str(tmp_path)]
    )
    process.start()
    process.join(200)
    assert process.exitcode == 0
    fits = [json.loads((tmp_path / f"{n}.json").read_text()) for n in ("all", "one")]
    assert fits[0]["step"] > 2
    assert 0 < difference(tmp_path, "all", "one") <= 1e-4
    assert_equal_histories([fit["history"] for fit in fits], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("one", "other", "steps"),
    [("2/all", "2/one", 200), ("4/all", "2/one", 200), ("2/sums-2", "2/sums-1", 30)],
)
def test_several_devices_train_the_weights_of_one(folder, one, other, steps):
    fits = [progress(folder, *fit.split("/")) for fit in (one, other)]
    assert min(fit["step"] for fit in fits) >= steps
    assert 0 < difference(folder, one, other) <= 1e-4
    assert_equal_histories([fit["history"] for fit in fits], rel=1e-4)


@pytest.mark.slow
def test_dropout_and_loss_scale_are_taken_up_on_two_devices(folder):
    """In float16, where every device keeps seeds of its own for dropout."""
    resumed, whole = (progress(folder, 2, name) for name in ("stopped", "whole"))
    assert resumed == whole
    assert difference(folder, "2/stopped", "2/whole") == 0
    assert whole["loss_scale"] > 1
    assert whole["history"][0]["validation"]["loss"] < 1  # of no use: log 3


@pytest.mark.slow
def test_two_devices_compute_in_bfloat16(folder):
    fits = [progress(folder, 2, name)["history"] for name in ("bfloat16", "all")]
    assert difference(folder, "2/bfloat16", "2/all") > 1e-4
    assert_equal_histories(fits, rel=0.1)


@pytest.mark.slow
def test_what_several_devices_cannot_do_is_refused(folder):
    assert progress(folder, 2, "refused") == (
        "training.precision is float16 and training.xla true on 2 devices; TensorFlow "
        "can't do these together. Set training.precision=bfloat16, or "
        "training.xla=false."
    )
