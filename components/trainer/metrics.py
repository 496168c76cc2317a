"""Validation metrics, computed in NumPy over a whole split at once."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class ValidationMetrics:
    """How well a model does on a split.

    Attributes:
      loss: mean cross-entropy over the rows, under the class weights of training.
      accuracy: share of the rows whose most probable class is right.
      macro_f1: mean F1 over all classes; 0 for a class neither seen nor predicted.
    """

    loss: float
    accuracy: float
    macro_f1: float

    def better_than(self, other: "ValidationMetrics | None", metric: str) -> bool:
        """Tells whether a metric has improved; a NaN is never better."""
        if other is None:
            return True
        if metric == "loss":
            return self.loss < other.loss
        return getattr(self, metric) > getattr(other, metric)


def validation_metrics(
    logits: np.ndarray, labels: np.ndarray, class_weights: np.ndarray
) -> ValidationMetrics:
    """Computes the metrics of one pass.

    Args:
      logits: float [rows, classes], or [rows, 1] for a sigmoid.
      labels: int [rows].
      class_weights: float [classes].
    """
    log_probabilities = _log_probabilities(logits.astype(np.float64))
    classes = log_probabilities.shape[1]
    losses = -log_probabilities[np.arange(len(labels)), labels]
    predicted = log_probabilities.argmax(axis=1)
    confusion = np.bincount(
        labels * classes + predicted, minlength=classes * classes
    ).reshape(classes, classes)
    right = np.diag(confusion)
    either = confusion.sum(axis=0) + confusion.sum(axis=1)
    f1 = 2 * right / np.maximum(either, 1)
    return ValidationMetrics(
        loss=float((class_weights.astype(np.float64)[labels] * losses).mean()),
        accuracy=float(right.sum() / len(labels)),
        macro_f1=float(f1.mean()),
    )


def _log_probabilities(logits: np.ndarray) -> np.ndarray:
    if logits.shape[1] == 1:  # a sigmoid is the softmax of 0 and its logit
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
