import keras
import numpy as np
import pytest

from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.common.train_config import ModelConfig
from reviewbeam.components.trainer.lora import is_factor, merge_lora
from reviewbeam.components.trainer.model import (
    build_classifier,
    load_backbone,
    logits_model,
)

LABELS = LabelRules(type="multiclass", names=("negative", "neutral", "positive"))
TOKEN_IDS = np.array([[0, 5, 6, 7, 2], [0, 8, 9, 2, 1]], np.int32)
INPUTS = {"token_ids": TOKEN_IDS, "padding_mask": (TOKEN_IDS != 1).astype(np.int32)}
ATTENTION = {"query", "value"}
ALL = ATTENTION | {
    "key",
    "attention_output",
    "feedforward_intermediate_dense",
    "feedforward_output_dense",
}


@pytest.fixture(scope="module")
def build(tiny_encoder):
    def make(lora, **model):
        settings = {"freeze_layers": 0, "lora": lora} | model
        config = ModelConfig.model_validate(settings)
        keras.utils.set_random_seed(1)
        backbone = load_backbone(str(tiny_encoder), config)
        return build_classifier(backbone, LABELS, config)

    return make


def adapted(model):
    """(layer, dense) of each pair of factors that is trained."""
    found = {}
    for variable in model.trainable_variables:
        *_, dense, name = variable.path.split("/")
        if is_factor(variable):
            place = (variable.path.split("/")[0], dense)
            found.setdefault(place, set()).add(name)
    assert all(names == {"lora_kernel_a", "lora_kernel_b"} for names in found.values())
    return set(found)


def draw_factors(model):
    random = np.random.default_rng(0)
    for variable in model.weights:
        if is_factor(variable):
            variable.assign(random.normal(0, 0.3, variable.shape))


def logits(model):
    return logits_model(model)(INPUTS).numpy()


@pytest.mark.parametrize(("targets", "dense"), [("attention", ATTENTION), ("all", ALL)])
def test_of_the_layers_only_factors_are_trained(build, targets, dense):
    model = build({"rank": 2, "targets": targets})
    layers = ("transformer_layer_0", "transformer_layer_1")
    assert adapted(model) == {(layer, name) for layer in layers for name in dense}
    others = {v.path for v in model.trainable_variables if not is_factor(v)}
    assert others == {"logits/kernel", "logits/bias"}


def test_frozen_layers_are_not_adapted(build):
    model = build({"rank": 2}, freeze_layers=1)
    assert adapted(model) == {("transformer_layer_1", name) for name in ATTENTION}
    factors = [v.path for v in model.weights if is_factor(v)]
    assert all(path.startswith("transformer_layer_1/") for path in factors)


def test_new_factors_change_nothing(build):
    model, plain = build({"rank": 2, "targets": "all"}), build(None)
    head = plain.get_layer("logits")
    head.set_weights(model.get_layer("logits").get_weights())
    np.testing.assert_allclose(logits(model), logits(plain), atol=1e-6)


@pytest.mark.parametrize(("alpha", "scale"), [(None, 1.0), (6.0, 3.0)])
def test_factors_add_their_product_times_alpha_over_rank(build, alpha, scale):
    model, plain = build({"rank": 2, "alpha": alpha, "targets": "all"}), build(None)
    draw_factors(model)
    values = {v.path: v.numpy() for v in model.weights}
    for variable in plain.weights:
        value = values[variable.path]
        first = variable.path.removesuffix("kernel") + "lora_kernel_a"
        if first in values:
            second = values[first.removesuffix("a") + "b"]
            value = value + scale * np.tensordot(values[first], second, axes=1)
        variable.assign(value)
    before = build(None)
    assert np.abs(logits(before) - logits(model)).max() > 1e-3
    np.testing.assert_allclose(logits(model), logits(plain), atol=1e-5)


@pytest.mark.parametrize("targets", ["attention", "all"])
def test_merged_factors_are_part_of_the_weights(build, targets):
    model = build({"rank": 3, "alpha": 4.0, "targets": targets})
    draw_factors(model)
    expected = logits(model)
    merge_lora(model)
    np.testing.assert_allclose(logits(model), expected, atol=1e-5)
    for dense in ("query", "value"):
        path = f"transformer_layer_0/self_attention_layer/{dense}/lora_kernel_b"
        (factor,) = [v for v in model.weights if v.path == path]
        assert not factor.numpy().any()
    # What is merged is in the plain weights, and again merged changes nothing.
    plain = build(None)
    values = {v.path: v.numpy() for v in model.weights}
    for variable in plain.weights:
        variable.assign(values[variable.path])
    np.testing.assert_allclose(logits(plain), expected, atol=1e-5)
    merge_lora(model)
    np.testing.assert_array_equal(logits(model), logits(plain))


def test_without_factors_there_is_nothing_to_merge(build):
    model = build(None)
    before = [v.numpy() for v in model.weights]
    merge_lora(model)
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert not any(map(is_factor, model.weights))
