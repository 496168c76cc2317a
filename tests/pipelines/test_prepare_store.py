"""`prepare` to an object store: whole or not there, and the same bytes."""

import json
import signal
import time

import pytest

from tests.object_store import StaleAfter
from tests.pipelines.launches import (
    PROCESSES,
    UNTOLD,
    Launch,
    digests,
    everything,
    write_corpus,
    write_yaml,
)

STATISTICS = "statistics.tfrecord"
HOW = [[], pytest.param(PROCESSES, marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "in")


@pytest.fixture
def start(store_launch, tiny_encoder, corpus):
    """Returns a function that begins a run to an output."""

    def run(output, *arguments, encoder=tiny_encoder, stale=300.0, **changes):
        config = everything(encoder, corpus) | changes
        config["input"] = [str(glob) for glob in config["input"]]
        output = ("--output", output)
        before = StaleAfter(stale)
        return store_launch("prepare", config, *output, *arguments, before=before)

    return run


@pytest.fixture(scope="module")
def local_dataset(tmp_path_factory, tiny_encoder, corpus):
    """What a run to a folder wrote."""
    folder = tmp_path_factory.mktemp("local")
    config = write_yaml(folder / "c.yaml", everything(tiny_encoder, corpus))
    output = folder / "dataset"
    run = Launch(folder, "prepare", "--config", config, "--output", output)
    assert run.end() == 0, run.err
    return output


@pytest.fixture(scope="module")
def local(local_dataset):
    """Name -> digest of its files."""
    return digests(local_dataset)


def shards(bucket):
    return [name for name in bucket.names("dataset/") if "tfrecord.gz" in name]


def test_processes_write_what_a_local_run_writes(start, local, local_dataset, bucket):
    run = start(f"{bucket.url}/dataset", *PROCESSES)
    assert run.end() == 0, run.err
    assert bucket.digests("dataset", UNTOLD) == local
    assert sorted(n for n in bucket.names() if n.rpartition("/")[2] in UNTOLD) == [
        "dataset/run.json",
        f"dataset/{STATISTICS}",
    ]
    assert len(bucket.get(f"dataset/{STATISTICS}")) == (
        (local_dataset / STATISTICS).stat().st_size
    )
    told = json.loads(bucket.get("dataset/run.json"))
    assert told["finished"] >= told["started"]

    again = start(f"{bucket.url}/dataset")
    assert again.end() == 0, again.err
    other = start(f"{bucket.url}/dataset", "--set", "text.max_tokens=16")
    assert other.end() == 2
    assert "made from other inputs or another config" in other.err
    assert bucket.digests("dataset", UNTOLD) == local


@pytest.mark.parametrize("how", HOW)
def test_killed_then_run_again(start, local, bucket, how):
    run = start(f"{bucket.url}/dataset", *how, stale=2)
    assert run.kill_when(lambda: len(shards(bucket)) >= 5)
    assert run.end() == -signal.SIGKILL
    assert "dataset/manifest.json" not in bucket.names()
    assert start(f"{bucket.url}/dataset").end() == 75

    time.sleep(3)
    run = start(f"{bucket.url}/dataset", *how, stale=2)
    assert run.end() == 0, run.err
    assert bucket.digests("dataset", UNTOLD) == local


@pytest.mark.slow
def test_an_overwritten_dataset_is_no_mix(start, local, bucket):
    """Neither while the newer one is written, nor when that is killed."""
    first = start(f"{bucket.url}/dataset", partition_bytes=2000)
    assert first.end() == 0, first.err
    older = set(shards(bucket))
    run = start(f"{bucket.url}/dataset", "--overwrite", stale=2)
    assert run.kill_when(lambda: set(shards(bucket)) - older)
    run.end()
    assert not set(shards(bucket)) & older
    assert not {"dataset/manifest.json", "dataset/_SUCCESS"} & set(bucket.names())

    time.sleep(3)
    run = start(f"{bucket.url}/dataset", stale=2)
    assert run.end() == 0, run.err
    assert bucket.digests("dataset", UNTOLD) == local


def test_what_a_gate_stops_is_kept_beside(start, bucket, tmp_path):
    rules = {"max_reject_fraction": 0.001}
    local = start(tmp_path / "local", rules=rules)
    assert local.end() == 3, local.err
    run = start(f"{bucket.url}/dataset", rules=rules)
    assert run.end() == 3, run.err
    assert bucket.digests("dataset.failed", UNTOLD) == (
        digests(tmp_path / "local.failed")
    )
    assert not bucket.names("dataset/")

    run = start(f"{bucket.url}/dataset")
    assert run.end() == 0, run.err
    assert not bucket.names("dataset.failed/")


def test_a_place_of_someone_else(start, bucket):
    bucket.put("dataset/thesis.txt", b"years of work")
    run = start(f"{bucket.url}/dataset", "--overwrite")
    assert run.end() == 2 and "was not made by reviewbeam" in run.err
    assert bucket.names() == ["dataset/thesis.txt"]


@pytest.mark.parametrize("how", HOW)
def test_the_encoder_and_the_corpus_are_in_the_store(
    start, local, bucket, tiny_encoder, corpus, tmp_path, how
):
    from reviewbeam.components.encoder.bring import bring_encoder

    bring_encoder(str(tiny_encoder), tmp_path / "encoder")
    encoder = bucket.upload(tmp_path / "encoder", "encoder")
    inputs = bucket.upload(corpus, "in")
    run = start(f"{bucket.url}/dataset", *how, encoder=encoder, input=[f"{inputs}/**"])
    assert run.end() == 0, run.err
    made = bucket.digests("dataset", UNTOLD)
    assert {n: d for n, d in made.items() if "shard" in n or "tfrecord" in n} == {
        n: d for n, d in local.items() if "shard" in n or "tfrecord" in n
    }
    weights = f"/{bucket.name}/encoder/model.safetensors"
    assert bucket.server.requests["GET", weights] == 1


def test_no_conditional_puts(start, bucket, monkeypatch, tmp_path):
    monkeypatch.setattr(bucket.server, "unconditional", True)
    run = start(f"{bucket.url}/dataset")
    assert run.end() == 2
    assert "has no conditional puts" in run.err and "--no-lock" in run.err
    assert bucket.names() == []
    run = start(f"{bucket.url}/dataset", "--no-lock")
    assert run.end() == 0, run.err
    assert "dataset/_SUCCESS" in bucket.names()
    run = start(tmp_path / "local", "--no-lock")
    assert run.end() == 2 and "leave it out" in run.err


def test_there_is_no_such_bucket(start):
    run = start("s3://no-such-bucket/dataset")
    assert run.end() == 2
    assert "There is no bucket s3://no-such-bucket" in run.err
    assert "Traceback" not in run.err
