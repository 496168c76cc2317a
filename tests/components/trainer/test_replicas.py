import json
import subprocess
import sys

import pytest

from tests.components.trainer.datasets import make_rows, write_dataset


def test_two_devices_train_the_weights_of_one(tiny_encoder, tmp_path):
    splits = {
        "train": make_rows(160, seed=7, longest=40),
        "validation": make_rows(31, seed=8, longest=40),
    }
    dataset = write_dataset(tmp_path / "dataset", tiny_encoder, splits)
    arguments = [str(tiny_encoder), str(dataset), str(tmp_path)]
    result = subprocess.run(
        [sys.executable, "-m", "tests.components.trainer.replicas", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["replicas"] == [2, 1]
    assert found["steps"] >= 50
    assert found["weights"] <= 1e-4
    assert found["slots"] <= 1e-4
    two, one = found["losses"]
    assert two == pytest.approx(one, rel=1e-4)
