"""`train` leaves a page beside the model, which is worth no training."""

import json
import shutil

import pytest

from reviewbeam.components.common.model_directory import open_model
from tests.components.reporting.made import words


@pytest.fixture
def trained(model, tmp_path):
    return shutil.copytree(model, tmp_path / "model")


@pytest.fixture
def train_again(command, write_config, configs, dataset, trained):
    """Runs the job that made the model: exit code, stdout, stderr."""

    def run(*more):
        config = write_config(configs["train"])
        inputs = ("--dataset", dataset, "--output", trained)
        return command("train", "--config", config, *inputs, *more)

    return run


def test_the_page_tells_what_the_files_tell(model):
    said = words((model / "report.html").read_text())
    history = json.loads((model / "history.json").read_text())
    run = json.loads((model / "run.json").read_text())
    found = history["validation"]
    assert f"Macro F1 {found['macro_f1']:.3f} and accuracy {found['accuracy']:.3f}" in (
        said
    )
    assert f"{run['padding_share']:.1%}".replace("%", " %") in said
    assert "Learning rate" in said
    assert "Devices 1 computing in float32" in said


def test_it_lies_beside_what_the_manifest_describes(model, trained):
    files = json.loads((model / "manifest.json").read_text())["files"]
    assert "report.html" not in files
    before = open_model(str(trained)).content_fingerprint
    (trained / "report.html").unlink()
    assert open_model(str(trained)).content_fingerprint == before


def test_a_page_that_is_missing_is_made_and_one_that_stands_is_left(
    train_again, trained
):
    page = (trained / "report.html").read_text()
    (trained / "report.html").write_text("mine")
    code, out, _ = train_again()
    assert code == 0
    assert out.endswith("model.json, report.html\n")
    assert (trained / "report.html").read_text() == "mine"
    (trained / "report.html").unlink()
    code, out, _ = train_again("--json")
    assert json.loads(out.splitlines()[-1])["report"] == "report.html"
    assert (trained / "report.html").read_text() == page


def test_a_page_that_fails_is_one_line(train_again, trained, monkeypatch):
    from reviewbeam.components.reporting import model_page

    def fail(training):
        raise ValueError("with a text of a review")

    monkeypatch.setattr(model_page, "model_page", fail)
    (trained / "report.html").unlink()
    code, out, err = train_again()
    assert code == 0
    assert out.endswith("model.keras, model.json\n")
    assert "reviewbeam: report.html could not be made: ValueError.\n" in err
    assert "review\n" not in err
    assert not (trained / "report.html").exists()
