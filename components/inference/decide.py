"""Probabilities to labels."""

import numpy as np
import pyarrow as pa

from reviewbeam.components.common.columns import with_columns
from reviewbeam.components.common.model_directory import ModelMetadata


def with_labels(batch: pa.RecordBatch, model: ModelMetadata) -> pa.RecordBatch:
    """Adds `label` (string) and `score` (float32, the label's probability).

    A binary label is the positive class from the model's threshold on; of several
    classes the most probable one is taken, the first of equals.
    """
    names = pa.array(model.labels.names, pa.string())
    probabilities = probability_matrix(batch, len(names))
    if model.labels.type == "binary":
        index = (probabilities[:, 1] >= model.calibration.thresholds[0]).astype(
            np.int64
        )
    else:
        index = probabilities.argmax(axis=1)
    score = probabilities[np.arange(len(index)), index]
    return with_columns(
        batch, label=names.take(pa.array(index)), score=pa.array(score, pa.float32())
    )


def probability_matrix(batch: pa.RecordBatch, classes: int) -> np.ndarray:
    """Returns the `probabilities` column as float32 [rows, classes]."""
    return np.asarray(batch.column("probabilities").flatten()).reshape(-1, classes)
