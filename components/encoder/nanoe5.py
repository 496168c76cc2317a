"""Turns the 4-bit multilingual-e5-small into a Hugging Face XLM-R directory.

Wang et al. 2024, "Multilingual E5 Text Embeddings": a 12-layer encoder with
XLM-R's tokenizer. It is published as BERT with token types; with a single type
it computes what XLM-R's architecture computes.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from reviewbeam.components.common.encoder_directory import (
    CONFIG,
    VOCABULARY,
    WEIGHTS,
)
from reviewbeam.components.common.errors import ReviewbeamError
from reviewbeam.components.encoder.quantized_file import QuantizedFile, Sizes
from reviewbeam.components.encoder.vocabulary import build_vocabulary

_FIRST_PIECE = 4  # after <s>, <pad>, </s>, <unk>
_POSITION_OFFSET = 2  # XLM-R counts positions from the padding id + 1

# Of one layer: name in the file -> name in the checkpoint.
_LAYER_TENSORS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


def write_checkpoint(file: QuantizedFile, directory: Path) -> None:
    """Writes config, weights and vocabulary; 500 MB for the published file.

    Raises:
      UserError: the file lacks a tensor.
      ReviewbeamError: the weights can't be written.
    """
    weights = dict(_weights(file))
    try:
        save_file(weights, directory / WEIGHTS, metadata={"format": "pt"})
    except SafetensorError as error:  # how the library says that the disk is full
        raise ReviewbeamError(
            f"Can't write {directory / WEIGHTS}: {error}. The encoder needs 600 MB "
            "there; free some space and try again."
        ) from None
    last = len(file.pieces) - 1  # <mask>, which SentencePiece doesn't know
    pieces = zip(
        file.pieces[_FIRST_PIECE:last], file.scores[_FIRST_PIECE:last], strict=True
    )
    (directory / VOCABULARY).write_bytes(build_vocabulary(pieces))
    _write_json(directory / CONFIG, _config(file.sizes))
    # The library writes its file for the owner only, whatever the umask says.
    shutil.copymode(directory / CONFIG, directory / WEIGHTS)
    _write_json(directory / "special_tokens_map.json", _SPECIAL_TOKENS)
    _write_json(
        directory / "tokenizer_config.json",
        _SPECIAL_TOKENS
        | {
            "tokenizer_class": "XLMRobertaTokenizer",
            "model_max_length": file.sizes.positions,
        },
    )


def _weights(file: QuantizedFile) -> Iterator[tuple[str, np.ndarray]]:
    hidden = file.sizes.hidden
    yield (
        "embeddings.word_embeddings.weight",
        file.tensor("emb.word").reshape(-1, hidden),
    )
    positions = file.tensor("emb.pos").reshape(-1, hidden)
    yield (
        "embeddings.position_embeddings.weight",
        np.pad(positions, ((_POSITION_OFFSET, 0), (0, 0))),
    )
    # Every text is of type 0; XLM-R's layout has no other.
    yield (
        "embeddings.token_type_embeddings.weight",
        file.tensor("emb.type").reshape(-1, hidden)[:1].copy(),
    )
    yield "embeddings.LayerNorm.weight", file.tensor("emb.ln.w")
    yield "embeddings.LayerNorm.bias", file.tensor("emb.ln.b")
    for layer in range(file.sizes.layers):
        for short, name in _LAYER_TENSORS.items():
            weight = file.tensor(f"l{layer}.{short}.w")
            bias = file.tensor(f"l{layer}.{short}.b")
            if not short.endswith("ln"):
                weight = weight.reshape(len(bias), -1)  # [out, in]
            yield f"encoder.layer.{layer}.{name}.weight", weight
            yield f"encoder.layer.{layer}.{name}.bias", bias


def _config(sizes: Sizes) -> dict:
    return {
        "architectures": ["XLMRobertaModel"],
        "model_type": "xlm-roberta",
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.hidden,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "intermediate_size": sizes.ffn,
        "max_position_embeddings": sizes.positions + _POSITION_OFFSET,
        "type_vocab_size": 1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "initializer_range": 0.02,
        # The file says 1e-12. KerasHub's XLM-R has 1e-5 built in, so that both
        # ways of loading the checkpoint agree.
        "layer_norm_eps": 1e-5,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
    }


_SPECIAL_TOKENS = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}


def _write_json(path: Path, data: dict) -> None:
    path.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n")
