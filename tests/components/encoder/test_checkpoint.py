import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from reviewbeam.components.common.encoder_directory import Architecture
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.encoder.checkpoint import (
    check_checkpoint,
    copy_checkpoint,
)

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


@pytest.fixture
def checkpoint(tiny_encoder, tmp_path):
    return shutil.copytree(tiny_encoder, tmp_path / "checkpoint")


def _change_config(directory, **changes):
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _change_weights(directory, change):
    weights = load_file(directory / WEIGHTS)
    save_file(change(weights), directory / WEIGHTS)


def _shard(directory):
    """Divides the weights over two files and an index."""
    weights = load_file(directory / WEIGHTS)
    (directory / WEIGHTS).unlink()
    names = sorted(weights)
    shards = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for shard, members in shards.items():
        save_file({name: weights[name] for name in members}, directory / shard)
    mapping = {name: shard for shard, members in shards.items() for name in members}
    (directory / INDEX).write_text(json.dumps({"weight_map": mapping}))


def test_accepts_the_tiny_encoder(tiny_encoder):
    architecture, verified = check_checkpoint(tiny_encoder)

    assert architecture == Architecture(
        layers=2, hidden=16, heads=2, ffn=32, vocabulary=478, positions=512
    )
    assert not verified


def test_accepts_shards_and_copies_them(checkpoint, tmp_path):
    _shard(checkpoint)
    (checkpoint / "optimizer.pt").write_bytes(b"not needed")
    (checkpoint / "tokenizer_config.json").write_text("{}")
    target = tmp_path / "target"
    target.mkdir()

    check_checkpoint(checkpoint)
    copy_checkpoint(checkpoint, target)

    assert sorted(path.name for path in target.iterdir()) == [
        "config.json",
        "model-1.safetensors",
        "model-2.safetensors",
        INDEX,
        "sentencepiece.bpe.model",
        "tokenizer_config.json",
    ]
    assert check_checkpoint(target) == check_checkpoint(checkpoint)


def test_accepts_the_names_of_a_checkpoint_with_a_head(checkpoint):
    """As FacebookAI/xlm-roberta-base has them."""

    def rename(weights):
        renamed = {
            "roberta."
            + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            ): value
            for name, value in weights.items()
        }
        return renamed | {"lm_head.bias": np.zeros(478, np.float32)}

    _change_weights(checkpoint, rename)

    assert check_checkpoint(checkpoint)[0].layers == 2


def test_refuses_pickled_weights(checkpoint):
    (checkpoint / WEIGHTS).rename(checkpoint / "pytorch_model.bin")

    with pytest.raises(UserError, match="a pickle, .* Convert it .*save_pretrained"):
        check_checkpoint(checkpoint)


def test_refuses_no_weights(checkpoint):
    (checkpoint / WEIGHTS).unlink()

    with pytest.raises(UserError, match="has no model.safetensors"):
        check_checkpoint(checkpoint)


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_refuses_weights_that_were_cut_short(checkpoint, length):
    path = checkpoint / WEIGHTS
    path.write_bytes(path.read_bytes()[:length])

    with pytest.raises(UserError, match="model.safetensors is damaged or was cut"):
        check_checkpoint(checkpoint)


def test_refuses_a_missing_shard(checkpoint):
    _shard(checkpoint)
    (checkpoint / "model-2.safetensors").unlink()

    with pytest.raises(UserError, match="no model-2.safetensors, which its index"):
        check_checkpoint(checkpoint)


@pytest.mark.parametrize(
    "index",
    [
        {"weight_map": {"a": "../model.safetensors"}},
        {"weight_map": {"a": "weights.bin"}},
        {"weight_map": {"a": ["model.safetensors"]}},
        {"weight_map": {}},
        {},
    ],
)
def test_refuses_an_index_without_safetensors(checkpoint, index):
    (checkpoint / WEIGHTS).unlink()
    (checkpoint / INDEX).write_text(json.dumps(index))

    with pytest.raises(UserError, match="lists no safetensors files"):
        check_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bert"}, "has model_type 'bert'; 'xlm-roberta'"),
        ({"num_hidden_layers": 3}, r"lack 'encoder.layer.2.*, … \(13 more\)"),
        ({"intermediate_size": 64}, r"has shape \[32.*\]; by config.json it is \[64"),
        ({"vocab_size": 999}, r"word_embeddings.* shape \[478, 16\]; .* \[999, 16\]"),
        ({"max_position_embeddings": 130}, r"position_embeddings.*\[514, 16\]"),
    ],
)
def test_refuses_weights_of_another_config(checkpoint, changes, message):
    _change_config(checkpoint, **changes)

    with pytest.raises(UserError, match=message):
        check_checkpoint(checkpoint)


def test_refuses_a_missing_token_type(checkpoint):
    name = "embeddings.token_type_embeddings.weight"
    _change_weights(
        checkpoint, lambda weights: {k: v for k, v in weights.items() if k != name}
    )

    with pytest.raises(UserError, match=f"lack '{name}'"):
        check_checkpoint(checkpoint)


def test_refuses_bfloat16(checkpoint):
    _change_weights(
        checkpoint,
        lambda weights: {k: v.astype(np.float16) for k, v in weights.items()},
    )
    assert check_checkpoint(checkpoint)[0].layers == 2  # float16 is fine
    data = (checkpoint / WEIGHTS).read_bytes()
    size = int.from_bytes(data[:8], "little")
    head = data[8 : 8 + size].rstrip().replace(b'"F16"', b'"BF16"')
    (checkpoint / WEIGHTS).write_bytes(
        len(head).to_bytes(8, "little") + head + data[8 + size :]
    )

    with pytest.raises(UserError, match="is BF16; .* Save the checkpoint as float32"):
        check_checkpoint(checkpoint)


def test_refuses_a_missing_vocabulary(checkpoint):
    (checkpoint / "sentencepiece.bpe.model").unlink()

    with pytest.raises(UserError, match="no sentencepiece.bpe.model. A tokenizer.json"):
        check_checkpoint(checkpoint)


def test_refuses_a_vocabulary_larger_than_the_embeddings(checkpoint):
    word = "embeddings.word_embeddings.weight"
    _change_config(checkpoint, vocab_size=400)
    _change_weights(checkpoint, lambda weights: weights | {word: weights[word][:400]})

    with pytest.raises(UserError, match="476 pieces, .* embeds 400"):
        check_checkpoint(checkpoint)
