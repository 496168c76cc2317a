import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss

from reviewbeam.components.trainer.metrics import ValidationMetrics, validation_metrics


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_metrics_equal_scikit_learns(classes):
    random = np.random.default_rng(classes)
    labels = random.integers(0, classes, 200)
    logits = random.normal(size=(200, classes)).astype(np.float32)
    logits[np.arange(200), labels] += 1
    weights = np.linspace(0.5, 2, classes).astype(np.float32)
    probabilities = np.exp(logits.astype(float))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    found = validation_metrics(logits, labels, weights)
    predicted = logits.argmax(axis=1)
    assert found.accuracy == pytest.approx(accuracy_score(labels, predicted))
    assert found.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert found.loss == pytest.approx(
        log_loss(labels, probabilities, sample_weight=weights[labels], normalize=True)
        * weights[labels].mean()
    )


def test_one_logit_is_a_sigmoid():
    logits = np.array([[-2.0], [0.5], [3.0], [-1.0]])
    labels = np.array([0, 1, 0, 1])
    found = validation_metrics(logits, labels, np.ones(2))
    probabilities = 1 / (1 + np.exp(-logits[:, 0]))
    assert found.loss == pytest.approx(log_loss(labels, probabilities))
    assert found.accuracy == 0.5


def test_a_class_neither_seen_nor_predicted_counts_as_zero():
    logits = np.array([[5.0, 0, 0], [0, 0, 5.0]])
    labels = np.array([0, 2])
    expected = f1_score(
        labels, [0, 2], labels=[0, 1, 2], average="macro", zero_division=0
    )
    assert validation_metrics(logits, labels, np.ones(3)).macro_f1 == pytest.approx(
        expected
    )
    assert expected == pytest.approx(2 / 3)


def test_large_logits_don_t_overflow():
    found = validation_metrics(np.array([[1e4, -1e4]]), np.array([1]), np.ones(2))
    assert found.loss == pytest.approx(2e4)


def test_better_looks_at_the_chosen_metric():
    old = ValidationMetrics(loss=0.5, accuracy=0.8, macro_f1=0.6)
    new = ValidationMetrics(loss=0.6, accuracy=0.8, macro_f1=0.7)
    assert new.better_than(old, "macro_f1")
    assert not new.better_than(old, "accuracy")  # no better: the earlier one stays
    assert not new.better_than(old, "loss")
    assert old.better_than(new, "loss")
    assert old.better_than(None, "loss")
    assert not ValidationMetrics(float("nan"), 0.9, 0.9).better_than(old, "loss")
