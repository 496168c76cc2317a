import keras
import numpy as np
import pytest
import tensorflow as tf

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.train_config import LossConfig
from reviewbeam.components.trainer.heads import probabilities
from reviewbeam.components.trainer.losses import keras_loss, row_losses

ONES = np.ones(4, np.float32)
LABELS = np.array([0, 3, 1, 2, 2], np.int32)
MANY = np.random.default_rng(3).integers(0, 2, (5, 4)).astype(np.float32)
LOSSES = {
    "plain": {},
    "smoothed": {"label_smoothing": 0.2},
    "focal": {"name": "focal", "focal_gamma": 1.5},
}


def logits_of(kind, classes=4):
    width = {"sigmoid": 1, "cumulative": classes - 1}.get(kind, classes)
    logits = np.random.default_rng(1).normal(scale=2, size=(5, width))
    if kind == "cumulative":
        logits = -np.sort(-logits, axis=1)
    return logits.astype(np.float32)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", ["sigmoid", "softmax", "cumulative", "sigmoids"])
def test_a_loss_on_logits_is_keras_s_on_probabilities(kind, loss):
    config = LossConfig(**LOSSES[loss])
    logits = logits_of(kind)
    classes = 2 if kind == "sigmoid" else 4
    labels = MANY if kind == "sigmoids" else LABELS % classes
    found = row_losses(config, kind, ONES[:classes])(tf.constant(labels), logits)
    targets = labels
    if kind != "sigmoids" and loss != "plain":  # as the docstring says
        targets = np.eye(classes, dtype=np.float32)[labels]
    expected = keras_loss(config, kind).call(targets, probabilities(logits, kind))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_a_row_counts_as_its_class_says():
    weights = np.array([0.5, 2, 3, 0], np.float32)
    logits = logits_of("softmax")
    plain = row_losses(LossConfig(), "softmax", ONES)(LABELS, logits)
    found = row_losses(LossConfig(), "softmax", weights)(LABELS, logits)
    np.testing.assert_allclose(found, plain * weights[LABELS], rtol=1e-6)


def test_of_several_labels_those_that_are_there_are_weighted():
    weights = np.array([0.5, 2, 3, 1], np.float32)
    logits = logits_of("sigmoids").astype(np.float64)
    share = 1 / (1 + np.exp(-logits))
    losses = -weights * MANY * np.log(share) - (1 - MANY) * np.log(1 - share)
    found = row_losses(LossConfig(), "sigmoids", weights)(
        tf.constant(MANY), logits.astype(np.float32)
    )
    np.testing.assert_allclose(found, losses.mean(axis=1), rtol=1e-5)


def test_losses_of_large_logits_are_finite():
    loss = row_losses(LossConfig(), "sigmoid", ONES)
    found = loss(tf.constant([1, 0]), tf.constant([[-200.0], [-200.0]]))
    np.testing.assert_allclose(found, [200, 0], atol=1e-4)
    loss = row_losses(LossConfig(), "softmax", ONES)
    found = loss(tf.constant([0, 1]), tf.constant([[-300.0, 0], [0, 300.0]]))
    np.testing.assert_allclose(found, [300, 0], atol=1e-4)
    loss = row_losses(LossConfig(), "sigmoids", ONES[:2])
    found = loss(tf.constant([[0.0, 1.0]]), tf.constant([[200.0, -100.0]]))
    np.testing.assert_allclose(found, [150], atol=1e-4)


@keras.saving.register_keras_serializable("tests")
class Squared(keras.losses.Loss):
    """The squared distance from the label's probability to 1."""

    def call(self, labels, found):
        own = keras.ops.take_along_axis(found, labels[:, None], axis=1)
        return (1 - own) ** 2  # [rows, 1]: the mean over what follows the rows


@keras.saving.register_keras_serializable("tests")
def absolute(labels, found):
    """A loss that is a function."""
    own = keras.ops.take_along_axis(found, labels[:, None], axis=1)
    return 1 - own[:, 0]


@pytest.mark.parametrize(("name", "power"), [("Squared", 2), ("absolute", 1)])
def test_a_loss_of_the_users_own_gets_probabilities(name, power):
    config = LossConfig(name=f"{__name__}:{name}")
    logits = logits_of("softmax")
    shares = np.asarray(keras.ops.softmax(logits))
    weights = np.array([0.5, 2, 3, 1], np.float32)
    expected = weights[LABELS] * (1 - shares[np.arange(5), LABELS]) ** power
    found = row_losses(config, "softmax", weights)(tf.constant(LABELS), logits)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0, 0.5, 2])
def test_a_row_that_is_surely_right_has_a_focal_gradient(gamma):
    loss = row_losses(LossConfig(name="focal", focal_gamma=gamma), "softmax", ONES)
    logits = tf.Variable([[100.0, 0, 0, 0]])
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(loss(tf.constant([0]), logits))
    np.testing.assert_allclose(
        tape.gradient(value, logits), np.zeros((1, 4)), atol=1e-4
    )


@keras.saving.register_keras_serializable("tests")
def summed(labels, found):
    """A loss that forgets its rows."""
    return keras.ops.sum(found)


def test_a_loss_of_one_number_is_refused():
    loss = row_losses(LossConfig(name=f"{__name__}:summed"), "softmax", ONES)
    with pytest.raises(UserError, match="gave one number; a loss for each row"):
        loss(tf.constant(LABELS), logits_of("softmax"))
