"""Claims of GPUs, with none at hand: what nvidia-smi says is made up."""

import os
import subprocess
import sys

import pytest

from reviewbeam.components.common.errors import ReviewbeamError
from reviewbeam.components.inference import devices
from reviewbeam.components.inference.devices import claim_gpu

_CLAIM = """
import os, sys
from reviewbeam.components.inference.devices import claim_gpu
assert claim_gpu(sys.argv[1], ["0", "GPU-a/b"]) == claim_gpu(sys.argv[1], ["0"])
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""


def _claimant(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", _CLAIM, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, process.stdout.readline().strip()


def test_each_process_has_a_gpu_of_its_own_until_it_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "_held", {})
    monkeypatch.setattr(devices.os, "environ", dict(os.environ))
    (first, of_first), (second, of_second) = _claimant(tmp_path), _claimant(tmp_path)
    try:
        assert (of_first, of_second) == ("0", "GPU-a/b")
        with pytest.raises(ReviewbeamError, match="--direct_num_workers=2"):
            claim_gpu(str(tmp_path), ["0", "GPU-a/b"])
        second.kill()  # as it comes
        second.wait()
        assert claim_gpu(str(tmp_path), ["0", "GPU-a/b"]) == "GPU-a/b"
    finally:
        first.kill()
        first.wait()
        for process in (first, second):
            process.stdin.close()
            process.stdout.close()
