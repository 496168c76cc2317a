"""Probabilities to labels."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from reviewbeam.components.common.calibration import (
    Calibration,
    calibrated,
    decide,
    row_thresholds,
)
from reviewbeam.components.common.columns import with_columns
from reviewbeam.components.common.model_directory import ModelMetadata


def with_labels(batch: pa.RecordBatch, model: ModelMetadata) -> pa.RecordBatch:
    """Calibrates the probabilities of a model and adds the labels that they give.

    Args:
      batch: with the columns `language` (string) and `probabilities` (list<float32>).
      model: labels and calibration.

    Returns:
      The batch with calibrated `probabilities`, `label` (string), `score` (float32,
      the label's probability) and `margin` (float32, how far the decision is from
      another one): for binary the distance of the positive class from its threshold,
      for several classes how much more probable the label is than the best other
      class. For ordinal, where the median is taken, that may be negative. For
      multilabel, all three are lists, of any length, in the order of the names, and a
      margin is what a label has above its threshold.
    """
    kind, names = model.labels.type, pa.array(model.labels.names, pa.string())
    languages = batch.column("language").to_pylist()
    matrix = probability_matrix(batch, len(names))
    matrix = calibrated(matrix, languages, kind, model.calibration)
    decisions = decide(matrix, languages, kind, model.calibration)
    margins = _margins(matrix, decisions, languages, kind, model.calibration)
    if kind == "multilabel":
        rows, indices = decisions.nonzero()
        margins = margins[rows, indices]
    else:
        rows, indices = np.arange(len(decisions)), decisions
    given = {
        "label": names.take(pa.array(indices)),
        "score": pa.array(matrix[rows, indices]),
        "margin": pa.array(margins.astype(np.float32)),
    }
    if kind == "multilabel":
        counts = decisions.sum(axis=1)
        given = {name: _as_lists(values, counts) for name, values in given.items()}
    every = np.full(len(matrix), len(names))
    probabilities = _as_lists(pa.array(matrix.ravel()), every)
    return with_columns(batch, probabilities=probabilities, **given)


def _margins(
    matrix: np.ndarray,
    decisions: np.ndarray,
    languages: Sequence[str | None],
    kind: str,
    calibration: Calibration,
) -> np.ndarray:
    """Returns float32 [rows]; for multilabel [rows, labels]."""
    if kind == "multilabel":
        return matrix - row_thresholds(languages, calibration)
    if kind == "binary":
        return np.abs(matrix[:, 1] - row_thresholds(languages, calibration)[:, 0])
    chosen = np.arange(matrix.shape[1]) == decisions[:, None]
    others = np.where(chosen, -np.inf, matrix).max(axis=1)
    return matrix[chosen] - others


def probability_matrix(batch: pa.RecordBatch, classes: int) -> np.ndarray:
    """Returns the `probabilities` column as float32 [rows, classes]."""
    return np.asarray(batch.column("probabilities").flatten()).reshape(-1, classes)


def _as_lists(values: pa.Array, lengths: np.ndarray) -> pa.ListArray:
    offsets = np.append(0, lengths.cumsum()).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
