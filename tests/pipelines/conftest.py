"""One small run of all jobs, shared by the tests of the jobs."""

import json
from pathlib import Path

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
