"""The classifier: an XLM-R encoder, a pooling, dropout and a head.

It is one flat functional model of layers that keras and keras_hub know, so that
plain `keras.models.load_model` opens it. Keras keeps the `trainable` flag of a layer
that holds its weights itself, and loses it inside of layers and models made of
others: so the embeddings enter one by one, and stay frozen in a loaded model. The
flags of transformer layers (`freeze_layers`) are lost when a model is loaded.
"""

import hashlib
import json

import keras
import keras_hub
import numpy as np

from reviewbeam.components.common.encoder_directory import Architecture
from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.common.train_config import ModelConfig
from reviewbeam.components.trainer.custom import load_pooling
from reviewbeam.components.trainer.heads import (
    LOGITS,
    head_kind,
    head_logits,
    probabilities,
)
from reviewbeam.components.trainer.lora import add_lora

TOKEN_IDS = "token_ids"
PADDING_MASK = "padding_mask"


def load_backbone(encoder: str, config: ModelConfig, dtype: str = "float32"):
    """Loads the pretrained encoder of a Hugging Face directory.

    Args:
      encoder: the directory.
      config: its dropout.
      dtype: a Keras dtype policy.

    Returns:
      A KerasHub `XLMRobertaBackbone`.
    """
    return keras_hub.models.XLMRobertaBackbone.from_preset(
        encoder, dropout=config.encoder_dropout, dtype=dtype
    )


def empty_backbone(architecture: Architecture, config: ModelConfig):
    """Builds a float32 encoder of the same sizes, whose weights are to be filled in."""
    return keras_hub.models.XLMRobertaBackbone(
        vocabulary_size=architecture.vocabulary,
        num_layers=architecture.layers,
        num_heads=architecture.heads,
        hidden_dim=architecture.hidden,
        intermediate_dim=architecture.ffn,
        max_sequence_length=architecture.positions,
        dropout=config.encoder_dropout,
        dtype="float32",
    )


def build_classifier(
    backbone: keras.Model, labels: LabelRules, config: ModelConfig
) -> keras.Model:
    """Builds the classifier on top of an encoder, whose layers it takes over.

    Args:
      backbone: a KerasHub `XLMRobertaBackbone`.
      labels: the classes.
      config: pooling, hidden layer, dropout, what is frozen, low-rank adaptation.

    Returns:
      A model from token_ids and padding_mask, int32 [batch, length], to the
      probabilities, float32 [batch, classes]: those of the negative and the positive
      class where there are two, of each label by itself where there may be several.

    Raises:
      UserError: a pooling of the user's own can't be had.
    """
    # === Layers ===
    embeddings = backbone.embeddings
    kind = head_kind(labels, config)
    dropout = keras.layers.Dropout
    _freeze(backbone, config)
    if config.lora:
        add_lora(backbone.transformer_layers, config)

    # === Functional Model ===
    token_ids = keras.Input((None,), dtype="int32", name=TOKEN_IDS)
    padding_mask = keras.Input((None,), dtype="int32", name=PADDING_MASK)
    tokens = embeddings.token_embedding(token_ids)
    hidden = tokens + embeddings.position_embedding(tokens)
    hidden = backbone.embeddings_layer_norm(hidden)
    hidden = dropout(
        config.embedding_dropout, name="embeddings_dropout", dtype=backbone.dtype_policy
    )(hidden)
    for layer in backbone.transformer_layers:
        hidden = layer(hidden, padding_mask=padding_mask)
    if hidden.dtype != "float32":  # a mean of many in 16 bits is too rough
        hidden = keras.ops.cast(hidden, "float32")
    pooled = pool(hidden, padding_mask, config.pooling)
    pooled = dropout(config.dropout, name="pooled_dropout", dtype="float32")(pooled)
    if config.hidden_units:
        pooled = keras.layers.Dense(
            config.hidden_units,
            activation="tanh",
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype="float32",
            name="hidden",
        )(pooled)
        pooled = dropout(config.hidden_dropout, name="hidden_dropout", dtype="float32")(
            pooled
        )
    logits = head_logits(pooled, kind, len(labels.names))
    return keras.Model(
        {TOKEN_IDS: token_ids, PADDING_MASK: padding_mask},
        probabilities(logits, kind),
        name="review_classifier",
    )


def logits_model(classifier: keras.Model) -> keras.Model:
    """Returns the same layers up to the logits, which losses are computed from."""
    return keras.Model(classifier.input, classifier.get_layer(LOGITS).output)


def weights_sha256(classifier: keras.Model) -> str:
    """Hashes shapes and bytes of the weights, in the model's order."""
    digest = hashlib.sha256()
    for variable in classifier.weights:
        value = np.ascontiguousarray(variable.numpy())
        description = [list(value.shape), value.dtype.str]
        digest.update(json.dumps(description).encode())
        digest.update(value.data)
    return digest.hexdigest()


def pool(hidden, padding_mask, pooling: str):
    """Pools hidden states [batch, length, width] to [batch, width]."""
    if pooling == "cls":
        return hidden[:, 0, :]
    if pooling == "mean":
        return masked_mean(hidden, padding_mask)
    if pooling == "max":
        mask = keras.ops.cast(padding_mask, hidden.dtype)[:, :, None]
        return keras.ops.max(hidden - (1 - mask) * 1e9, axis=1)
    return load_pooling(pooling)(hidden, padding_mask)


def masked_mean(hidden, padding_mask):
    """Averages [batch, length, width] over the real tokens, to [batch, width]."""
    mask = keras.ops.cast(padding_mask, hidden.dtype)[:, :, None]
    total = keras.ops.sum(hidden * mask, axis=1)
    return total / keras.ops.maximum(keras.ops.sum(mask, axis=1), 1)


def _freeze(backbone: keras.Model, config: ModelConfig) -> None:
    # A layer is only spared its gradient if all below it are: the gradient ends at
    # the first trainable layer. So the embeddings are frozen as a block (tokens,
    # positions, their norm), also under frozen layers.
    train_embeddings = not config.freeze_embeddings
    backbone.embeddings.trainable = train_embeddings
    backbone.embeddings_layer_norm.trainable = train_embeddings
    frozen = config.frozen_layers(len(backbone.transformer_layers))
    for index, layer in enumerate(backbone.transformer_layers):
        layer.trainable = index >= frozen
