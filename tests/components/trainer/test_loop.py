import keras
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from reviewbeam.components.common.train_config import TrainingConfig
from reviewbeam.components.trainer.batches import plan_batches
from reviewbeam.components.trainer.display import TrainingDisplay
from reviewbeam.components.trainer.input import Split
from reviewbeam.components.trainer.loop import fit, predict_split
from reviewbeam.components.trainer.metrics import validation_metrics
from reviewbeam.components.trainer.optimizer import learning_rates
from reviewbeam.components.trainer.step import make_predict_step
from tests.components.trainer.datasets import make_rows

WIDTH = 4
CLASS_WEIGHTS = np.array([0.5, 1.5, 2.0], np.float32)


def split_of(rows):
    lengths = [len(token_ids) for token_ids, _ in rows]
    return Split(
        token_ids=np.concatenate([token_ids for token_ids, _ in rows]).astype(np.int32),
        row_splits=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=np.array([label for _, label in rows], np.int32),
        ids=pa.chunked_array([pa.array([b"x"] * len(rows), pa.large_binary())]),
    )


@pytest.fixture
def classifier():
    """A logistic regression on the mean of fixed embeddings."""
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    padding_mask = keras.Input((None,), dtype="int32", name="padding_mask")
    table = keras.layers.Embedding(110, WIDTH, trainable=False, name="table")
    mask = keras.ops.cast(padding_mask, "float32")[:, :, None]
    total = keras.ops.sum(table(token_ids) * mask, axis=1)
    mean = total / keras.ops.sum(mask, axis=1)
    logits = keras.layers.Dense(3, kernel_initializer="zeros", name="logits")(mean)
    table.embeddings.assign(np.random.default_rng(0).normal(size=(110, WIDTH)))
    inputs = {"token_ids": token_ids, "padding_mask": padding_mask}
    return keras.Model(inputs, keras.ops.softmax(logits))


def features(classifier, split):
    table = classifier.get_layer("table").embeddings.numpy().astype(np.float64)
    return np.stack(
        [
            table[split.token_ids[start:end]].mean(axis=0)
            for start, end in zip(
                split.row_splits[:-1], split.row_splits[1:], strict=True
            )
        ]
    )


def test_training_is_the_gradient_descent_that_the_config_says(classifier):
    train, validation = split_of(make_rows(90, seed=1)), split_of(make_rows(9, seed=2))
    config = TrainingConfig(
        epochs=3,
        batch_tokens=100,
        learning_rate=0.5,
        warmup_fraction=0.3,
        seed=11,
        early_stopping_metric="none",
    )
    optimizer = keras.optimizers.SGD()
    optimizer.build(classifier.trainable_variables)
    strategy = tf.distribute.get_strategy()
    display = TrainingDisplay(quiet=True)
    outcome = fit(
        strategy,
        classifier,
        optimizer,
        config,
        CLASS_WEIGHTS,
        train,
        validation,
        display,
    )

    inputs = features(classifier, train)
    kernel, bias = np.zeros((WIDTH, 3)), np.zeros(3)
    plans = [
        plan_batches(train.lengths, 100, seed=11, epoch=epoch) for epoch in range(3)
    ]
    rates = iter(learning_rates(sum(map(len, plans)), 0.5, 0.3))
    losses = []
    for plan in plans:
        losses.append(0.0)
        for rows in map(plan.batch, range(len(plan))):
            logits = inputs[rows] @ kernel + bias
            probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            labels = train.labels[rows]
            own = probabilities[np.arange(len(rows)), labels]
            losses[-1] += (CLASS_WEIGHTS[labels] * -np.log(own)).sum() / len(train)
            weights = CLASS_WEIGHTS[labels][:, None] / len(rows)
            difference = weights * (probabilities - np.eye(3)[labels])
            rate = next(rates)
            kernel -= rate * inputs[rows].T @ difference
            bias -= rate * difference.sum(axis=0)

    layer = classifier.get_layer("logits")
    np.testing.assert_allclose(layer.kernel, kernel, atol=1e-5)
    np.testing.assert_allclose(layer.bias, bias, atol=1e-5)
    found = [epoch["training"]["loss"] for epoch in outcome.history]
    np.testing.assert_allclose(found, losses, rtol=1e-5)
    assert [epoch["steps"] for epoch in outcome.history] == np.cumsum(
        [len(plan) for plan in plans]
    ).tolist()
    logits = features(classifier, validation) @ kernel + bias
    expected = validation_metrics(logits, validation.labels, CLASS_WEIGHTS)
    assert outcome.best_epoch == 3  # without early stopping, the last
    assert outcome.metrics.loss == pytest.approx(expected.loss, rel=1e-5)
    assert outcome.metrics.accuracy == expected.accuracy


def test_predictions_come_in_the_order_of_the_rows(classifier):
    split = split_of(make_rows(50, seed=3))
    model = keras.Model(classifier.input, classifier.get_layer("logits").output)
    layer = classifier.get_layer("logits")
    layer.kernel.assign(np.random.default_rng(1).normal(size=(WIDTH, 3)))
    predict = make_predict_step(tf.distribute.get_strategy(), model)
    expected = features(classifier, split) @ layer.kernel.numpy()
    np.testing.assert_allclose(predict_split(predict, split, 60), expected, atol=1e-5)
