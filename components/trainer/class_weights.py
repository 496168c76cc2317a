"""Class weights from the label counts in a dataset's manifest."""

from collections.abc import Mapping, Sequence

import numpy as np

_POWERS = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}


def class_weights(
    scheme: str | float, names: Sequence[str], counts: Mapping[str, int]
) -> np.ndarray:
    """Returns the weight of a training row by its class.

    The weights are scaled so that their mean over the training rows is 1: the
    learning rate then means the same under every scheme. Balanced weights give a rare
    class as much say as a frequent one, and so cost accuracy on the frequent ones; a
    power between is a middle way.

    Args:
      scheme: `none`; `balanced`, in inverse proportion to the count (scikit-learn's
        formula); `sqrt`, the square roots of these; or a number, that power of these.
      names: the classes, in the order of the model's outputs.
      counts: training rows by class name; a class without rows may be left out.

    Returns:
      float32 [classes]; 0 for a class without rows.
    """
    rows = _counts(names, counts)
    present = rows > 0
    weights = np.zeros(len(names))
    weights[present] = rows[present] ** -_power(scheme)
    return (weights * rows.sum() / (weights @ rows)).astype(np.float32)


def label_weights(
    scheme: str | float, names: Sequence[str], counts: Mapping[str, int], rows: int
) -> np.ndarray:
    """Returns what a row that has a label counts, where one without it counts 1.

    Args:
      scheme: as of `class_weights`; balanced: as much as all rows without it.
      names: the labels.
      counts: training rows that have each label.
      rows: all training rows.

    Returns:
      float32 [labels]; 1 for a label that none or all of the rows have.
    """
    present = _counts(names, counts)
    absent = rows - present
    odds = np.where((present > 0) & (absent > 0), absent / np.maximum(present, 1), 1)
    return (odds ** _power(scheme)).astype(np.float32)


def absent_classes(names: Sequence[str], counts: Mapping[str, int]) -> list[str]:
    """Returns the classes that no training row has."""
    return [name for name in names if not counts.get(name, 0)]


def _counts(names: Sequence[str], counts: Mapping[str, int]) -> np.ndarray:
    return np.array([counts.get(name, 0) for name in names], np.float64)


def _power(scheme: str | float) -> float:
    return _POWERS[scheme] if isinstance(scheme, str) else scheme
