"""A run of `score` that is killed, again and again: every row once, the same bytes."""

import dataclasses
import functools
import gzip
import json
import os
import random
import signal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pipelines.launches import PROCESSES, Launch, digests, write_yaml
from tests.testdata.make_tiny_encoder import SENTENCES

KILLS = int(os.environ.get("KILLS", 3))
CHUNK_ROWS = 20
ROWS = 690
UNTOLD = ("_run.json", "_report.html")  # may differ between equal runs


@dataclasses.dataclass
class CountsRows:
    """Has the process tell how many rows it infers; slowly, so as to be killed."""

    log: str

    def __call__(self):
        import time

        from reviewbeam.components.inference.handler import ClassifierHandler

        infer = ClassifierHandler.run_inference

        def tells(handler, batch, model, inference_args=None):
            with open(self.log, "a") as file:
                file.write(f"{sum(chunk.num_rows for chunk in batch)}\n")
            time.sleep(0.02)
            return infer(handler, batch, model, inference_args)

        ClassifierHandler.run_inference = tells


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Files of all kinds: sliced, spooled and packed, with broken rows in some."""
    folder = tmp_path_factory.mktemp("corpus")
    random_ = random.Random(3)
    records = [
        {
            "id": f"i{i}",
            "text": " ".join(random_.sample(SENTENCES, 2)),
            "language": "en",
        }
        for i in range(ROWS - 15)
    ]
    lines = [json.dumps(record).encode() + b"\n" for record in records]
    for place in range(10, 160, 10):
        lines.insert(place * 3, b"{broken\n")
    (folder / "large.jsonl").write_bytes(b"".join(lines[:250]))
    (folder / "large.jsonl.gz").write_bytes(gzip.compress(b"".join(lines[250:450])))
    for index in range(14):
        part = lines[450 + 10 * index : 460 + 10 * index]
        (folder / f"small{index:02d}.jsonl").write_bytes(b"".join(part))
    rest = [json.loads(line) for line in lines[590:]]
    pq.write_table(
        pa.Table.from_pylist(rest), folder / "large.parquet", row_group_size=30
    )
    return folder


CONFIG = {
    "columns": {"text": "text", "id": "id", "language": "language"},
    "slice_bytes": 4096,
    "inference": {
        "engine": "tensorflow",
        "batch_tokens": 512,
        "threads": 1,
        "chunk_rows": CHUNK_ROWS,
    },
}


def start_in(folder, model, corpus, output, *arguments, **changes):
    """Begins a run into a folder below another one."""
    return Launch(
        folder,
        *("score", "--config", write_yaml(folder / "c.yaml", CONFIG | changes)),
        *("--model", model, "--input", f"{corpus}/*"),
        *("--output", folder / output, *arguments),
        before=CountsRows(str(folder / f"{output}.rows")),
    )


@pytest.fixture
def start(tmp_path, fake_model, corpus):
    """Returns a function that begins a run into a folder."""
    return functools.partial(start_in, tmp_path, fake_model, corpus)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, fake_model, corpus):
    """What a run wrote that nobody killed."""
    folder = tmp_path_factory.mktemp("scores")
    run = start_in(folder, fake_model, corpus, "undisturbed")
    assert run.end() == 0, run.err
    return folder / "undisturbed"


def scored(folder):
    return [int(line) for line in folder.with_suffix(".rows").read_text().split()]


def finished(folder):
    return len(list(folder.glob("_staged/*/chunk-*.json")))


def bytes_of(folder):
    return {k: v for k, v in digests(folder).items() if k not in UNTOLD}


def check(folder, undisturbed, kills, workers=1):
    ids = pd.read_parquet(folder)["id"]
    assert sorted(ids) == sorted(f"i{i}" for i in range(ROWS - 15))
    assert bytes_of(folder) == bytes_of(undisturbed)
    assert sum(scored(folder)) <= ROWS - 15 + kills * workers * CHUNK_ROWS * 1.5


def test_killed_at_any_moment(start, undisturbed, tmp_path):
    assert sum(scored(undisturbed)) == ROWS - 15
    output, random_ = tmp_path / "killed", random.Random(KILLS)
    chunks = ROWS // CHUNK_ROWS
    kills = 0
    for _ in range(KILLS):
        run = start("killed")
        wanted = finished(output) + random_.randrange(1, chunks // KILLS + 1)
        kills += run.kill_when(lambda n=wanted: finished(output) >= n)
        assert run.end() in (0, -signal.SIGKILL)
    assert kills >= min(KILLS, 3)
    run = start("killed")
    assert run.end() == 0, run.err
    check(output, undisturbed, kills)
    assert not (output / "_staged").exists()


@pytest.mark.slow
def test_processes_give_the_same_bytes(start, undisturbed, tmp_path):
    output = tmp_path / "processes"
    run = start("processes", *PROCESSES)
    assert run.kill_when(lambda: finished(output) >= 8)
    run.end()
    run = start("processes", *PROCESSES)
    assert run.end() == 0, run.err
    check(output, undisturbed, 1, workers=2)


def test_killed_while_publishing(start, undisturbed, tmp_path):
    output = tmp_path / "killed"
    for count in (1, 5):
        run = start("killed")
        run.kill_when(lambda n=count: len(list(output.glob("model_version=*/*"))) >= n)
        run.end()
    for name in ("_run.json", "_manifest.json", "_report.html"):  # killed as it wrote
        (output / f".{name}.0123456789abcdef.tmp").touch()
    run = start("killed")
    assert run.end() == 0, run.err
    check(output, undisturbed, 0)


@pytest.mark.parametrize("how", [[], pytest.param(PROCESSES, marks=pytest.mark.slow)])
def test_told_to_stop_it_publishes_what_is_finished(start, undisturbed, tmp_path, how):
    output = tmp_path / "stopped"
    run = start("stopped", *how)
    assert run.kill_when(lambda: finished(output) >= 5, signal.SIGTERM)
    assert run.end() == 75, run.err
    assert "the same command goes on" in run.err and "Traceback" not in run.err
    ids = pd.read_parquet(output)["id"]
    assert 5 * CHUNK_ROWS * 0.5 <= len(ids) < ROWS - 15 and ids.is_unique
    done = sum(scored(output))
    assert done < ROWS - 15
    run = start("stopped", *how)
    assert run.end() == 0, run.err
    check(output, undisturbed, 0)


def test_told_to_stop_it_holds_back_what_is_finished(start, undisturbed, tmp_path):
    output = tmp_path / "held"
    run = start("held", partial="hold")
    assert run.kill_when(lambda: finished(output) >= 5, signal.SIGINT)
    assert run.end() == 75, run.err
    assert not list(output.glob("model_version=*"))
    run = start("held", partial="hold")
    assert run.end() == 0, run.err
    check(output, undisturbed, 0)
