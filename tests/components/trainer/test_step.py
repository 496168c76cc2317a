import keras
import numpy as np
import pytest
import tensorflow as tf

from reviewbeam.components.trainer.step import (
    cross_entropy,
    make_predict_step,
    make_train_step,
)

WEIGHTS = np.array([0.5, 2.0, 1.0], np.float32)


def bag_of_words(outputs, seed=0):
    """The logits are the mean of the rows of a table: gradients are easy to tell."""
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    padding_mask = keras.Input((None,), dtype="int32", name="padding_mask")
    table = keras.layers.Embedding(12, outputs, name="table")
    mask = keras.ops.cast(padding_mask, "float32")[:, :, None]
    total = keras.ops.sum(table(token_ids) * mask, axis=1)
    inputs = {"token_ids": token_ids, "padding_mask": padding_mask}
    model = keras.Model(inputs, total / keras.ops.sum(mask, axis=1))
    values = np.random.default_rng(seed).normal(size=(12, outputs))
    table.embeddings.assign(values)
    return model, values


TOKEN_IDS = np.array([[0, 5, 6, 2], [0, 7, 2, 1], [0, 2, 1, 1]], np.int32)
TEXTS = ([0, 5, 6, 2], [0, 7, 2], [0, 2])
LABELS = np.array([2, 0, 1], np.int32)


def softmax(logits):
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def expected_step(values, weights):
    """Loss and gradient of the table, by hand."""
    features = np.zeros((3, 12))
    for row, text in enumerate(TEXTS):
        for token in text:
            features[row, token] += 1 / len(text)
    logits = features @ values
    row_weights = weights[LABELS] / 3  # three rows in the batch
    if values.shape[1] == 1:
        probabilities = 1 / (1 + np.exp(-logits[:, 0]))
        labels = LABELS.astype(float)
        losses = -np.log(np.where(labels == 1, probabilities, 1 - probabilities))
        difference = (probabilities - labels)[:, None]
    else:
        probabilities = softmax(logits)
        losses = -np.log(probabilities[np.arange(3), LABELS])
        difference = probabilities - np.eye(values.shape[1])[LABELS]
    gradient = features.T @ (row_weights[:, None] * difference)
    return (row_weights * losses).sum(), gradient


@pytest.mark.parametrize("outputs", [3, 1])
def test_loss_and_gradient_by_hand(outputs, monkeypatch):
    if outputs == 1:
        monkeypatch.setattr(f"{__name__}.LABELS", np.array([1, 0, 1], np.int32))
    model, values = bag_of_words(outputs)
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build(model.trainable_variables)
    step = make_train_step(tf.distribute.get_strategy(), model, optimizer, WEIGHTS)
    loss = step(TOKEN_IDS, LABELS)
    expected_loss, expected_gradient = expected_step(values, WEIGHTS)
    assert float(loss) == pytest.approx(expected_loss, rel=1e-5)
    moved = values - model.get_layer("table").embeddings.numpy()
    np.testing.assert_allclose(moved, expected_gradient, atol=1e-6)


def test_a_token_that_comes_twice_counts_once_in_the_gradients_norm():
    model, values = bag_of_words(3)
    optimizer = keras.optimizers.SGD(1.0, global_clipnorm=0.01)
    optimizer.build(model.trainable_variables)
    step = make_train_step(tf.distribute.get_strategy(), model, optimizer, WEIGHTS)
    step(TOKEN_IDS, LABELS)
    _, gradient = expected_step(values, WEIGHTS)
    moved = values - model.get_layer("table").embeddings.numpy()
    expected = gradient * 0.01 / np.linalg.norm(gradient)
    np.testing.assert_allclose(moved, expected, atol=1e-6)


def test_cross_entropy_of_large_logits_is_finite():
    losses = cross_entropy(tf.constant([1, 0]), tf.constant([[-200.0], [-200.0]]))
    np.testing.assert_allclose(losses, [200, 0], atol=1e-4)
    losses = cross_entropy(tf.constant([0, 1]), tf.constant([[-300.0, 0], [0, 300.0]]))
    np.testing.assert_allclose(losses, [300, 0], atol=1e-4)


def test_dropout_acts_in_training_and_not_in_prediction():
    model, _ = bag_of_words(3)
    dropout = keras.layers.Dropout(0.5, seed=1)
    model = keras.Model(model.input, dropout(model.output))
    optimizer = keras.optimizers.SGD(0.0)
    optimizer.build(model.trainable_variables)
    strategy = tf.distribute.get_strategy()
    step = make_train_step(strategy, model, optimizer, WEIGHTS)
    losses = {float(step(TOKEN_IDS, LABELS)) for _ in range(5)}
    assert len(losses) > 1
    predict = make_predict_step(strategy, model)
    np.testing.assert_array_equal(predict(TOKEN_IDS), predict(TOKEN_IDS))


def test_batches_of_any_shape_share_one_graph():
    model, _ = bag_of_words(3)
    optimizer = keras.optimizers.SGD(0.0)
    optimizer.build(model.trainable_variables)
    step = make_train_step(tf.distribute.get_strategy(), model, optimizer, WEIGHTS)
    step(TOKEN_IDS, LABELS)
    step(TOKEN_IDS[:1, :3], LABELS[:1])
    assert step.experimental_get_tracing_count() == 1


def test_prediction_is_the_models():
    model, _ = bag_of_words(3)
    predict = make_predict_step(tf.distribute.get_strategy(), model)
    mask = (TOKEN_IDS != 1).astype(np.int32)
    expected = model({"token_ids": TOKEN_IDS, "padding_mask": mask})
    np.testing.assert_allclose(predict(TOKEN_IDS), expected, atol=1e-6)
