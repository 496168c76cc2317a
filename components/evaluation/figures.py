"""All figures of predictions, of the rows as they are or of resamples of them.

Classes are given as indices, int [rows]; labels of which a row may have several as 0
or 1 for each, int or bool [rows, labels]. `kind` is `LabelRules.type`. Each figure is
what scikit-learn computes, with these weights as `sample_weight` and probabilities as
float64. They are computed here anew because a bootstrap asks for a thousand resamples.
"""

import numpy as np
from scipy.sparse import csr_matrix

from reviewbeam.components.common.calibration import calibration_gaps
from reviewbeam.components.evaluation.counts import (
    Figures,
    multilabel_figures,
    ratio,
    single_label_figures,
)
from reviewbeam.components.evaluation.ranking import Ranking

_LEAST = np.finfo(np.float64).eps  # of a probability in a logarithm, as scikit-learn's


class FigureSet:
    """The figures of given predictions as a function of the rows' weights.

    Names: `accuracy` (multilabel: share of the rows with all labels right),
    `balanced_accuracy`, `mcc`; `precision`, `recall` and `f1`, as `macro_…`,
    `weighted_…` (by the classes' rows) and `….CLASS`; `hamming_loss` and `micro_…`
    (multilabel); `mean_absolute_error`, `within_one` and `quadratic_weighted_kappa`
    (ordinal). With probabilities also `log_loss`, `brier`, `ece`, and `roc_auc` and
    `pr_auc` (average precision): for binary of the second class; else the mean over the
    classes, each against the others, with `weighted_…`, `….CLASS` and, for multilabel,
    `micro_…`. Multilabel `log_loss` and `brier` are means over the labels.
    """

    def __init__(
        self,
        true: np.ndarray,
        predicted: np.ndarray,
        probabilities: np.ndarray | None,
        kind: str,
        names: tuple[str, ...],
    ):
        """Prepares what all resamples share; arguments as those of `figures`."""
        self._kind, self._names = kind, tuple(names)
        true, predicted = np.asarray(true), np.asarray(predicted)
        if kind == "multilabel":
            true, predicted = true.astype(np.int64), predicted.astype(np.int64)
            self._right = (true == predicted).all(axis=1).astype(np.float64)
            given, self._classes = true.astype(bool), 2
        else:
            given = true[:, None] == np.arange(len(names))
            true, predicted = true[:, None], predicted[:, None]
            self._classes = len(names)
        self._cells = _cells(true, predicted, self._classes)
        self._given = given
        self._probabilities = None
        if probabilities is not None and len(true):
            labels = true if kind == "multilabel" else true[:, 0]
            self._prepare(np.asarray(probabilities), labels)

    def _prepare(self, probabilities: np.ndarray, labels: np.ndarray) -> None:
        given, rows = self._given, np.arange(len(probabilities))
        bins, gaps = calibration_gaps(probabilities, labels, self._kind)
        self._probabilities = probabilities = probabilities.astype(np.float64)
        self._losses = _losses(probabilities, given, self._kind)
        entries = bins.size // len(rows)  # of a row: its labels, or one
        self._entries = entries
        self._gaps = csr_matrix((gaps, (bins, np.repeat(rows, entries))))
        classes = [1] if self._kind == "binary" else range(len(self._names))
        self._rankings = [Ranking(probabilities[:, c], given[:, c]) for c in classes]
        self._micro = None
        if self._kind == "multilabel":
            self._micro = Ranking(probabilities.ravel(), given.ravel())

    def __call__(self, weights: np.ndarray) -> Figures:
        """Computes the figures of resamples.

        Args:
          weights: of the rows in each resample, float64 [rows, resamples].

        Returns:
          Name -> float64 [resamples], NaN where a figure has no denominator.
        """
        weights = np.ascontiguousarray(weights, np.float64)
        found = self.confusion(weights)
        if self._kind == "multilabel":
            right = ratio(self._right @ weights, weights.sum(axis=0))
            result = multilabel_figures(found, right, self._names)
        else:
            result = single_label_figures(found, self._names, self._kind)
        if self._probabilities is not None:
            result |= self._of_probabilities(weights)
        return result

    def confusion(self, weights: np.ndarray) -> np.ndarray:
        """Returns the confusion matrices, float [resamples, labels, classes, classes].

        See `counts` for what they mean.
        """
        shape = (weights.shape[1], -1, self._classes, self._classes)
        return np.ascontiguousarray((self._cells @ weights).T).reshape(shape)

    def _of_probabilities(self, weights: np.ndarray) -> Figures:
        total = weights.sum(axis=0)
        log_loss, brier = self._losses @ weights
        gaps = np.abs(self._gaps @ weights).sum(axis=0)
        result = {
            "log_loss": ratio(log_loss, total),
            "brier": ratio(brier, total),
            "ece": ratio(gaps, total * self._entries),
        }
        areas = [ranking.areas(weights) for ranking in self._rankings]
        support = self._given.T.astype(np.float64) @ weights  # [classes, resamples]
        micro = self._micro and self._micro.areas(
            np.repeat(weights, len(self._names), axis=0)
        )
        for place, name in enumerate(("roc_auc", "pr_auc")):
            each = np.array([area[place] for area in areas])
            result[name] = each.mean(axis=0)
            if self._kind == "binary":
                continue
            weighted = ratio((each * support).sum(axis=0), support.sum(axis=0))
            result[f"weighted_{name}"] = weighted
            if micro:
                result[f"micro_{name}"] = micro[place]
            of_classes = zip(self._names, each, strict=True)
            result |= {f"{name}.{label}": values for label, values in of_classes}
        return result


def _cells(true: np.ndarray, predicted: np.ndarray, classes: int) -> csr_matrix:
    """Maps rows to the cells of confusion matrices, [labels * classes**2, rows]."""
    rows, labels = true.shape
    cell = (np.arange(labels) * classes + true) * classes + predicted
    where = cell.ravel(), np.repeat(np.arange(rows), labels)
    shape = (labels * classes**2, rows)
    return csr_matrix((np.ones(rows * labels), where), shape=shape)


def _losses(probabilities: np.ndarray, given: np.ndarray, kind: str) -> np.ndarray:
    """Returns logarithmic loss and Brier score of each row, float64 [2, rows]."""
    clipped = np.clip(probabilities, _LEAST, 1 - _LEAST)
    squares = (probabilities - given) ** 2
    if kind == "multilabel":
        logarithms = np.where(given, np.log(clipped), np.log1p(-clipped))
        return np.array([-logarithms.mean(axis=1), squares.mean(axis=1)])
    # Of two classes the second one's alone, as Brier had it.
    brier = squares.sum(axis=1) / (2 if kind == "binary" else 1)
    return np.array([-np.log(clipped[given]), brier])
