"""Rows of predictions for tests."""

import numpy as np

from reviewbeam.components.evaluation.figures import FigureSet
from reviewbeam.components.evaluation.predictions import Predictions


def predictions_of(true, predicted, languages, probabilities, **columns):
    """Predictions with as little said as a test needs; `columns` replaces the rest."""
    rows = len(languages)
    return Predictions(
        **{
            "ids": [f"r{i:03d}" for i in range(rows)],
            "languages": languages,
            "true": np.asarray(true),
            "predicted": np.asarray(predicted),
            "probabilities": np.asarray(probabilities, np.float32),
            "tokens": np.full(rows, 10),
            "truncated": np.zeros(rows, bool),
            "count": np.ones(rows, np.int64),
            "kept": {},
        }
        | columns
    )


def figures(true, predicted, probabilities, kind, names, weights=None):
    """Figures that have a denominator, of all rows."""
    weights = np.ones(len(true)) if weights is None else np.asarray(weights, np.float64)
    values = FigureSet(true, predicted, probabilities, kind, names)(weights[:, None])
    return {n: float(v[0]) for n, v in values.items() if not np.isnan(v[0])}


def random_predictions(kind, classes, rows, seed, **columns):
    """Predictions whose labels were drawn from their probabilities."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet([0.7] * classes, rows).astype(np.float32)
    chance = random.random((rows, classes))
    if kind == "multilabel":
        true = (chance < probabilities).astype(int)
        predicted = (probabilities >= 0.5).astype(int)
    else:
        true = (chance[:, :1] > probabilities.cumsum(axis=1)[:, :-1]).sum(axis=1)
        predicted = probabilities.argmax(axis=1)
    languages = random.choice(np.array(["de", "fr", None, ""], object), rows).tolist()
    columns = {"languages": languages} | columns
    return predictions_of(true, predicted, probabilities=probabilities, **columns)
