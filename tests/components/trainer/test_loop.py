import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.train_config import TrainConfig
from reviewbeam.components.trainer.batches import plan_batches
from reviewbeam.components.trainer.checkpoint import Checkpoints
from reviewbeam.components.trainer.display import TrainingDisplay
from reviewbeam.components.trainer.loop import Trainer, predict_split
from reviewbeam.components.trainer.losses import row_losses
from reviewbeam.components.trainer.metrics import Task
from reviewbeam.components.trainer.sampling import epoch_rows
from reviewbeam.components.trainer.step import make_predict_step
from tests.components.trainer.datasets import make_multilabel_rows, make_rows
from tests.components.trainer.splits import make_split

WIDTH = 4
CLASS_WEIGHTS = np.array([0.5, 1.5, 2.0], np.float32)


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


@pytest.fixture
def make_trainer(classifier, tmp_path):
    """Returns a function that makes a trainer and what it was made from."""

    def make(label_type="multiclass", sampling=None, name="model", **training):
        settings = {
            "epochs": 3,
            "batch_tokens": 100,
            "learning_rate": 0.5,
            "warmup_fraction": 0.3,
            "seed": 11,
            "early_stopping_metric": "none",
        }
        config = TrainConfig.model_validate(
            {"encoder": "e", "sampling": sampling, "training": settings | training}
        )
        head = {"multiclass": "softmax", "multilabel": "sigmoids"}[label_type]
        losses = row_losses(config.loss, head, CLASS_WEIGHTS)
        task = Task(label_type, head, 3, losses)
        optimizer = keras.optimizers.SGD()
        optimizer.build(classifier.trainable_variables)
        trainer = Trainer(
            tf.distribute.get_strategy(),
            classifier,
            optimizer,
            task,
            config,
            Checkpoints(tmp_path / name, "fingerprint"),
            TrainingDisplay(quiet=True),
        )
        return trainer, config, task

    return make


def scheduled(config, steps):
    """The learning rates, step by step."""
    training = config.training
    warmup, rates = round(steps * training.warmup_fraction), []
    for step in range(steps):
        if step < warmup:
            factor = (step + 1) / warmup
        else:
            done = (step - warmup) / (steps - warmup)
            factor = {
                "linear": 1 - done,
                "cosine": 0.5 + 0.5 * np.cos(done * np.pi),
                "constant": 1.0,
            }[training.schedule]
        rates.append(training.learning_rate * factor)
    return rates


def descend(inputs, train, config):
    """Gradient descent in NumPy: kernel, bias, and loss and steps of each epoch."""
    kernel, bias = np.zeros((WIDTH, 3)), np.zeros(3)
    training, multilabel = config.training, train.labels.ndim == 2
    epochs = []
    for epoch in range(training.epochs):
        plan = plan_batches(
            epoch_rows(train, config.sampling, training.seed, epoch),
            train.lengths,
            training.batch_tokens,
            training.seed,
            epoch,
        )
        batches = list(map(plan.batch, range(len(plan))))
        size = training.accumulation
        epochs.append(
            [
                np.concatenate(batches[i : i + size])
                for i in range(0, len(batches), size)
            ]
        )
    rates = iter(scheduled(config, sum(map(len, epochs))))
    losses = []
    for steps in epochs:
        total = 0.0
        for rows in steps:
            logits = inputs[rows] @ kernel + bias
            labels = train.labels[rows]
            if multilabel:
                shares = 1 / (1 + np.exp(-logits))
                there = CLASS_WEIGHTS * labels
                total -= (there * np.log(shares)).mean(axis=1).sum()
                total -= ((1 - labels) * np.log(1 - shares)).mean(axis=1).sum()
                slopes = (1 - labels) * shares - there * (1 - shares)
                difference = slopes / 3 / len(rows)
            else:
                shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
                own = shares[np.arange(len(rows)), labels]
                total -= (CLASS_WEIGHTS[labels] * np.log(own)).sum()
                weights = CLASS_WEIGHTS[labels][:, None] / len(rows)
                difference = weights * (shares - np.eye(3)[labels])
            rate = next(rates)
            kernel -= rate * inputs[rows].T @ difference
            bias -= rate * difference.sum(axis=0)
        losses.append(total / sum(map(len, steps)))
    return kernel, bias, losses, np.cumsum([len(steps) for steps in epochs])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"schedule": "cosine", "warmup_fraction": 0.0},
        {"schedule": "constant", "accumulation": 3},
        {"accumulation": 100},  # more than an epoch has
        {"label_type": "multilabel"},
        {"sampling": {"alpha": 0.0}},
    ],
    ids=lambda settings: "-".join(map(str, settings)) or "defaults",
)
def test_training_is_the_gradient_descent_that_the_config_says(
    classifier, make_trainer, settings
):
    multilabel = settings.get("label_type") == "multilabel"
    make = make_multilabel_rows if multilabel else make_rows
    train = make_split(make(90, seed=1), languages=("en", "en", "en", "de"))
    validation = make_split(make(9, seed=2))
    trainer, config, task = make_trainer(**settings)
    progress = trainer.fit(train, validation)

    inputs = features(classifier, train)
    kernel, bias, losses, steps = descend(inputs, train, config)
    layer = classifier.get_layer("logits")
    np.testing.assert_allclose(layer.kernel, kernel, atol=1e-5)
    np.testing.assert_allclose(layer.bias, bias, atol=1e-5)
    found = [epoch["training"]["loss"] for epoch in progress.history]
    np.testing.assert_allclose(found, losses, rtol=1e-5)
    assert [epoch["steps"] for epoch in progress.history] == steps.tolist()
    rates = scheduled(config, steps[-1])
    found = [epoch["learning_rate"] for epoch in progress.history]
    np.testing.assert_allclose(found, [rates[step - 1] for step in steps], rtol=1e-6)
    logits = features(classifier, validation) @ kernel + bias
    expected = task.metrics(logits.astype(np.float32), validation.labels)
    assert progress.best_epoch == config.training.epochs  # not stopped: the last
    assert progress.best.loss == pytest.approx(expected.loss, rel=1e-5)
    assert progress.best.accuracy == expected.accuracy
    assert progress.finished


def test_without_validation_the_last_epoch_is_kept(classifier, make_trainer):
    train = make_split(make_rows(30, seed=1))
    trainer, config, _ = make_trainer(epochs=2)
    progress = trainer.fit(train, make_split([]))
    kernel, _, _, _ = descend(features(classifier, train), train, config)
    layer = classifier.get_layer("logits")
    np.testing.assert_allclose(layer.kernel, kernel, atol=1e-5)
    assert progress.best is None
    assert [epoch["validation"] for epoch in progress.history] == [None, None]


def test_the_best_epoch_s_weights_and_optimizer_are_kept(classifier, make_trainer):
    # Nothing is learned from the second epoch on but noise: the rate is far too high.
    rows = make_rows(60, seed=1)
    random = np.random.default_rng(0)
    noise = make_split([(ids, int(random.integers(3))) for ids, _ in rows])
    settings = {
        "epochs": 9,
        "patience": 2,
        "learning_rate": 2.0,
        "schedule": "constant",
        "warmup_fraction": 0.0,
        "early_stopping_metric": "loss",
    }
    trainer, config, task = make_trainer(**settings)
    validation = make_split(make_rows(60, seed=2))
    progress = trainer.fit(noise, validation)
    losses = [epoch["validation"]["loss"] for epoch in progress.history]
    best = int(np.argmin(losses)) + 1
    assert progress.best_epoch == best
    assert len(losses) == min(best + 2, 9) < 9
    limited = config.training.model_copy(update={"epochs": best})
    kernel, bias, _, steps = descend(
        features(classifier, noise),
        noise,
        config.model_copy(update={"training": limited}),
    )
    layer = classifier.get_layer("logits")
    np.testing.assert_allclose(layer.kernel, kernel, atol=1e-4)
    np.testing.assert_allclose(layer.bias, bias, atol=1e-4)
    assert int(trainer._optimizer.iterations.numpy()) == steps[-1]
    logits = features(classifier, validation) @ kernel + bias
    found = task.metrics(logits.astype(np.float32), validation.labels)
    assert found.loss == pytest.approx(min(losses), rel=1e-4)


@pytest.mark.parametrize("metric", ["loss", "none"])
def test_a_finished_training_is_not_done_again(classifier, make_trainer, metric):
    train, validation = (
        make_split(make_rows(40, seed=1)),
        make_split(make_rows(9, seed=2)),
    )
    settings = {"epochs": 2, "early_stopping_metric": metric}
    first, _, _ = make_trainer(**settings)
    progress = first.fit(train, validation)
    layer = classifier.get_layer("logits")
    weights = layer.get_weights()
    layer.set_weights([np.zeros_like(value) for value in weights])
    again, _, _ = make_trainer(**settings)
    again._checked_step = None  # no step is to be made
    assert again.fit(train, validation) == progress
    for found, expected in zip(layer.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert again._optimizer.iterations.numpy() == first._optimizer.iterations.numpy()


def test_checkpoints_come_every_so_many_steps_and_at_the_end_of_an_epoch(
    make_trainer, monkeypatch
):
    saved = []
    save = Checkpoints.save

    def spy(self, state, variables):
        saved.append((state["step"], state["epoch"], state["batch"]))
        save(self, state, variables)

    monkeypatch.setattr(Checkpoints, "save", spy)
    train = make_split(make_rows(90, seed=1))
    trainer, config, _ = make_trainer(epochs=2, checkpoint_steps=4)
    trainer.fit(train, make_split([]))
    of_epoch = [epoch["steps"] for epoch in trainer.progress.history]
    assert of_epoch[0] > 8
    expected = [(s, 0, s) for s in range(4, of_epoch[0], 4)]
    expected += [(of_epoch[0], 1, 0)]
    first = of_epoch[0]
    expected += [(s, 1, s - first) for s in range(first + 1, of_epoch[1]) if s % 4 == 0]
    expected += [(of_epoch[1], 2, 0)]
    assert saved == expected
    # What is kept can be read by whoever takes the training up.
    state = json.loads(
        (
            trainer._checkpoints.folder / f"checkpoint-{of_epoch[1]}/state.json"
        ).read_text()
    )
    assert state["finished"] and state["epoch"] == 2


def test_a_training_tells_how_it_is_shuffled(make_trainer):
    train = make_split(make_rows(300, seed=1))
    trainer, config, _ = make_trainer(epochs=2)
    notes = []
    trainer._display.note = notes.append
    trainer.fit(train, make_split([]))
    plans = [
        plan_batches(np.arange(300), train.lengths, 100, 11, epoch) for epoch in (0, 1)
    ]
    lengths = {
        int(train.lengths[plans[0].batch(i)].max()) for i in range(len(plans[0]))
    }
    assert notes[0].startswith(
        f"{len(plans[0])} batches an epoch, of {len(lengths)} lengths, "
        f"{plans[0].padding_share:.1%} padding; "
    )
    assert "of a row's batch mates are so again an epoch later" in notes[0]


def test_predictions_come_in_the_order_of_the_rows(classifier):
    split = make_split(make_rows(50, seed=3))
    model = keras.Model(classifier.input, classifier.get_layer("logits").output)
    layer = classifier.get_layer("logits")
    layer.kernel.assign(np.random.default_rng(1).normal(size=(WIDTH, 3)))
    predict = make_predict_step(tf.distribute.get_strategy(), model)
    expected = features(classifier, split) @ layer.kernel.numpy()
    np.testing.assert_allclose(predict_split(predict, split, 60), expected, atol=1e-5)


def test_out_of_memory_names_a_budget_to_try(make_trainer, monkeypatch):
    trainer, _, _ = make_trainer(batch_tokens=64, accumulation=3)

    def exhausted(group):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")

    monkeypatch.setattr(trainer, "_step", exhausted)
    rows = [([0, 5, 6, 7, 8, 9, 10, 2], 0), ([0, 9, 2], 1)] * 8
    with pytest.raises(UserError) as error:
        trainer.fit(make_split(rows), make_split(rows[:2]))
    message = str(error.value)
    assert "not enough for a batch of 8 rows x 8 tokens" in message
    assert "training.batch_tokens=32 with training.accumulation=6" in message
