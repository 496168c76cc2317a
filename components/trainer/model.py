"""The classifier: an XLM-R encoder, a pooling and one dense layer.

It is one flat functional model of layers that keras and keras_hub know, so that
plain `keras.models.load_model` opens it, each layer with its own `trainable` flag
(a backbone nested as a layer would lose the flags inside it).
"""

import hashlib
import json

import keras
import keras_hub
import numpy as np

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.job_configs import LabelRules, ModelConfig

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

    Raises:
      UserError: more layers are to be frozen than there are.
    """
    _freeze(backbone, config)

    # === Layers ===
    dropout = keras.layers.Dropout(config.dropout, name="pooled_dropout")
    dense = keras.layers.Dense(
        1 if labels.type == "binary" else len(labels.names),
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        dtype="float32",
        name=LOGITS,
    )

    # === Functional Model ===
    hidden = backbone.output
    if config.pooling == "cls":
        pooled = hidden[:, 0, :]
    else:
        pooled = _masked_mean(hidden, backbone.input[PADDING_MASK])
    logits = dense(dropout(pooled))
    if labels.type == "binary":
        # The sigmoid of -x, and not 1 - sigmoid(x), keeps small probabilities exact.
        probabilities = keras.ops.concatenate(
            [keras.ops.sigmoid(-logits), keras.ops.sigmoid(logits)], axis=-1
        )
    else:
        probabilities = keras.ops.softmax(logits, axis=-1)
    return keras.Model(backbone.input, probabilities, name="review_classifier")


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


def _masked_mean(hidden, padding_mask):
    """Averages [batch, length, width] over the real tokens, to [batch, width]."""
    mask = keras.ops.cast(padding_mask, hidden.dtype)[:, :, None]
    total = keras.ops.sum(hidden * mask, axis=1)
    return total / keras.ops.maximum(keras.ops.sum(mask, axis=1), 1)


def _freeze(backbone: keras.Model, config: ModelConfig) -> None:
    layers = backbone.transformer_layers
    if config.freeze_layers > len(layers):
        raise UserError(
            f"model.freeze_layers is {config.freeze_layers}, but the encoder has "
            f"{len(layers)} layers."
        )
    # A layer can only be spared its gradient if all below it are: the gradient ends
    # at the first trainable layer. So the embeddings are frozen as a block (tokens,
    # positions, their norm), and with any frozen layer above them.
    frozen_embeddings = config.freeze_embeddings or config.freeze_layers > 0
    backbone.embeddings.trainable = not frozen_embeddings
    backbone.embeddings_layer_norm.trainable = not frozen_embeddings
    for index, layer in enumerate(layers):
        layer.trainable = index >= config.freeze_layers
