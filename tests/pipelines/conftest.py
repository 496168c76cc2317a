"""One small run of all jobs, shared by the tests of the jobs."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

SAMPLE = Path(__file__).parents[1] / "testdata" / "sample"


@pytest.fixture(scope="session")
def configs(tiny_encoder):
    """Plain config data of each job, for a tiny encoder; copy before a change."""
    columns = {"text": "text", "id": "id", "language": "language"}
    inference = {"engine": "tensorflow", "batch_tokens": 4096}  # not to be measured
    return {
        "prepare": {
            "encoder": str(tiny_encoder),
            "columns": columns | {"label": "label", "keep": ["product"]},
            "labels": {
                "type": "multiclass",
                "names": ["negative", "neutral", "positive"],
            },
            "text": {"max_tokens": 64},
            "split": {"validation": 0.15, "test": 0.25},
        },
        "train": {
            "encoder": str(tiny_encoder),
            "training": {"epochs": 1, "batch_tokens": 4096, "learning_rate": 0.01},
        },
        "evaluate": {"inference": inference},
        "score": {
            "columns": columns | {"keep": ["product"]},
            "inference": inference,
        },
    }


@pytest.fixture
def write_config(tmp_path):
    """Returns a function that writes config data to a file and returns its path."""

    def write(data, name="config.yaml"):
        path = tmp_path / name
        path.write_text(yaml.safe_dump(data))
        return str(path)

    return write


@pytest.fixture
def command(capsys):
    """Returns a function that runs a command line: exit code, stdout, stderr."""
    from reviewbeam.pipelines.cli import main

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("jobs")


def _run(folder, name, data, *arguments):
    from reviewbeam.pipelines.cli import main

    config = folder / f"{name}.yaml"
    config.write_text(yaml.safe_dump(data))
    output = folder / name
    code = main([name, "--config", str(config), "--output", str(output), *arguments])
    assert code == 0
    return output


@pytest.fixture(scope="session")
def dataset(session_folder, configs):
    """The dataset of the sample corpus, its broken rows included."""
    inputs = ["--input", str(SAMPLE / "reviews.jsonl")]
    inputs += ["--input", str(SAMPLE / "broken.jsonl")]
    return _run(session_folder, "prepare", configs["prepare"], *inputs)


@pytest.fixture(scope="session")
def model(session_folder, configs, dataset):
    return _run(session_folder, "train", configs["train"], "--dataset", str(dataset))


@pytest.fixture(scope="session")
def evaluation(session_folder, configs, dataset, model):
    inputs = ["--dataset", str(dataset), "--model", str(model)]
    return _run(session_folder, "evaluate", configs["evaluate"], *inputs)


@pytest.fixture(scope="session")
def arrivals():
    """The new arrivals of the sample corpus, as records."""
    lines = (SAMPLE / "new_arrivals.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def scores(session_folder, configs, model):
    inputs = ["--input", str(SAMPLE / "new_arrivals.jsonl"), "--model", str(model)]
    return _run(session_folder, "score", configs["score"], *inputs)


@pytest.fixture(scope="session")
def fake_model(tmp_path_factory, dataset, tiny_encoder):
    """A model that is a formula."""
    from tests.pipelines.fake_models import write_model

    folder = tmp_path_factory.mktemp("model") / "model"
    return write_model(folder, dataset, tiny_encoder, {})


@pytest.fixture
def store_launch(tmp_path, bucket):
    """Returns a function that begins a run which finds the bucket's server.

    Each has a folder of its own; all are killed at the end of the test.
    """
    from tests.object_store import With
    from tests.pipelines.launches import Launch, write_yaml

    runs = []

    def launch(job, config, *arguments, cache="cache", before=None):
        folder = tmp_path / f"run{len(runs)}"
        folder.mkdir()
        caches = {"REVIEWBEAM_CACHE": str(tmp_path / cache)}
        run = Launch(
            folder,
            *(job, "--config", write_yaml(folder / "c.yaml", config), *arguments),
            before=With(bucket.server.environment | caches, before),
        )
        runs.append(run)
        return run

    yield launch
    for run in runs:
        run.kill_when(lambda: True)
        run.end()


@pytest.fixture
def night(command, write_config, fake_model, tmp_path):
    """Returns a function that scores `in/`: code, stdout, stderr."""
    config = {
        "columns": {"text": "text", "id": "id", "language": "language"},
        "inference": {
            "engine": "tensorflow", "batch_tokens": 512, "threads": 1, "chunk_rows": 10,
        },
    }  # fmt: skip

    def run(*arguments, inference=None, **changes):
        merged = config | changes
        merged["inference"] = config["inference"] | (inference or {})
        return command(
            *("score", "--config", write_config(merged), "--model", fake_model),
            *("--input", tmp_path / "in" / "*", "--output", tmp_path / "scores"),
            *arguments,
        )

    (tmp_path / "in").mkdir()
    return run


@pytest.fixture
def deliver(tmp_path):
    """Returns a function that writes a file of reviews, named by its ids."""

    from tests.testdata.make_tiny_encoder import SENTENCES

    def write(name, count, start=0, language="en"):
        stem = name.split(".")[0]
        records = [
            {
                "id": f"{stem}-{i}",
                "text": f"{SENTENCES[i % len(SENTENCES)]} {i}",
                "language": language,
            }
            for i in range(start, start + count)
        ]
        path = tmp_path / "in" / name
        data = "".join(json.dumps(record) + "\n" for record in records).encode()
        if name.endswith(".parquet"):
            pq.write_table(pa.Table.from_pylist(records), path, row_group_size=7)
        else:
            path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write
