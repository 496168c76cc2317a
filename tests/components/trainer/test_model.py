import keras
import numpy as np
import pytest

from reviewbeam.components.common.encoder_directory import open_encoder
from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.common.train_config import ModelConfig
from reviewbeam.components.trainer.model import (
    build_classifier,
    empty_backbone,
    load_backbone,
    logits_model,
    weights_sha256,
)

THREE = LabelRules(type="multiclass", names=("negative", "neutral", "positive"))
FIVE = LabelRules(type="ordinal", names=("1", "2", "3", "4", "5"))
MANY = LabelRules(type="multilabel", names=("price", "quality", "delivery"))
TWO = LabelRules(type="binary", names=("bad", "good"))
TEXTS = ([0, 5, 6, 7, 8, 2], [0, 9, 2], [0, 30, 31, 32, 2])


@pytest.fixture(scope="module")
def build(tiny_encoder):
    def make(labels=THREE, dtype="float32", **model):
        config = ModelConfig.model_validate({"freeze_layers": 0} | model)
        keras.utils.set_random_seed(1)
        return build_classifier(
            load_backbone(str(tiny_encoder), config, dtype), labels, config
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


def test_max_pooling_is_the_maximum_of_the_real_tokens(build, tiny_encoder):
    inputs = padded(TEXTS, 9)
    hidden = hidden_states(tiny_encoder, inputs)
    expected = [hidden[row, : len(text)].max(axis=0) for row, text in enumerate(TEXTS)]
    # Of hidden states around 0, a padding of zeros would win against negative ones.
    assert np.min(expected) < 0
    np.testing.assert_allclose(
        pooled(build(pooling="max"), inputs), expected, atol=1e-6
    )


@keras.saving.register_keras_serializable("tests-pooling")
class FirstAndSum(keras.layers.Layer):
    """The first token, and the sum of the real ones: twice the encoder's width."""

    def call(self, hidden, padding_mask):
        mask = keras.ops.cast(padding_mask, hidden.dtype)[:, :, None]
        total = keras.ops.sum(hidden * mask, axis=1)
        return keras.ops.concatenate([hidden[:, 0], total], axis=1)


@keras.saving.register_keras_serializable("tests-pooling")
def first_and_sum(hidden, padding_mask):
    """The same as a function of `keras.ops`."""
    return FirstAndSum.call(None, hidden, padding_mask)


@pytest.mark.parametrize("name", ["FirstAndSum", "first_and_sum"])
def test_a_pooling_of_the_user_s_own(build, tiny_encoder, name):
    inputs = padded(TEXTS, 9)
    hidden = hidden_states(tiny_encoder, inputs)
    expected = [
        np.concatenate([hidden[row, 0], hidden[row, : len(text)].sum(axis=0)])
        for row, text in enumerate(TEXTS)
    ]
    model = build(pooling=f"{__name__}:{name}")
    np.testing.assert_allclose(pooled(model, inputs), expected, atol=1e-5)
    assert model(inputs).shape == (3, 3)


def test_the_dense_layer_and_softmax_give_the_probabilities(build):
    model = build()
    inputs = padded(TEXTS)
    dense = model.get_layer("logits")
    dense.bias.assign([0.1, -0.2, 0.3])
    logits = pooled(model, inputs) @ dense.kernel.numpy() + [0.1, -0.2, 0.3]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model(inputs), expected, atol=1e-6)
    np.testing.assert_allclose(logits_model(model)(inputs), logits, atol=1e-6)


def test_a_hidden_layer_stands_before_the_last(build):
    model = build(hidden_units=5)
    inputs = padded(TEXTS)
    hidden, dense = model.get_layer("hidden"), model.get_layer("logits")
    assert (hidden.kernel.shape, dense.kernel.shape) == ((16, 5), (5, 3))
    hidden.bias.assign(np.linspace(-1, 1, 5))
    inner = np.tanh(pooled(model, inputs) @ hidden.kernel + hidden.bias)
    logits = inner @ dense.kernel + dense.bias
    np.testing.assert_allclose(logits_model(model)(inputs), logits, atol=1e-5)


@pytest.mark.parametrize("hidden_units", [None, 5])
def test_an_ordinal_model_has_one_scale_for_all_thresholds(build, hidden_units):
    model = build(FIVE, hidden_units=hidden_units)
    inputs = padded(TEXTS)
    logits = logits_model(model)(inputs).numpy()
    assert logits.shape == (3, 4)
    # Moved along the scale, and nothing else.
    np.testing.assert_allclose(
        logits - logits[:1], logits[:, :1] - logits[0, 0] + 0 * logits, atol=1e-5
    )
    found = model(inputs).numpy()
    assert found.shape == (3, 5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    softmax = build(FIVE, ordinal_head="softmax")
    assert softmax.get_layer("logits").kernel.shape == (16, 5)


def test_labels_of_a_multilabel_model_are_independent(build):
    model = build(MANY)
    model.get_layer("logits").bias.assign([2.0, -1.0, 0.5])
    inputs = padded(TEXTS)
    logits = logits_model(model)(inputs).numpy()
    np.testing.assert_allclose(model(inputs), 1 / (1 + np.exp(-logits)), atol=1e-6)
    assert model(inputs).numpy().sum(axis=1).max() > 1.1


def test_a_binary_model_has_one_logit_and_two_probabilities(build):
    model = build(TWO)
    model.get_layer("logits").bias.assign([0.7])
    inputs = padded(TEXTS)
    logits = logits_model(model)(inputs).numpy()
    assert logits.shape == (3, 1)
    positive = 1 / (1 + np.exp(-logits[:, 0]))
    expected = np.stack([1 - positive, positive], axis=1)
    np.testing.assert_allclose(model(inputs), expected, atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "max", "cls", f"{__name__}:FirstAndSum"])
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


def test_dropout_of_each_place_is_as_configured(build):
    rates = dropout_rates(
        build(
            embedding_dropout=0.05,
            encoder_dropout=0.2,
            dropout=0.3,
            hidden_units=4,
            hidden_dropout=0.4,
        )
    )
    assert rates.pop("embeddings_dropout") == 0.05
    assert rates.pop("pooled_dropout") == 0.3
    assert rates.pop("hidden_dropout") == 0.4
    assert set(rates.values()) == {0.2}
    assert "self_attention_dropout" in rates


def test_dropout_acts_at_its_place(build):
    inputs = padded(TEXTS)
    places = ("embedding_dropout", "encoder_dropout", "dropout", "hidden_dropout")
    off = dict.fromkeys(places, 0.0) | {"hidden_units": 4}
    still = build(**off)
    np.testing.assert_array_equal(still(inputs, training=True), still(inputs))
    for place in places:
        model = build(**off | {place: 0.5})
        model.set_weights(still.get_weights())
        found = model(inputs, training=True)
        assert np.abs(found - still(inputs)).max() > 1e-5, place
        np.testing.assert_array_equal(model(inputs), still(inputs))


def test_an_empty_backbone_takes_the_weights_of_the_loaded_one(build, tiny_encoder):
    inputs = padded(TEXTS)
    architecture = open_encoder(str(tiny_encoder)).architecture
    config = ModelConfig(freeze_layers=0, embedding_dropout=0.2, encoder_dropout=0.3)
    full = build(embedding_dropout=0.2, encoder_dropout=0.3)
    empty = build_classifier(empty_backbone(architecture, config), THREE, config)
    shapes = [[(v.path, v.shape) for v in model.weights] for model in (full, empty)]
    assert shapes[0] == shapes[1]
    rates = [sorted(dropout_rates(model).values()) for model in (full, empty)]
    assert rates[0] == rates[1] == [0.1, 0.2, 0.3, 0.3, 0.3, 0.3]
    assert (full(inputs) != empty(inputs)).numpy().any()
    for target, source in zip(empty.weights, full.weights, strict=True):
        target.assign(source)
    np.testing.assert_allclose(full(inputs), empty(inputs), atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "max", "cls", f"{__name__}:first_and_sum"])
def test_what_is_pooled_is_float32_whatever_the_encoder_computes_in(build, pooling):
    model = build(dtype="mixed_bfloat16", pooling=pooling, hidden_units=4)
    assert model.get_layer("transformer_layer_1").compute_dtype == "bfloat16"
    assert model.get_layer("embeddings_dropout").compute_dtype == "bfloat16"
    for name in ("pooled_dropout", "hidden", "hidden_dropout", "logits"):
        layer = model.get_layer(name)
        assert layer.compute_dtype == layer.output.dtype == "float32"
        assert layer.input.dtype == "float32"
    assert {variable.dtype for variable in model.weights} == {"float32"}
    exact = build(pooling=pooling, hidden_units=4)
    inputs = padded(TEXTS)
    assert model(inputs).dtype == "float32"
    np.testing.assert_allclose(model(inputs), exact(inputs), atol=0.02)


def test_a_mean_of_many_tokens_is_taken_in_float32(build):
    model = build(dtype="mixed_bfloat16")
    inputs = padded([[0, *range(5, 105), 2]])
    # The layer stands in two graphs: the backbone's, and this one.
    layer = model.get_layer("transformer_layer_1")
    states = keras.Model(model.input, layer._inbound_nodes[-1].outputs[0])(inputs)
    assert states.dtype == "bfloat16"
    expected = states.numpy().astype(np.float32).mean(axis=1)
    np.testing.assert_allclose(pooled(model, inputs), expected, atol=1e-5)


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
