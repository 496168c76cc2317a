"""A blessing counts for the model that it was written for, until it is taken back."""

import json
import shutil

import pytest

from reviewbeam.components.common.blessed import (
    latest_verdict,
    read_blessing,
    withdraw_blessing,
    write_blessing,
)
from reviewbeam.components.common.errors import UserError
from tests.pipelines.fake_models import told_by, write_model


@pytest.fixture(scope="module")
def source(tiny_encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("blessed")
    return write_model(folder / "model", told_by(tiny_encoder), tiny_encoder)


@pytest.fixture
def model(source, tmp_path):
    return shutil.copytree(source, tmp_path / "model")


def test_a_blessing_is_bound_to_the_model(model):
    assert read_blessing(model) is None and latest_verdict(model) == ""
    write_blessing(model, {"evaluation": "e", "date": "2026-01-01T00:00:00Z"})
    manifest = json.loads((model / "manifest.json").read_text())
    assert read_blessing(model) == {
        "evaluation": "e",
        "date": "2026-01-01T00:00:00Z",
        "core_fingerprint": manifest["core_fingerprint"],
        "content_fingerprint": manifest["content_fingerprint"],
    }
    copied = shutil.copytree(model, model.with_name("copy"))
    assert read_blessing(copied) == read_blessing(model)


@pytest.mark.parametrize("name", ["core_fingerprint", "content_fingerprint"])
def test_of_another_fingerprint_it_counts_for_nothing(model, name):
    write_blessing(model, {"date": "2026-01-01T00:00:00Z"})
    said = json.loads((model / "BLESSED").read_text())
    (model / "BLESSED").write_text(json.dumps(said | {name: "0" * 64}))
    assert read_blessing(model) is None and latest_verdict(model) == ""


@pytest.mark.parametrize("content", ["", "yes", "[]", "null", "[" * 100_000])
def test_what_is_no_blessing_counts_for_nothing(model, content):
    (model / "BLESSED").write_text(content)
    assert read_blessing(model) is None


def test_taken_back_and_given_again(model):
    write_blessing(model, {"evaluation": "first", "date": "2026-01-01T00:00:00Z"})
    withdraw_blessing(model, "second", "2026-02-01T00:00:00Z")
    assert read_blessing(model) is None
    assert latest_verdict(model) == "2026-02-01T00:00:00Z"
    told = json.loads((model / "BLESSED.withdrawn").read_text())
    assert (told["evaluation"], told["withdrawn_by"]) == ("first", "second")
    write_blessing(model, {"evaluation": "third", "date": "2026-03-01T00:00:00Z"})
    assert read_blessing(model)["evaluation"] == "third"
    assert not (model / "BLESSED.withdrawn").exists()


def test_what_is_no_model_has_no_blessing(tmp_path):
    with pytest.raises(UserError, match="not a finished model"):
        read_blessing(tmp_path)
