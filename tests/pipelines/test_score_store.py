"""`score` to an object store: the same bytes, whatever happens."""

import dataclasses
import io
import json
import signal
import time

import pandas as pd
import pytest

from tests.object_store import StaleAfter
from tests.pipelines.launches import PROCESSES, digests
from tests.pipelines.test_score_kills import (
    CHUNK_ROWS,
    CONFIG,
    ROWS,
    CountsRows,
    corpus,
    undisturbed,
)

__all__ = ["corpus", "undisturbed"]  # fixtures
UNTOLD = ("_run.json", "_lock.json", "_report.html")
HOW = [[], pytest.param(PROCESSES, marks=pytest.mark.slow)]
IDS = sorted(f"i{i}" for i in range(ROWS - 15))


@dataclasses.dataclass
class Both:
    first: object
    second: object

    def __call__(self):
        self.first()
        self.second()


@pytest.fixture
def start(store_launch, tmp_path, fake_model, corpus):
    """Returns a function that begins a run to an output."""

    def run(output, *arguments, model=fake_model, stale=0.0, cache="cache", **changes):
        return store_launch(
            "score",
            CONFIG | changes,
            *("--model", model),
            *(() if "--input" in arguments else ("--input", f"{corpus}/*")),
            *("--output", output, *arguments),
            cache=cache,
            before=Both(CountsRows(str(tmp_path / "rows")), StaleAfter(stale or 300)),
        )

    return run


@pytest.fixture(scope="module")
def local(undisturbed):
    """Name -> digest of what a run to a folder writes."""
    found = digests(undisturbed)
    return {name: digest for name, digest in found.items() if name not in UNTOLD}


def ids(bucket, prefix="scores"):
    """The ids of all scores that the manifest lists."""
    manifest = json.loads(bucket.get(f"{prefix}/_manifest.json"))
    (version,) = manifest["versions"]
    parts = [c["part"] for c in manifest["versions"][version]["chunks"] if c["part"]]
    tables = [
        pd.read_parquet(
            io.BytesIO(bucket.get(f"{prefix}/model_version={version}/{part}"))
        )
        for part in parts
    ]
    return sorted(pd.concat(tables)["id"])


def finished(bucket):
    return sum("/chunk-" in name for name in bucket.names("scores/_staged/"))


def test_processes_write_what_a_local_run_writes(start, local, bucket):
    run = start(f"{bucket.url}/scores", *PROCESSES)
    assert run.end() == 0, run.err
    assert bucket.digests("scores", UNTOLD) == local
    assert "scores/_lock.json" not in bucket.names()
    assert ids(bucket) == IDS

    again = start(f"{bucket.url}/scores", *PROCESSES)
    assert again.end() == 0, again.err
    assert "0 rows read" in again.err
    assert bucket.digests("scores", UNTOLD) == local


@pytest.mark.parametrize("how", HOW)
def test_killed_then_run_again(start, local, bucket, how):
    run = start(f"{bucket.url}/scores", *how, stale=2)
    assert run.kill_when(lambda: finished(bucket) >= 8)
    assert run.end() == -signal.SIGKILL
    staged = finished(bucket)
    lock = json.loads(bucket.get("scores/_lock.json"))
    assert lock["pid"] == run.pid

    held = start(f"{bucket.url}/scores", *how)
    assert held.end() == 75
    assert f"process {run.pid} on {lock['host']}, since {lock['since']}" in held.err

    time.sleep(3)
    run = start(f"{bucket.url}/scores", *how, stale=2)
    assert run.end() == 0, run.err
    assert bucket.digests("scores", UNTOLD) == local
    assert ids(bucket) == IDS
    assert not [name for name in bucket.names() if "_staged" in name or "lock" in name]
    assert staged >= 8


def test_two_runs_at_once(start, local, bucket):
    one = start(f"{bucket.url}/scores")
    while "scores/_lock.json" not in bucket.names() and one._process.is_alive():
        time.sleep(0.02)
    two = start(f"{bucket.url}/scores")
    assert two.end() == 75
    assert f"process {one.pid} on" in two.err and "Traceback" not in two.err
    assert one.end() == 0, one.err
    assert bucket.digests("scores", UNTOLD) == local


@pytest.mark.parametrize("how", HOW)
def test_limit_and_stop(start, local, bucket, how):
    run = start(f"{bucket.url}/scores", *how, "--limit", 5 * CHUNK_ROWS)
    assert run.end() == 75, run.err
    some = ids(bucket)
    assert 4 * CHUNK_ROWS <= len(some) <= 7 * CHUNK_ROWS and len(set(some)) == len(some)

    run = start(f"{bucket.url}/scores", *how)
    before = finished(bucket)
    assert run.kill_when(lambda: finished(bucket) >= before + 3, signal.SIGTERM)
    assert run.end() in (75, 0), run.err
    assert len(ids(bucket)) >= len(some)

    run = start(f"{bucket.url}/scores", *how)
    assert run.end() == 0, run.err
    assert bucket.digests("scores", UNTOLD) == local


def parts(digests):
    return {name: d for name, d in digests.items() if name.startswith("model_version=")}


@pytest.mark.parametrize("how", HOW)
def test_model_and_corpus_are_in_the_store(
    start, local, bucket, fake_model, corpus, how
):
    model = bucket.upload(fake_model, "models/m")
    inputs = bucket.upload(corpus, "in")
    run = start(f"{bucket.url}/scores", *how, "--input", f"{inputs}/*", model=model)
    assert run.end() == 0, run.err
    assert parts(bucket.digests("scores", UNTOLD)) == parts(local)
    told = json.loads(bucket.get("scores/_run.json"))
    assert told["model"] == model
    for name in ("saved_model/saved_model.pb", "tokenizer/sentencepiece.bpe.model"):
        assert bucket.server.requests["GET", f"/{bucket.name}/models/m/{name}"] == 1

    again = start(f"{bucket.url}/scores", *how, model=model)
    assert again.end() == 0, again.err
    pb = f"/{bucket.name}/models/m/saved_model/saved_model.pb"
    assert bucket.server.requests["GET", pb] == 1


def test_a_tampered_model(start, bucket, fake_model, tmp_path):
    model = bucket.upload(fake_model, "m")
    bucket.put("m/saved_model/saved_model.pb", b"something else")
    run = start(tmp_path / "scores", model=model)
    assert run.end() == 2
    assert f"{model} is no sound artifact: 'saved_model/saved_model.pb'" in run.err


def test_what_a_user_may_have_wrong(start, bucket, tmp_path):
    run = start("s3://no-such-bucket/scores")
    assert run.end() == 2
    assert "There is no bucket s3://no-such-bucket" in run.err
    run = start("hdfs://host/scores")
    assert run.end() == 2 and "is no place in a store" in run.err
    bucket.put("thesis/years.txt", b"of work")
    run = start(f"{bucket.url}/thesis")
    assert run.end() == 2 and "was not made by reviewbeam" in run.err
    assert bucket.names() == ["thesis/years.txt"]
    run = start(tmp_path / "scores", "--no-lock")
    assert run.end() == 2 and "leave it out" in run.err


@pytest.mark.parametrize("how", HOW)
def test_no_conditional_puts(start, local, bucket, monkeypatch, how):
    monkeypatch.setattr(bucket.server, "unconditional", True)
    run = start(f"{bucket.url}/scores")
    assert run.end() == 2
    assert "has no conditional puts" in run.err and bucket.names() == []
    run = start(f"{bucket.url}/scores", "--no-lock", *how)
    assert run.end() == 0, run.err
    assert bucket.digests("scores", UNTOLD) == local


def test_what_a_killed_run_of_other_settings_left(start, local, bucket):
    """Its parts lie where they were to stay, under another version."""
    run = start(f"{bucket.url}/scores", "--set", "columns.keep=[]", "--set",
                "rules.max_characters=40", stale=2)  # fmt: skip
    assert run.kill_when(lambda: finished(bucket) >= 5)
    run.end()
    left = {name for name in bucket.names("scores/") if "/part-" in name}
    assert left
    time.sleep(3)
    run = start(f"{bucket.url}/scores", stale=2)
    assert run.end() == 0, run.err
    assert bucket.digests("scores", UNTOLD) == local
