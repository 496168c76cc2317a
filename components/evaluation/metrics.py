"""Metrics of predictions, of all rows and of each language's, by scikit-learn.

Classes are given as indices, int [rows]; labels of which a row may have several as 0
or 1 for each, int or bool [rows, labels]. `kind` is `LabelRules.type`.
"""

from typing import Any

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    hamming_loss,
    mean_absolute_error,
    precision_recall_fscore_support,
)

from reviewbeam.components.common.calibration import expected_calibration_error

UNKNOWN_LANGUAGE = "(unknown)"


def evaluate_predictions(
    true: np.ndarray,
    predicted: np.ndarray,
    languages: list[str | None],
    label_names: tuple[str, ...],
    kind: str,
    probabilities: np.ndarray | None = None,
) -> dict[str, Any]:
    """Computes the metrics of all rows and of each language's.

    Args:
      true: class of each row, or its labels; at least one row.
      predicted: likewise.
      languages: language of each row; None counts as a language of its own.
      label_names: the classes.
      kind: the type of the labels.
      probabilities: the calibrated ones, float [rows, classes].

    Returns:
      `label_names`, `type`, `overall` (of `slice_metrics`), and `languages`: language
      -> the same figures for its rows. With probabilities, `overall` has also
      `calibration`: the `expected_calibration_error`.
    """
    names = np.array([language or UNKNOWN_LANGUAGE for language in languages])
    overall = slice_metrics(true, predicted, label_names, kind)
    if probabilities is not None:
        error = expected_calibration_error(probabilities, true, kind)
        overall["calibration"] = {"expected_calibration_error": error}
    return {
        "label_names": list(label_names),
        "type": kind,
        "overall": overall,
        "languages": {
            language: slice_metrics(
                true[names == language], predicted[names == language], label_names, kind
            )
            for language in sorted(set(names.tolist()))
        },
    }


def slice_metrics(
    true: np.ndarray, predicted: np.ndarray, label_names: tuple[str, ...], kind: str
) -> dict[str, Any]:
    """Computes the metrics of some rows.

    A class that is neither among the true labels nor among the predicted ones is
    left out of the macro average, as scikit-learn does; a figure without a
    denominator is 0. A macro average over labels of which a row may have several is
    of all of them.

    Returns:
      `rows`, `accuracy`, `macro` and `weighted` (precision, recall, f1) and `classes`
      (name -> precision, recall, f1, support). For multilabel, `accuracy` is the share
      of the rows with all labels right; then `micro`, and `hamming_loss`, the share of
      the labels that are wrong. Else `confusion_matrix` (true class by predicted
      class). For ordinal also `mean_absolute_error` (in steps of the scale),
      `within_one` (share of the rows with an error of at most one step) and
      `quadratic_weighted_kappa`.
    """
    classes = range(len(label_names))
    each = precision_recall_fscore_support(
        true, predicted, labels=classes, zero_division=0
    )
    figures = {
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
    }
    if kind == "multilabel":
        return figures | {
            "micro": _averages(true, predicted, "micro"),
            "hamming_loss": float(hamming_loss(true, predicted)),
        }
    matrix = confusion_matrix(true, predicted, labels=classes)
    figures["confusion_matrix"] = matrix.tolist()
    if kind == "ordinal":
        figures |= _distances(true, predicted, classes)
    return figures


def _averages(
    true: np.ndarray, predicted: np.ndarray, average: str
) -> dict[str, float]:
    precision, recall, f1, _ = precision_recall_fscore_support(
        true, predicted, average=average, zero_division=0
    )
    return {"precision": float(precision), "recall": float(recall), "f1": float(f1)}


def _distances(
    true: np.ndarray, predicted: np.ndarray, classes: range
) -> dict[str, float]:
    """Figures of how far an ordinal prediction is from the truth."""
    kappa = 0.0  # where all rows are of one class, it has no denominator
    if len(np.union1d(true, predicted)) > 1:
        kappa = cohen_kappa_score(true, predicted, labels=classes, weights="quadratic")
    return {
        "mean_absolute_error": float(mean_absolute_error(true, predicted)),
        "within_one": float(np.mean(np.abs(true - predicted) <= 1)),
        "quadratic_weighted_kappa": float(kappa),
    }
