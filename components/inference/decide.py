"""Probabilities to labels."""

import numpy as np
import pyarrow as pa

from reviewbeam.components.common.calibration import calibrated, decide
from reviewbeam.components.common.columns import with_columns
from reviewbeam.components.common.model_directory import ModelMetadata


def with_labels(batch: pa.RecordBatch, model: ModelMetadata) -> pa.RecordBatch:
    """Calibrates the probabilities of a model and adds the labels that they give.

    Args:
      batch: with the columns `language` (string) and `probabilities` (list<float32>).
      model: labels and calibration.

    Returns:
      The batch with calibrated `probabilities`, and `label` (string) and `score`
      (float32, the label's probability). For multilabel these are lists, of any
      length, in the order of the names.
    """
    kind, names = model.labels.type, pa.array(model.labels.names, pa.string())
    languages = batch.column("language").to_pylist()
    matrix = probability_matrix(batch, len(names))
    matrix = calibrated(matrix, languages, kind, model.calibration)
    decisions = decide(matrix, languages, kind, model.calibration)
    if kind == "multilabel":
        rows, indices = decisions.nonzero()
        counts = decisions.sum(axis=1)
    else:
        rows, indices = np.arange(len(decisions)), decisions
    label = names.take(pa.array(indices))
    score = pa.array(matrix[rows, indices])
    if kind == "multilabel":
        label, score = _as_lists(label, counts), _as_lists(score, counts)
    every = np.full(len(matrix), len(names))
    probabilities = _as_lists(pa.array(matrix.ravel()), every)
    return with_columns(batch, probabilities=probabilities, label=label, score=score)


def probability_matrix(batch: pa.RecordBatch, classes: int) -> np.ndarray:
    """Returns the `probabilities` column as float32 [rows, classes]."""
    return np.asarray(batch.column("probabilities").flatten()).reshape(-1, classes)


def _as_lists(values: pa.Array, lengths: np.ndarray) -> pa.ListArray:
    offsets = np.append(0, lengths.cumsum()).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
