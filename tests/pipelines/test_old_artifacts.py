"""Artifacts of this format that an earlier release made are of use as they are."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from reviewbeam.components.common.artifacts import FORMAT, write_json
from tests.pipelines.conftest import SAMPLE
from tests.testdata.make_artifacts import CONFIGS

ARTIFACTS = SAMPLE.parent / "artifacts" / f"format-{FORMAT}"  # see make_artifacts.py


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A copy of the artifacts, beside a config of each job."""
    folder = tmp_path_factory.mktemp("old") / "artifacts"
    shutil.copytree(ARTIFACTS, folder)
    for job, config in CONFIGS.items():
        (folder / f"{job}.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(scope="module")
def expected():
    return json.loads((ARTIFACTS / "expected.json").read_text())


@pytest.fixture
def run(old, command, monkeypatch):
    """Returns a function that runs a job where the artifacts are."""
    monkeypatch.chdir(old)

    def run(job, output, *arguments):
        config = ("--config", f"{job}.yaml", "--output", output)
        code, _, err = command(job, *config, *arguments)
        assert code == 0, err
        return old / output

    return run


def check_scores(folder, expected):
    scores = pd.read_parquet(folder)
    found = dict(zip(scores["id"], scores["probabilities"], strict=True))
    assert found.keys() == expected["probabilities"].keys()
    for review, probabilities in expected["probabilities"].items():
        np.testing.assert_allclose(found[review], probabilities, atol=1e-5, rtol=0)


@pytest.mark.parametrize("engine", ["tensorflow", "openvino"])
def test_an_old_model_scores_as_it_did(engine, run, expected):
    pytest.importorskip(engine)
    arrivals = SAMPLE / "new_arrivals.jsonl"
    inputs = ("--model", "model", "--input", arrivals)
    engine_set = ("--set", f"inference.engine={engine}")
    check_scores(run("score", f"scores-{engine}", *inputs, *engine_set), expected)


def test_an_old_model_predicts_as_it_did(old, command, expected):
    lines = (SAMPLE / "new_arrivals.jsonl").read_text(encoding="utf-8").splitlines()
    reviews = [json.loads(line) for line in lines[:20]]
    texts = [review["text"] for review in reviews]
    code, out, err = command("predict", "--json", "--model", old / "model", *texts)
    assert code == 0, err
    answers = json.loads(out.splitlines()[-1])
    for review, answer in zip(reviews, answers, strict=True):
        np.testing.assert_allclose(
            list(answer["probabilities"].values()),
            expected["probabilities"][review["id"]],
            atol=1e-5,
        )


def test_an_old_model_is_evaluated_as_it_was(run, expected):
    inputs = ("--model", "model", "--dataset", "dataset")
    evaluation = run("evaluate", "evaluation", *inputs)
    metrics = json.loads((evaluation / "metrics.json").read_text())
    figures = {k: v["value"] for k, v in metrics["overall"]["figures"].items()}
    assert figures == pytest.approx(expected["figures"], abs=1e-5)


@pytest.mark.slow
def test_an_old_dataset_trains_an_old_model_on(run):
    inputs = ("--dataset", "dataset", "--init", "model")
    # One epoch of one step, which hardly moves.
    small = {"epochs": 1, "batch_tokens": 65536, "learning_rate": 1e-9}
    sets = [f"--set=training.{name}={value}" for name, value in small.items()]
    model = run("train", "model-2", *inputs, *sets)
    history = json.loads((model / "history.json").read_text())
    assert history["against_initial"]
    for entry in history["against_initial"]:
        assert entry["after"] == pytest.approx(entry["before"], abs=1e-5)


@pytest.mark.parametrize("kind", ["dataset", "model"])
@pytest.mark.parametrize("other", [FORMAT - 1, FORMAT + 1])
def test_an_artifact_of_another_format_is_refused(kind, other, old, command, tmp_path):
    folder = shutil.copytree(old / kind, tmp_path / kind)
    manifest = json.loads((folder / "manifest.json").read_text())
    write_json(folder / "manifest.json", manifest | {"format": other})
    given = {"dataset": old / "dataset", "model": old / "model"} | {kind: folder}
    code, _, err = command(
        *("evaluate", "--config", old / "evaluate.yaml", "--output", tmp_path / "out"),
        *("--dataset", given["dataset"], "--model", given["model"]),
    )
    assert code == 2
    assert f"has format {other}; this version reads format {FORMAT}." in err
    assert f"Make the {kind} again, or use the version that made it." in err
