import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss, mean_absolute_error

from reviewbeam.components.common.train_config import LossConfig
from reviewbeam.components.trainer.heads import probabilities
from reviewbeam.components.trainer.input import Split
from reviewbeam.components.trainer.losses import row_losses
from reviewbeam.components.trainer.metrics import Task, ValidationMetrics

ROWS = 200
HEADS = {
    "binary": ("sigmoid",),
    "multiclass": ("softmax",),
    "multilabel": ("sigmoids",),
    "ordinal": ("cumulative", "softmax"),
}


def make_task(label_type, head=None, classes=3, weights=None):
    head = head or HEADS[label_type][0]
    weights = np.ones(classes) if weights is None else weights
    losses = row_losses(LossConfig(), head, np.asarray(weights, np.float32))
    return Task(label_type, head, classes, losses)


def softmax(logits):
    powers = np.exp(logits.astype(float))
    return powers / powers.sum(axis=1, keepdims=True)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits.astype(float)))


def draw(classes):
    """Labels, and logits that are often right."""
    random = np.random.default_rng(classes)
    labels = random.integers(0, classes, ROWS)
    logits = random.normal(size=(ROWS, classes)).astype(np.float32)
    logits[np.arange(ROWS), labels] += 1
    return labels, logits


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_metrics_equal_scikit_learns(classes):
    labels, logits = draw(classes)
    weights = np.linspace(0.5, 2, classes).astype(np.float32)
    found = make_task("multiclass", None, classes, weights).metrics(logits, labels)
    predicted = logits.argmax(axis=1)
    assert found.accuracy == pytest.approx(accuracy_score(labels, predicted))
    assert found.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert found.loss == pytest.approx(
        log_loss(labels, softmax(logits), sample_weight=weights[labels], normalize=True)
        * weights[labels].mean(),
        rel=1e-5,
    )
    assert found.error is None


def test_one_logit_is_a_sigmoid():
    logits = np.array([[-2.0], [0.5], [3.0], [-1.0], [0.0]], np.float32)
    labels = np.array([0, 1, 0, 1, 1])
    task = make_task("binary", None, 2)
    found = task.metrics(logits, labels)
    assert found.loss == pytest.approx(
        log_loss(labels, sigmoid(logits[:, 0])), rel=1e-5
    )
    predicted = [0, 1, 1, 0, 1]  # one half is enough
    assert task.decisions(logits).tolist() == predicted
    assert found.accuracy == 0.6
    assert found.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))


def test_several_labels_equal_scikit_learns():
    random = np.random.default_rng(1)
    labels = (random.random((ROWS, 4)) < [0.1, 0.3, 0.5, 0.9]).astype(np.float32)
    logits = (random.normal(size=(ROWS, 4)) + 3 * labels - 1.5).astype(np.float32)
    weights = np.array([3.0, 2.0, 1.0, 0.2])
    task = make_task("multilabel", None, 4, weights)
    found = task.metrics(logits, labels)
    predicted = logits >= 0
    np.testing.assert_array_equal(task.decisions(logits), predicted)
    # The share of the rows that are right in every label.
    assert found.accuracy == accuracy_score(labels, predicted)
    assert found.accuracy == (predicted == labels).all(axis=1).mean()
    assert found.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))
    each = [
        log_loss(labels[:, i], sigmoid(logits[:, i]), sample_weight=counted)
        * counted.mean()
        for i in range(4)
        for counted in [np.where(labels[:, i] == 1, weights[i], 1)]
    ]
    assert found.loss == pytest.approx(np.mean(each), rel=1e-5)
    assert found.error is None


@pytest.mark.parametrize("head", HEADS["ordinal"])
def test_steps_of_a_scale_equal_scikit_learns(head):
    labels, logits = draw(5)
    if head == "cumulative":
        logits = -np.sort(-logits[:, 1:], axis=1)
        above = np.pad(
            sigmoid(logits), ((0, 0), (1, 1)), constant_values=((0, 0), (1, 0))
        )
        shares = above[:, :-1] - above[:, 1:]
    else:
        shares = softmax(logits)
    task = make_task("ordinal", head, 5)
    found = task.metrics(logits, labels)
    # The median of the distribution: half of it is at or below that class.
    predicted = (np.cumsum(shares, axis=1) >= 0.5).argmax(axis=1)
    assert (predicted != shares.argmax(axis=1)).any()
    np.testing.assert_array_equal(task.decisions(logits), predicted)
    assert found.error == pytest.approx(mean_absolute_error(labels, predicted))
    assert found.accuracy == pytest.approx(accuracy_score(labels, predicted))
    assert found.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))
    expected = log_loss(labels, shares, labels=range(5))
    assert found.loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("label_type", "head"),
    [(label_type, head) for label_type, heads in HEADS.items() for head in heads],
)
def test_figures_of_a_language_are_those_of_its_rows_alone(label_type, head):
    random = np.random.default_rng(2)
    classes = 2 if label_type == "binary" else 3
    width = {"sigmoid": 1, "cumulative": 2}.get(head, classes)
    logits = -np.sort(-random.normal(size=(ROWS, width)), axis=1).astype(np.float32)
    labels = random.integers(0, classes, ROWS)
    if label_type == "multilabel":
        labels = random.integers(0, 2, (ROWS, classes)).astype(np.float32)
    languages = random.choice(["en", "de", None], ROWS, p=[0.6, 0.3, 0.1])
    split = Split(
        np.zeros(2 * ROWS, np.int32),
        np.arange(ROWS + 1) * 2,
        labels,
        pa.chunked_array([pa.array([b"x"] * ROWS, pa.large_binary())]),
        pa.chunked_array([pa.array(languages.tolist(), pa.string())]),
        np.ones(ROWS, np.int64),
    )
    task = make_task(label_type, head, classes)
    found = task.by_language(logits, split)
    assert set(found) == {"en", "de", None}
    for language, figures in found.items():
        rows = np.array([value == language for value in languages])
        alone = dataclasses.asdict(task.metrics(logits[rows], labels[rows]))
        del alone["loss"]
        assert figures == {"rows": int(rows.sum())} | alone


def test_probabilities_are_the_head_s():
    logits = np.array([[2.0, -1.0], [0.5, 0.4]], np.float32)
    found = make_task("ordinal").probabilities(logits)
    np.testing.assert_array_equal(found, probabilities(logits, "cumulative"))
    assert found.dtype == np.float32


def test_a_class_neither_seen_nor_predicted_counts_as_zero():
    logits = np.array([[5.0, 0, 0], [0, 0, 5.0]], np.float32)
    labels = np.array([0, 2])
    expected = f1_score(
        labels, [0, 2], labels=[0, 1, 2], average="macro", zero_division=0
    )
    found = make_task("multiclass").metrics(logits, labels)
    assert found.macro_f1 == pytest.approx(expected)
    assert expected == pytest.approx(2 / 3)


def test_large_logits_don_t_overflow():
    task = make_task("multiclass", classes=2)
    found = task.metrics(np.array([[1e4, -1e4]], np.float32), np.array([1]))
    assert found.loss == pytest.approx(2e4)


def test_better_looks_at_the_chosen_metric():
    old = ValidationMetrics(loss=0.5, accuracy=0.8, macro_f1=0.6, error=0.4)
    new = ValidationMetrics(loss=0.6, accuracy=0.8, macro_f1=0.7, error=0.3)
    assert new.better_than(old, "macro_f1")
    assert not new.better_than(old, "accuracy")  # no better: the earlier one stays
    assert not new.better_than(old, "loss")
    assert old.better_than(new, "loss")
    assert new.better_than(old, "error")
    assert not old.better_than(new, "error")
    assert old.better_than(None, "loss")
    assert not ValidationMetrics(float("nan"), 0.9, 0.9).better_than(old, "loss")
