"""Validation metrics, computed over a whole split at once."""

import dataclasses
import math
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error

from reviewbeam.components.common.calibration import Calibration, decide
from reviewbeam.components.trainer.heads import probabilities
from reviewbeam.components.trainer.input import Split
from reviewbeam.components.trainer.losses import RowLosses

_LESS_IS_BETTER = ("loss", "error")


@dataclasses.dataclass(frozen=True)
class ValidationMetrics:
    """How well a model does on a split, before calibration.

    Attributes:
      loss: mean over the rows of what training minimises.
      accuracy: share of the rows whose label is right; of several labels, of the rows
        all of whose labels are.
      macro_f1: mean F1 over all classes; 0 for a class neither seen nor predicted.
      error: mean absolute error in steps of the scale; None where there is none.
    """

    loss: float
    accuracy: float
    macro_f1: float
    error: float | None = None

    def better_than(self, other: "ValidationMetrics | None", metric: str) -> bool:
        """Tells whether a metric has improved; a NaN is never better."""
        if other is None or math.isnan(getattr(other, metric)):
            return True
        mine, theirs = getattr(self, metric), getattr(other, metric)
        return mine < theirs if metric in _LESS_IS_BETTER else mine > theirs


@dataclasses.dataclass(frozen=True)
class Task:
    """What a model is to learn.

    Attributes:
      label_type: binary, multiclass, multilabel or ordinal.
      head: its kind; see `heads.head_kind`.
      classes: how many there are.
      losses: what training minimises, of each row.
    """

    label_type: str
    head: str
    classes: int
    losses: RowLosses

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Returns float32 [rows, classes] for logits float32 [rows, …]."""
        return np.asarray(probabilities(logits, self.head))

    def decisions(self, logits: np.ndarray) -> np.ndarray:
        """Returns classes, int [rows], or labels, bool [rows, labels]."""
        found = self.probabilities(logits)
        neutral = {"binary": 1, "multilabel": self.classes}.get(self.label_type, 0)
        calibration = Calibration(thresholds=(0.5,) * neutral)
        return decide(found, [None] * len(found), self.label_type, calibration)

    def metrics(self, logits: np.ndarray, labels: np.ndarray) -> ValidationMetrics:
        """Computes the metrics of one pass."""
        decided = self.decisions(logits)
        losses = np.asarray(self.losses(labels, logits), np.float64)
        return ValidationMetrics(float(losses.mean()), **self._figures(labels, decided))

    def by_language(
        self, logits: np.ndarray, split: Split
    ) -> dict[str | None, dict[str, Any]]:
        """Computes rows, accuracy, macro_f1 and error for each language."""
        decided = self.decisions(logits)
        codes, names = split.language_codes()
        return {
            name: {"rows": int((codes == code).sum())}
            | self._figures(split.labels[codes == code], decided[codes == code])
            for code, name in enumerate(names)
        }

    def _figures(self, labels, decided) -> dict[str, float | None]:
        f1 = f1_score(
            labels,
            decided,
            labels=range(self.classes),
            average="macro",
            zero_division=0,
        )
        ordinal = self.label_type == "ordinal"
        return {
            "accuracy": float(accuracy_score(labels, decided)),
            "macro_f1": float(f1),
            "error": float(mean_absolute_error(labels, decided)) if ordinal else None,
        }
