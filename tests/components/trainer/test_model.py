import keras
import numpy as np
import pytest

from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.common.train_config import ModelConfig
from reviewbeam.components.trainer.model import (
    build_classifier,
    load_backbone,
    logits_model,
    weights_sha256,
)

THREE = LabelRules(type="multiclass", names=("negative", "neutral", "positive"))
TWO = LabelRules(type="binary", names=("bad", "good"))
TEXTS = ([0, 5, 6, 7, 8, 2], [0, 9, 2], [0, 30, 31, 32, 2])


@pytest.fixture(scope="module")
def build(tiny_encoder):
    def make(labels=THREE, **model):
        config = ModelConfig.model_validate({"freeze_layers": 0} | model)
        keras.utils.set_random_seed(1)
        return build_classifier(
            load_backbone(str(tiny_encoder), config), labels, config
        )

    return make


def padded(texts, length=None):
    length = length or max(map(len, texts))
    token_ids = np.full((len(texts), length), 1, np.int32)
    mask = np.zeros_like(token_ids)
    for row, text in enumerate(texts):
        token_ids[row, : len(text)] = text
        mask[row, : len(text)] = 1
    return {"token_ids": token_ids, "padding_mask": mask}


def pooled(model, inputs):
    layer = keras.Model(model.input, model.get_layer("pooled_dropout").output)
    return layer(inputs).numpy()


def hidden_states(tiny_encoder, inputs):
    return load_backbone(str(tiny_encoder), ModelConfig())(inputs).numpy()


def test_mean_pooling_is_the_mean_of_the_real_tokens(build, tiny_encoder):
    inputs = padded(TEXTS, 9)
    hidden = hidden_states(tiny_encoder, inputs)
    expected = [hidden[row, : len(text)].mean(axis=0) for row, text in enumerate(TEXTS)]
    np.testing.assert_allclose(pooled(build(), inputs), expected, atol=1e-6)


def test_cls_pooling_is_the_first_token(build, tiny_encoder):
    inputs = padded(TEXTS, 9)
    expected = hidden_states(tiny_encoder, inputs)[:, 0]
    np.testing.assert_allclose(
        pooled(build(pooling="cls"), inputs), expected, atol=1e-6
    )


def test_the_dense_layer_and_softmax_give_the_probabilities(build):
    model = build()
    inputs = padded(TEXTS)
    dense = model.get_layer("logits")
    dense.bias.assign([0.1, -0.2, 0.3])
    logits = pooled(model, inputs) @ dense.kernel.numpy() + [0.1, -0.2, 0.3]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model(inputs), expected, atol=1e-6)
    np.testing.assert_allclose(logits_model(model)(inputs), logits, atol=1e-6)


def test_a_binary_model_has_one_logit_and_two_probabilities(build):
    model = build(TWO)
    model.get_layer("logits").bias.assign([0.7])
    inputs = padded(TEXTS)
    logits = logits_model(model)(inputs).numpy()
    assert logits.shape == (3, 1)
    positive = 1 / (1 + np.exp(-logits[:, 0]))
    expected = np.stack([1 - positive, positive], axis=1)
    np.testing.assert_allclose(model(inputs), expected, atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_padding_and_batch_mates_change_nothing(build, pooling):
    model = build(pooling=pooling)
    alone = np.concatenate([model(padded([text])).numpy() for text in TEXTS])
    assert np.ptp(alone, axis=0).max() > 1e-3  # the texts do differ
    for length in (6, 7, 16, 100):
        np.testing.assert_allclose(model(padded(TEXTS, length)), alone, atol=1e-5)
    turned = model(padded(TEXTS[::-1], 40)).numpy()[::-1]
    np.testing.assert_allclose(turned, alone, atol=1e-5)


def trainable_layers(model):
    return sorted(
        {variable.path.split("/")[0] for variable in model.trainable_variables}
    )


def test_frozen_parts_are_not_trainable(build):
    head_and_layers = ["logits", "transformer_layer_0", "transformer_layer_1"]
    assert trainable_layers(build()) == head_and_layers
    assert trainable_layers(build(freeze_embeddings=False)) == [
        "embeddings",
        "embeddings_layer_norm",
        *head_and_layers,
    ]
    upper_half = ["logits", "transformer_layer_1"]
    assert trainable_layers(build(freeze_layers="half")) == upper_half
    assert trainable_layers(build(freeze_layers=1)) == upper_half
    assert trainable_layers(build(freeze_layers=2)) == ["logits"]


def test_embeddings_below_frozen_layers_cannot_be_trained():
    with pytest.raises(ValueError, match="set freeze_layers: 0"):
        ModelConfig(freeze_embeddings=False)


def dropout_rates(model):
    return {
        layer.name: layer.rate
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Dropout)
    }


def test_dropout_is_as_configured(build):
    rates = dropout_rates(build(dropout=0.3, encoder_dropout=0.2))
    assert rates.pop("pooled_dropout") == 0.3
    assert set(rates.values()) == {0.2}
    assert {"embeddings_dropout", "self_attention_dropout"} <= set(rates)


def test_weights_hash_is_of_names_shapes_and_values(build):
    model, again = build(), build()
    assert weights_sha256(model) == weights_sha256(again)
    bias = again.get_layer("logits").bias
    bias.assign(bias + 1e-7)
    assert weights_sha256(model) != weights_sha256(again)


def test_no_name_of_a_weight_depends_on_what_was_built_before(build):
    paths = [variable.path for variable in build().weights]
    assert paths == [variable.path for variable in build().weights]
    assert len(set(paths)) == len(paths)
