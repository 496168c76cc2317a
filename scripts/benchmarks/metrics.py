"""How long the figures of `evaluate` take, on predictions that are drawn at random.

One core, the config's default resamples; a kept column of 500 values is measured as a
slice too.

    python scripts/benchmarks/metrics.py --rows 10000
"""

import argparse
import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from reviewbeam.components.common.evaluate_config import EvaluateConfig
from reviewbeam.components.evaluation.metrics import evaluate_predictions
from reviewbeam.components.evaluation.predictions import Predictions

_CLASSES = {"binary": 2, "multiclass": 3, "ordinal": 5, "multilabel": 6}
_LANGUAGES = ("de", "en", "es", "fr", "it", "ja", "ko", "pt", None)


def draw(kind: str, rows: int) -> Predictions:
    """Draws calibrated predictions, and languages, lengths and products beside them."""
    random, classes = np.random.default_rng(1), _CLASSES[kind]
    probabilities = random.dirichlet([0.5] * classes, rows).astype(np.float32)
    if kind == "multilabel":
        true = (random.random((rows, classes)) < probabilities).astype(int)
        predicted = (probabilities >= 0.5).astype(int)
    else:
        cumulated = probabilities.cumsum(axis=1)[:, :-1]
        true = (random.random((rows, 1)) > cumulated).sum(axis=1)
        predicted = probabilities.argmax(axis=1)
    tokens = random.integers(3, 300, rows)
    return Predictions(
        ids=[f"r{row}" for row in range(rows)],
        languages=random.choice(np.array(_LANGUAGES, object), rows).tolist(),
        true=true,
        predicted=predicted,
        probabilities=probabilities,
        tokens=tokens,
        truncated=tokens > 256,
        count=np.ones(rows, np.int64),
        kept={"product": [f"p{n}" for n in random.integers(0, 500, rows)]},
    )


def main() -> None:
    """Prints a line for each type of labels: seconds of processor time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    rows = parser.parse_args().rows
    config = EvaluateConfig()
    more = config.model_copy(update={"slices": (*config.slices, "product")})
    print(
        f"{rows} rows, {config.bootstrap.resamples} resamples: default slices, product"
    )
    for kind, classes in _CLASSES.items():
        predictions, names = draw(kind, rows), tuple("abcdef"[:classes])
        seconds = []
        for chosen in (config, more):
            started = time.process_time()
            evaluate_predictions(predictions, names, kind, chosen)
            seconds.append(time.process_time() - started)
        print(f"{kind:<12}" + "".join(f"{figure:8.1f} s" for figure in seconds))


if __name__ == "__main__":
    main()
