"""scripts/benchmarks/cluster.py: what it says when it can't measure."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "testdata" / "sample" / "new_arrivals.jsonl"


@pytest.mark.parametrize(
    ("sizes", "messages"),
    [
        ("5,5", ["--sizes 5,5: a line takes two sizes or more."]),
        ("5,6", ["no-encoder", "exit code 2: "]),  # reviewbeam's, and its own
    ],
)
def test_mistakes(sizes, messages, tmp_path):
    beam = tmp_path / "beam.yaml"
    beam.write_text("runner: FlinkRunner\n")
    done = subprocess.run(
        [
            *(sys.executable, ROOT / "scripts" / "benchmarks" / "cluster.py"),
            *("--corpus", CORPUS),
            *("--encoder", tmp_path / "no-encoder", "--model", tmp_path / "no-model"),
            *("--work", tmp_path / "work", "--beam", beam, "--sizes", sizes),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert all(message in done.stderr for message in messages)
