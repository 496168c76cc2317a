"""Writes a classifier as a directory that Hugging Face's transformers opens.

It is an XLMRobertaForSequenceClassification: dropout, dense, tanh, dropout and
out_proj on <s>. Two of its logits stand for the one of a binary classifier: the
softmax of 0 and x is the sigmoid of x. Neither PyTorch nor the network is needed.
"""

import json
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import safetensors.numpy

from reviewbeam.components.common.artifacts import write_json
from reviewbeam.components.common.model_directory import ModelMetadata
from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.common.train_config import ModelConfig

_VOCABULARY = "sentencepiece.bpe.model"
_TOKENIZER_CONFIG = "tokenizer_config.json"
# What transformers 5 writes besides is either its own or unreadable to 4.57.
_TOKENIZER_KEYS = (
    "tokenizer_class",
    "model_max_length",
    "bos_token",
    "cls_token",
    "eos_token",
    "mask_token",
    "pad_token",
    "sep_token",
    "unk_token",
)
_RESERVED_POSITIONS = 2  # rows 0 and 1: positions count from the padding id + 1


def hf_obstacle(
    labels: LabelRules, config: ModelConfig, hidden_size: int
) -> str | None:
    """Says in a sentence why transformers has no such classifier; None: it has.

    Args:
      labels: the classes.
      config: the classifier's pooling and head.
      hidden_size: width of the encoder.
    """
    if config.pooling != "cls":
        return (
            f"The model pools by {config.pooling!r}, and transformers' XLM-R "
            "classifier reads <s> alone (model.pooling: cls)."
        )
    if config.hidden_units != hidden_size:
        found = config.hidden_units or "no"
        return (
            f"The head has {found} hidden units, and that of transformers' XLM-R "
            f"classifier has the encoder's {hidden_size} (model.hidden_units)."
        )
    if labels.type == "ordinal" and config.ordinal_head != "softmax":
        return (
            "transformers has no cumulative head for ordinal labels "
            "(model.ordinal_head: softmax)."
        )
    return None


def export_hf(
    classifier: keras.Model, metadata: ModelMetadata, vocabulary: str, directory: Path
) -> str | None:
    """Writes config, weights and tokenizer where the head and the pooling allow it.

    Args:
      classifier: a plain float32 copy, under the layer names of `model.py`.
      metadata: of the model.
      vocabulary: path of the SentencePiece vocabulary.
      directory: to be made; nothing is written where transformers has no such model.

    Returns:
      None, or why nothing was written, in a sentence.
    """
    width = classifier.get_layer("token_embedding").embeddings.shape[1]
    obstacle = hf_obstacle(metadata.labels, metadata.config.model, width)
    if obstacle:
        return obstacle
    # transformers would announce on standard error that there is no PyTorch.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    directory.mkdir()
    _write_config(classifier, metadata, directory)
    weights = _encoder_weights(classifier) | _head_weights(classifier)
    safetensors.numpy.save_file(
        {name: np.ascontiguousarray(value) for name, value in weights.items()},
        directory / "model.safetensors",
        metadata={"format": "pt"},
    )
    _write_tokenizer(vocabulary, metadata.text.max_tokens, directory)
    return None


def _write_config(
    classifier: keras.Model, metadata: ModelMetadata, directory: Path
) -> None:
    from transformers import XLMRobertaConfig

    names, model = metadata.labels.names, metadata.config.model
    rows, width = classifier.get_layer("token_embedding").embeddings.shape
    positions = classifier.get_layer("position_embedding").position_embeddings
    layers = _transformer_layers(classifier)
    kind = "multi" if metadata.labels.type == "multilabel" else "single"
    XLMRobertaConfig(
        architectures=["XLMRobertaForSequenceClassification"],
        dtype="float32",
        vocab_size=rows,
        hidden_size=width,
        num_hidden_layers=len(layers),
        num_attention_heads=layers[0]._self_attention_layer.num_heads,
        intermediate_size=layers[0]._feedforward_intermediate_dense.units,
        hidden_act="gelu",
        hidden_dropout_prob=model.encoder_dropout,
        attention_probs_dropout_prob=model.encoder_dropout,
        classifier_dropout=model.dropout,
        max_position_embeddings=positions.shape[0] + _RESERVED_POSITIONS,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        problem_type=f"{kind}_label_classification",
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
    ).save_pretrained(directory)


def _transformer_layers(classifier: keras.Model) -> list[keras.Layer]:
    layers = {layer.name: layer for layer in classifier.layers}
    names = [name for name in layers if name.startswith("transformer_layer_")]
    return [layers[f"transformer_layer_{index}"] for index in range(len(names))]


def _encoder_weights(classifier: keras.Model) -> dict[str, np.ndarray]:
    """Inverts KerasHub's conversion: name -> float32, matrices [out, in]."""
    positions = _array(classifier.get_layer("position_embedding").position_embeddings)
    width = positions.shape[1]
    reserved = np.zeros((_RESERVED_POSITIONS, width), np.float32)
    embeddings = "roberta.embeddings"
    weights = {
        f"{embeddings}.word_embeddings.weight": _array(
            classifier.get_layer("token_embedding").embeddings
        ),
        f"{embeddings}.position_embeddings.weight": np.concatenate(
            [reserved, positions]
        ),
        # KerasHub has added the one row to every position.
        f"{embeddings}.token_type_embeddings.weight": np.zeros((1, width), np.float32),
    }
    norm = classifier.get_layer("embeddings_layer_norm")
    weights |= _norm(f"{embeddings}.LayerNorm", norm)
    for index, layer in enumerate(_transformer_layers(classifier)):
        prefix = f"roberta.encoder.layer.{index}"
        attention = layer._self_attention_layer
        for name in ("query", "key", "value"):
            dense = getattr(attention, f"{name}_dense")
            weights |= _dense(f"{prefix}.attention.self.{name}", dense, width)
        output = f"{prefix}.attention.output"
        weights |= _dense(f"{output}.dense", attention.output_dense, width)
        weights |= _norm(f"{output}.LayerNorm", layer._self_attention_layer_norm)
        inner = layer._feedforward_intermediate_dense
        weights |= _dense(f"{prefix}.intermediate.dense", inner, inner.units)
        outer = layer._feedforward_output_dense
        weights |= _dense(f"{prefix}.output.dense", outer, width)
        weights |= _norm(f"{prefix}.output.LayerNorm", layer._feedforward_layer_norm)
    return weights


def _head_weights(classifier: keras.Model) -> dict[str, np.ndarray]:
    hidden, logits = classifier.get_layer("hidden"), classifier.get_layer("logits")
    head = _dense("classifier.dense", hidden, hidden.units)
    head |= _dense("classifier.out_proj", logits, logits.units)
    if logits.units == 1:
        head = {
            name: np.concatenate([np.zeros_like(value), value])
            if "out_proj" in name
            else value
            for name, value in head.items()
        }
    return head


def _dense(name: str, layer: keras.Layer, units: int) -> dict[str, np.ndarray]:
    # An attention's kernels have the heads and their width as two axes.
    bias = _array(layer.bias).reshape(units)
    kernel = _array(layer.kernel)
    kernel = kernel.reshape(kernel.size // units, units)
    return {f"{name}.weight": kernel.T, f"{name}.bias": bias}


def _norm(name: str, layer: keras.Layer) -> dict[str, np.ndarray]:
    return {f"{name}.weight": _array(layer.gamma), f"{name}.bias": _array(layer.beta)}


def _array(variable: keras.Variable) -> np.ndarray:
    return variable.numpy().astype(np.float32, copy=False)


def _write_tokenizer(vocabulary: str, max_tokens: int, directory: Path) -> None:
    from transformers import AddedToken, XLMRobertaTokenizer

    shutil.copyfile(vocabulary, directory / _VOCABULARY)
    XLMRobertaTokenizer.from_pretrained(
        directory,
        local_files_only=True,
        model_max_length=max_tokens,
        mask_token=AddedToken("<mask>", lstrip=True, special=True),
    ).save_pretrained(directory)
    path = directory / _TOKENIZER_CONFIG
    written = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, {key: written[key] for key in _TOKENIZER_KEYS})
