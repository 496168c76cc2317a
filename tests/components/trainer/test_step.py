import keras
import numpy as np
import pytest
import tensorflow as tf

from reviewbeam.components.common.train_config import LossConfig
from reviewbeam.components.trainer.input import Batch
from reviewbeam.components.trainer.losses import row_losses
from reviewbeam.components.trainer.step import TrainStep, make_predict_step

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


BATCH = Batch(tf.constant(TOKEN_IDS), tf.constant(LABELS), tf.constant(3))


def make_step(model, optimizer, outputs=3, **options):
    optimizer.build(model.trainable_variables)
    losses = row_losses(LossConfig(), {1: "sigmoid", 3: "softmax"}[outputs], WEIGHTS)
    return TrainStep(tf.distribute.get_strategy(), model, optimizer, losses, **options)


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
    step = make_step(model, keras.optimizers.SGD(1.0), outputs)
    loss = step([BATCH._replace(labels=tf.constant(LABELS))])
    expected_loss, expected_gradient = expected_step(values, WEIGHTS)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    moved = values - model.get_layer("table").embeddings.numpy()
    np.testing.assert_allclose(moved, expected_gradient, atol=1e-6)


def test_a_token_that_comes_twice_counts_once_in_the_gradients_norm():
    model, values = bag_of_words(3)
    step = make_step(model, keras.optimizers.SGD(1.0, global_clipnorm=0.01))
    step([BATCH])
    _, gradient = expected_step(values, WEIGHTS)
    moved = values - model.get_layer("table").embeddings.numpy()
    expected = gradient * 0.01 / np.linalg.norm(gradient)
    np.testing.assert_allclose(moved, expected, atol=1e-6)


def test_rows_that_fill_a_shape_count_nothing():
    token_ids = tf.pad(BATCH.token_ids, [[0, 2], [0, 3]], constant_values=1)
    labels = tf.pad(BATCH.labels, [[0, 2]], constant_values=1)
    model, values = bag_of_words(3)
    step = make_step(model, keras.optimizers.SGD(1.0))
    # A filling row is a copy of a real one; without tokens its mean would be 0 / 0.
    token_ids = tf.tensor_scatter_nd_update(token_ids, [[3], [4]], [token_ids[0]] * 2)
    loss = step([Batch(token_ids, labels, BATCH.rows)])
    expected_loss, expected_gradient = expected_step(values, WEIGHTS)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    moved = values - model.get_layer("table").embeddings.numpy()
    np.testing.assert_allclose(moved, expected_gradient, atol=1e-6)


def small_batches():
    """The rows of BATCH one by one, each with its own padding."""
    return [
        Batch(tf.constant([text]), tf.constant([label]), tf.constant(1))
        for text, label in zip(TEXTS, LABELS, strict=True)
    ]


@pytest.mark.parametrize("float16", [False, True])
def test_accumulated_batches_are_one_large_batch(float16):
    model, values = bag_of_words(3)
    step = make_step(model, keras.optimizers.SGD(1.0), accumulation=3, float16=float16)
    loss = step(small_batches())
    expected_loss, expected_gradient = expected_step(values, WEIGHTS)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    table = model.get_layer("table").embeddings
    np.testing.assert_allclose(values - table.numpy(), expected_gradient, atol=1e-6)
    # The sums begin anew.
    before = table.numpy().astype(np.float64)
    step(small_batches())
    _, expected_gradient = expected_step(before, WEIGHTS)
    np.testing.assert_allclose(before - table.numpy(), expected_gradient, atol=1e-6)


def test_a_step_whose_gradients_overflow_is_left_out_and_the_scale_halved():
    model, values = bag_of_words(3)
    step = make_step(model, keras.optimizers.SGD(1.0), float16=True)
    step.loss_scale = 3e38  # times a gradient of the batch: more than float32 holds
    steep = BATCH._replace(labels=tf.constant(LABELS))
    step._losses = lambda labels, logits: (
        1e3 * row_losses(LossConfig(), "softmax", WEIGHTS)(labels, logits)
    )
    step([steep])
    table = model.get_layer("table").embeddings
    np.testing.assert_allclose(table.numpy(), values, rtol=1e-6)
    assert step.loss_scale == pytest.approx(1.5e38)
    assert (step._optimizer.iterations.numpy(), step.good_steps) == (0, 0)


def test_the_loss_scale_grows_after_many_good_steps(monkeypatch):
    monkeypatch.setattr("reviewbeam.components.trainer.step._STEPS_TO_GROW", 2)
    model, _ = bag_of_words(3)
    step = make_step(model, keras.optimizers.SGD(0.0), float16=True)
    scales = []
    for _ in range(3):
        step([BATCH])
        scales.append(step.loss_scale)
    assert scales == [2.0**15, 2.0**16, 2.0**16]


def test_dropout_acts_in_training_and_not_in_prediction():
    model, _ = bag_of_words(3)
    dropout = keras.layers.Dropout(0.5, seed=1)
    model = keras.Model(model.input, dropout(model.output))
    step = make_step(model, keras.optimizers.SGD(0.0))
    losses = {step([BATCH]) for _ in range(5)}
    assert len(losses) > 1
    predict = make_predict_step(tf.distribute.get_strategy(), model)
    np.testing.assert_array_equal(predict(TOKEN_IDS), predict(TOKEN_IDS))


def test_prediction_is_the_models():
    model, _ = bag_of_words(3)
    predict = make_predict_step(tf.distribute.get_strategy(), model)
    mask = (TOKEN_IDS != 1).astype(np.int32)
    expected = model({"token_ids": TOKEN_IDS, "padding_mask": mask})
    np.testing.assert_allclose(predict(TOKEN_IDS), expected, atol=1e-6)


def test_batches_of_any_shape_share_one_graph():
    model, _ = bag_of_words(3)
    step = make_step(model, keras.optimizers.SGD(0.0))
    step([BATCH])
    for batch in small_batches():
        step([batch])
    assert step._update.experimental_get_tracing_count() == 1
