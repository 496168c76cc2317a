"""Figures that follow from how often which class was taken for which.

Confusion matrices are float [resamples, labels, classes, classes], true class by
predicted class; `labels` is 1 where a row has one class, else of each label the two
classes are "not given" and "given". Each function returns figures of each resample, and
NaN where one has no denominator.
"""

import numpy as np

Figures = dict[str, np.ndarray]  # name -> float [resamples]


def single_label_figures(
    matrices: np.ndarray, names: tuple[str, ...], kind: str
) -> Figures:
    """Returns the figures of rows that have one class each.

    A precision, recall or F1 without a denominator is 0, and a class that is neither
    among the true ones nor among the predicted ones is left out of the macro averages:
    scikit-learn's defaults.

    Args:
      matrices: float [resamples, 1, classes, classes].
      names: of the classes.
      kind: the type of the labels; `ordinal` adds figures of the distance.
    """
    matrix = matrices[:, 0]
    hits = np.diagonal(matrix, axis1=1, axis2=2)
    true, predicted = matrix.sum(axis=2), matrix.sum(axis=1)
    total = true.sum(axis=1)
    figures = {
        "accuracy": ratio(hits.sum(axis=1), total),
        "balanced_accuracy": _balanced_accuracy(matrices)[:, 0],
        "mcc": _matthews(matrices)[:, 0],
    }
    figures |= _precision_recall_f1(hits, true, predicted, names)
    figures |= _averages(hits, true, predicted, (true + predicted) > 0)
    if kind == "ordinal":
        figures |= _distances(matrix)
    return figures


def multilabel_figures(
    matrices: np.ndarray, all_right: np.ndarray, names: tuple[str, ...]
) -> Figures:
    """Returns the figures of rows that may have several labels.

    Of balanced accuracy and Matthews' coefficient, the mean over the labels. Macro
    averages are of all labels.

    Args:
      matrices: float [resamples, labels, 2, 2].
      all_right: share of the rows with all labels right, float [resamples].
      names: of the labels.
    """
    hits = matrices[:, :, 1, 1]
    true, predicted = matrices[:, :, 1].sum(axis=2), matrices[:, :, :, 1].sum(axis=2)
    wrong = matrices[:, :, 0, 1] + matrices[:, :, 1, 0]
    total = matrices.sum(axis=(1, 2, 3))
    micro = _precision_recall_f1(
        *(counts.sum(axis=1, keepdims=True) for counts in (hits, true, predicted)),
        ("micro",),
    )
    return (
        {
            "accuracy": all_right,
            "balanced_accuracy": _balanced_accuracy(matrices).mean(axis=1),
            "mcc": _matthews(matrices).mean(axis=1),
            "hamming_loss": ratio(wrong.sum(axis=1), total),
        }
        | {f"micro_{name.split('.')[0]}": value for name, value in micro.items()}
        | _averages(hits, true, predicted, np.ones(hits.shape, bool))
        | _precision_recall_f1(hits, true, predicted, names)
    )


def ratio(
    numerator: np.ndarray, denominator: np.ndarray, otherwise: float = np.nan
) -> np.ndarray:
    """Divides; what has no denominator becomes `otherwise`."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    result = np.full(numerator.shape, otherwise, np.float64)
    return np.divide(numerator, denominator, out=result, where=denominator > 0)


def _each(
    hits: np.ndarray, true: np.ndarray, predicted: np.ndarray
) -> dict[str, np.ndarray]:
    return {
        "precision": ratio(hits, predicted, 0),
        "recall": ratio(hits, true, 0),
        "f1": ratio(2 * hits, true + predicted, 0),
    }


def _precision_recall_f1(
    hits: np.ndarray, true: np.ndarray, predicted: np.ndarray, names: tuple[str, ...]
) -> Figures:
    return {
        f"{figure}.{name}": values[:, place]
        for figure, values in _each(hits, true, predicted).items()
        for place, name in enumerate(names)
    }


def _averages(
    hits: np.ndarray, true: np.ndarray, predicted: np.ndarray, counted: np.ndarray
) -> Figures:
    figures = {}
    for figure, values in _each(hits, true, predicted).items():
        figures[f"macro_{figure}"] = ratio((values * counted).sum(1), counted.sum(1))
        # Without any true label there is nothing to weight by: 0, as scikit-learn has.
        figures[f"weighted_{figure}"] = ratio((values * true).sum(1), true.sum(1), 0)
    return figures


def _balanced_accuracy(matrices: np.ndarray) -> np.ndarray:
    """Mean recall of the classes that rows have, [resamples, labels]."""
    true = matrices.sum(axis=3)
    recall = ratio(np.diagonal(matrices, axis1=2, axis2=3), true, 0)
    return ratio(recall.sum(axis=2), (true > 0).sum(axis=2))


def _matthews(matrices: np.ndarray) -> np.ndarray:
    """Matthews' correlation coefficient, [resamples, labels].

    For several classes that of Gorodkin 2004, "Comparing two K-category assignments by
    a K-category correlation coefficient".
    """
    true, predicted = matrices.sum(axis=3), matrices.sum(axis=2)
    total = true.sum(axis=2)
    hits = np.trace(matrices, axis1=2, axis2=3)
    covariance = hits * total - (true * predicted).sum(axis=2)
    spread = [total**2 - (counts**2).sum(axis=2) for counts in (true, predicted)]
    both = ((true > 0).sum(axis=2) > 1) & ((predicted > 0).sum(axis=2) > 1)
    return ratio(covariance, np.sqrt(np.where(both, spread[0] * spread[1], 0)))


def _distances(matrix: np.ndarray) -> Figures:
    """Figures of how far an ordinal prediction is from the truth, in steps."""
    classes = matrix.shape[1]
    steps = np.abs(np.subtract.outer(np.arange(classes), np.arange(classes)))
    true, predicted = matrix.sum(axis=2), matrix.sum(axis=1)
    total = true.sum(axis=1)
    by_chance = np.einsum("rt,tp,rp->r", true, steps**2.0, predicted)
    observed = (matrix * steps**2).sum(axis=(1, 2)) * total
    return {
        "mean_absolute_error": ratio((matrix * steps).sum(axis=(1, 2)), total),
        "within_one": ratio((matrix * (steps <= 1)).sum(axis=(1, 2)), total),
        # Cohen 1968, "Weighted kappa"; one class for all rows leaves nothing to chance.
        "quadratic_weighted_kappa": 1 - ratio(observed, by_chance),
    }
