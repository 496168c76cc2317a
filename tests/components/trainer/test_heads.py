import hypothesis
import hypothesis.strategies as st
import keras
import numpy as np
import pytest
from hypothesis.extra import numpy as hnp

from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.common.train_config import ModelConfig
from reviewbeam.components.trainer.heads import (
    head_kind,
    head_logits,
    initialise_thresholds,
    log_probabilities,
    probabilities,
)


def ordinal_model(classes, width=3):
    keras.utils.set_random_seed(1)
    pooled = keras.Input((width,))
    logits = head_logits(pooled, "cumulative", classes)
    return keras.Model(pooled, logits)


def test_each_type_of_labels_has_its_head():
    def kind(label_type, **model):
        labels = LabelRules(type=label_type, names=("a", "b"))
        return head_kind(labels, ModelConfig(**model))

    assert kind("binary") == "sigmoid"
    assert kind("multiclass") == kind("ordinal", ordinal_head="softmax") == "softmax"
    assert kind("multilabel") == "sigmoids"
    assert kind("ordinal") == "cumulative"


@hypothesis.given(
    hnp.arrays(np.float32, (4, 3), elements=st.floats(-50, 50, width=32)),
    hnp.arrays(np.float32, (1, 4), elements=st.floats(-3, 3, width=32)),
)
@hypothesis.settings(deadline=None, max_examples=50)
def test_thresholds_are_in_order_whatever_is_learned(pooled, raw):
    model = ordinal_model(5)
    model.get_layer("thresholds").kernel.assign(raw)
    logits = model(pooled).numpy()
    assert logits.shape == (4, 4)
    assert (np.diff(logits, axis=1) <= 0).all()
    found = probabilities(logits, "cumulative")
    assert np.isfinite(found).all()
    np.testing.assert_allclose(np.sum(found, axis=1), 1, atol=1e-5)


def test_cumulative_probabilities_by_hand():
    logits = np.array([[2.0, 0.5, -1.0], [30.0, 20.0, -20.0]])
    above = 1 / (1 + np.exp(-logits))
    edges = np.concatenate([np.ones((2, 1)), above, np.zeros((2, 1))], axis=1)
    expected = edges[:, :-1] - edges[:, 1:]
    found = probabilities(logits.astype(np.float32), "cumulative")
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # Exact where the difference of two sigmoids in float32 would be 0.
    logs = log_probabilities(logits.astype(np.float32), "cumulative")
    np.testing.assert_allclose(logs[1, 0], -30, rtol=1e-4)
    np.testing.assert_allclose(logs[1, 1], -20, rtol=1e-4)


def test_a_new_scale_says_what_the_counts_say():
    model = ordinal_model(4)
    initialise_thresholds(model, np.array([10, 20, 0, 69]))
    logits = model(np.zeros((1, 3), np.float32)).numpy()
    found = probabilities(logits, "cumulative")
    np.testing.assert_allclose(found, [[0.1, 0.2, 0.01, 0.69]], atol=1e-3)


@pytest.mark.parametrize("kind", ["sigmoid", "softmax", "cumulative"])
def test_logarithms_are_those_of_the_probabilities(kind):
    width = 1 if kind == "sigmoid" else 3
    logits = -np.sort(-np.random.default_rng(0).normal(size=(6, width)), axis=1)
    logits = logits.astype(np.float32)
    found = log_probabilities(logits, kind)
    np.testing.assert_allclose(found, np.log(probabilities(logits, kind)), atol=1e-5)


def test_labels_are_independent():
    logits = np.array([[0.0, 3.0, -2.0]], np.float32)
    expected = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(probabilities(logits, "sigmoids"), expected, rtol=1e-6)
