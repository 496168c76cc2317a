"""Classification metrics per class and per language, by scikit-learn."""

from typing import Any

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
)

UNKNOWN_LANGUAGE = "(unknown)"


def evaluate_predictions(
    true: np.ndarray,
    predicted: np.ndarray,
    languages: list[str | None],
    label_names: tuple[str, ...],
) -> dict[str, Any]:
    """Computes the metrics of all rows and of each language's.

    Args:
      true: class index of each row, int [rows]; at least one row.
      predicted: likewise.
      languages: language of each row; None counts as a language of its own.
      label_names: the classes.

    Returns:
      `overall`, and `languages`: language -> the same figures for its rows.
    """
    names = np.array([language or UNKNOWN_LANGUAGE for language in languages])
    return {
        "label_names": list(label_names),
        "overall": slice_metrics(true, predicted, label_names),
        "languages": {
            language: slice_metrics(
                true[names == language], predicted[names == language], label_names
            )
            for language in sorted(set(names.tolist()))
        },
    }


def slice_metrics(
    true: np.ndarray, predicted: np.ndarray, label_names: tuple[str, ...]
) -> dict[str, Any]:
    """Computes the metrics of some rows.

    A class that is neither among the true labels nor among the predicted ones is
    left out of the macro average, as scikit-learn does; a figure without a
    denominator is 0.

    Returns:
      `rows`, `accuracy`, `macro` and `weighted` (precision, recall, f1), `classes`
      (name -> precision, recall, f1, support) and `confusion_matrix` (true class
      by predicted class).
    """
    classes = range(len(label_names))
    each = precision_recall_fscore_support(
        true, predicted, labels=classes, zero_division=0
    )
    return {
        "rows": len(true),
        "accuracy": float(accuracy_score(true, predicted)),
        "macro": _averages(true, predicted, "macro"),
        "weighted": _averages(true, predicted, "weighted"),
        "classes": {
            name: {
                "precision": float(each[0][i]),
                "recall": float(each[1][i]),
                "f1": float(each[2][i]),
                "support": int(each[3][i]),
            }
            for i, name in enumerate(label_names)
        },
        "confusion_matrix": confusion_matrix(true, predicted, labels=classes).tolist(),
    }


def _averages(
    true: np.ndarray, predicted: np.ndarray, average: str
) -> dict[str, float]:
    precision, recall, f1, _ = precision_recall_fscore_support(
        true, predicted, average=average, zero_division=0
    )
    return {"precision": float(precision), "recall": float(recall), "f1": float(f1)}
