"""The classifier: an XLM-R encoder, a pooling and one dense layer.

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

from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.common.train_config import ModelConfig

TOKEN_IDS = "token_ids"
PADDING_MASK = "padding_mask"
LOGITS = "logits"


def load_backbone(encoder: str, config: ModelConfig) -> keras.Model:
    """Loads the pretrained encoder of a Hugging Face directory."""
    return keras_hub.models.XLMRobertaBackbone.from_preset(
        encoder, dropout=config.encoder_dropout
    )


def build_classifier(
    backbone: keras.Model, labels: LabelRules, config: ModelConfig
) -> keras.Model:
    """Builds the classifier on top of an encoder, whose layers it takes over.

    Args:
      backbone: a KerasHub `XLMRobertaBackbone`.
      labels: the classes.
      config: pooling, dropout and what is frozen.

    Returns:
      A model from token_ids and padding_mask, int32 [batch, length], to the
      probabilities, float32 [batch, classes]. A binary classifier has a single
      logit; its probabilities are those of the negative and the positive class.

    """
    # === Layers ===
    embeddings = backbone.embeddings
    dropout = keras.layers.Dropout(config.dropout, name="pooled_dropout")
    dense = keras.layers.Dense(
        1 if labels.type == "binary" else len(labels.names),
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        dtype="float32",
        name=LOGITS,
    )

    _freeze(backbone, config)

    # === Functional Model ===
    token_ids = keras.Input((None,), dtype="int32", name=TOKEN_IDS)
    padding_mask = keras.Input((None,), dtype="int32", name=PADDING_MASK)
    tokens = embeddings.token_embedding(token_ids)
    hidden = tokens + embeddings.position_embedding(tokens)
    hidden = backbone.embeddings_layer_norm(hidden)
    hidden = backbone.embeddings_dropout(hidden)
    for layer in backbone.transformer_layers:
        hidden = layer(hidden, padding_mask=padding_mask)
    if config.pooling == "cls":
        pooled = hidden[:, 0, :]
    else:
        pooled = masked_mean(hidden, padding_mask)
    logits = dense(dropout(pooled))
    if labels.type == "binary":
        # The sigmoid of -x, and not 1 - sigmoid(x), keeps small probabilities exact.
        probabilities = keras.ops.concatenate(
            [keras.ops.sigmoid(-logits), keras.ops.sigmoid(logits)], axis=-1
        )
    else:
        probabilities = keras.ops.softmax(logits, axis=-1)
    return keras.Model(
        {TOKEN_IDS: token_ids, PADDING_MASK: padding_mask},
        probabilities,
        name="review_classifier",
    )


def logits_model(classifier: keras.Model) -> keras.Model:
    """Returns the same layers up to the logits, which losses are computed from."""
    return keras.Model(classifier.input, classifier.get_layer(LOGITS).output)


def weights_sha256(classifier: keras.Model) -> str:
    """Hashes names, shapes and bytes of the weights, in the model's order."""
    digest = hashlib.sha256()
    for variable in classifier.weights:
        value = np.ascontiguousarray(variable.numpy())
        description = [variable.path, list(value.shape), value.dtype.str]
        digest.update(json.dumps(description).encode())
        digest.update(value.data)
    return digest.hexdigest()


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
