"""Reviews that are not like those of the model's training: told, or held back."""

import json

import pandas as pd
import pytest

from reviewbeam.components.inference.handler import ClassifierHandler
from tests.pipelines.conftest import SAMPLE


@pytest.fixture
def run_score(command, write_config, configs, model, tmp_path):
    """Returns a function that scores records: code, stdout, stderr."""

    def run(records, *arguments, **drift):
        path = tmp_path / "in.jsonl"
        text = "".join(json.dumps(record) + "\n" for record in records)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
        return command(
            *("score", "--config", write_config(configs["score"] | {"drift": drift})),
            *("--model", model, "--input", path, "--output", tmp_path / "scores"),
            *arguments,
        )

    return run


@pytest.fixture(scope="module")
def alike():
    """Reviews as the model was trained on."""
    lines = (SAMPLE / "reviews.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) | {"product": "p"} for line in lines]


@pytest.fixture(scope="module")
def unlike():
    """Short reviews in a language that the model has never seen."""
    return [
        {"id": f"u{i}", "text": f"kyllä {i}", "language": "fi", "product": "p"}
        for i in range(300)
    ]


def told(tmp_path):
    """What the manifest says of each feature."""
    manifest = json.loads((tmp_path / "scores" / "_manifest.json").read_text())
    ((version),) = manifest["versions"].values()
    return {drift["feature"]: drift for drift in version["drift"]}


def test_reviews_like_those_of_training_have_not_drifted(run_score, alike, tmp_path):
    code, out, err = run_score(alike, fatal=True)
    assert code == 0, err
    assert "no drift from training" in out
    drift = told(tmp_path)
    assert not any(distance["exceeded"] for distance in drift.values())
    assert drift["language"]["figure"] < 0.05


def test_drift_is_told(run_score, unlike, tmp_path):
    code, out, err = run_score(unlike)
    assert code == 0, err
    drift = told(tmp_path)
    for feature in ("language", "tokens", "characters"):
        assert drift[feature]["exceeded"] and feature in out
    assert drift["language"]["value"] == "fi"
    assert (drift["language"]["share"], drift["language"]["training_share"]) == (1, 0)


def test_fatal_drift_is_held_back_until_it_is_accepted(
    run_score, unlike, tmp_path, monkeypatch
):
    code, _, err = run_score(unlike, fatal=["language"])
    assert code == 3
    assert "--accept-drift" in err and "language" in err and "Traceback" not in err
    assert "Rejected rows" not in err and "_report.html" in err
    assert not list(tmp_path.glob("scores/model_version=*"))

    def never(*arguments):
        raise AssertionError("it was scored already")

    monkeypatch.setattr(ClassifierHandler, "_infer", never)
    assert run_score(unlike, fatal=["language"])[0] == 3
    code, _, err = run_score(unlike, "--accept-drift", fatal=["language"])
    assert code == 0, err
    assert len(pd.read_parquet(tmp_path / "scores")) == 300
    assert told(tmp_path)["language"]["fatal"]
