"""Trainings and evaluations for the tests of their pages, of numbers alone."""

import html
import json
import re

import numpy as np

from reviewbeam.components.common.calibration import Calibration
from reviewbeam.components.common.evaluate_config import (
    BootstrapConfig,
    EvaluateConfig,
)
from reviewbeam.components.common.model_directory import ModelMetadata
from reviewbeam.components.evaluation.blessing_text import rule_text, worst_first
from reviewbeam.components.evaluation.metrics import evaluate_predictions
from reviewbeam.components.evaluation.mistakes import confident_mistakes
from reviewbeam.components.evaluation.reliability import before_and_after
from reviewbeam.components.evaluation.table import (
    differences_table,
    heading,
    report_tables,
)
from reviewbeam.components.reporting.evaluation_page import Evaluation, text_table
from reviewbeam.components.reporting.training import Training
from tests.components.evaluation.rows import random_predictions

NAMES = ("negative", "neutral", "positive")
CONFIG = EvaluateConfig(
    bootstrap=BootstrapConfig(resamples=20), slices=("language", "length")
)
RUN = {
    "dataset": "data/reviews",
    "encoder": "encoders/small",
    "finished": "2026-01-02T03:04:05Z",
    "seconds": 3725.0,
    "tokens_per_second": 54321,
    "padding_share": 0.034,
    "waiting_share": 0.25,
    "replicas": 2,
    "precision": "bfloat16",
    "peak_memory_bytes": {"host": 5_100_000_000, "GPU:0": 7_700_000_000},
}


def binned(confidence, accuracy, rows):
    """What calibration tells of one bin."""
    point = {"confidence": confidence, "accuracy": accuracy, "rows": rows}
    return {"expected_calibration_error": confidence - accuracy, "bins": [point]}


def make_training(
    names=NAMES, kind="multiclass", languages=("de", "en"), *, rows=600, **changes
):
    """A training of three epochs, the second of which is the best.

    `changes` replaces what history.json says; `run` what run.json does.
    """
    labels = dict.fromkeys(names, rows // len(names))
    split = {
        "examples": rows,
        "tokens": rows * 30,
        "labels": labels,
        "languages": dict.fromkeys(languages, labels),
    }
    thresholds = [0.5] * {"binary": 1, "multilabel": len(names)}.get(kind, 0)
    fitted = {"rows": rows, "temperature": 1.4, "thresholds": thresholds}
    metadata = ModelMetadata.model_validate(
        {
            "labels": {"type": kind, "names": names},
            "text": {},
            "split": {},
            "config": {"encoder": "e", "training": {"epochs": 4, "patience": 1}},
            "language_detector": None,
            "vocabulary_sha256": "v",
            "weights_sha256": "w",
            "encoder_fingerprint": "e",
            "dataset_fingerprint": "d",
            "initial_model": None,
            "class_weights": [1.25] * len(names),
            "calibration": fitted | {"languages": {languages[0]: fitted}},
            "training_statistics": {
                "train": split,
                "validation": split,
                "predictions": {
                    "calibration": {
                        "before": binned(0.9, 0.7, rows),
                        "after": binned(0.75, 0.72, rows),
                    }
                },
            },
            "versions": {"python": "3.11.7"},
        }
    )
    epochs = [
        {
            "epoch": epoch,
            "steps": 100 * epoch,
            "learning_rate": 3e-4 / epoch,
            "padding_share": 0.03,
            "training": {"loss": 1.0 / epoch},
            "validation": {
                "loss": 0.9,
                "accuracy": 0.8 - abs(epoch - 2) / 10,
                "macro_f1": 0.7654 - abs(epoch - 2) / 10,
                "error": 0.2345 if kind == "ordinal" else None,
            },
        }
        for epoch in (1, 2, 3)
    ]
    history = {
        "best_epoch": 2,
        "validation": epochs[1]["validation"],
        "epochs": epochs,
        "curve": [
            {"step": step, "loss": 9 / step, "learning_rate": 1e-4}
            for step in range(2, 301, 2)
        ],
        "seen": [{"language": c, "rows": 10, "seen": 10} for c in languages],
    }
    run = changes.pop("run", RUN)
    return Training(metadata, history | changes, run)


def without_validation(training):
    """The same training, of a dataset that has no validation split."""
    bare = [epoch | {"validation": None} for epoch in training.history["epochs"]]
    found = training.metadata.model_dump(mode="json")
    found["training_statistics"]["validation"] = {"examples": 0, "tokens": 0}
    found["training_statistics"]["predictions"] = None
    found["calibration"] = {}
    found["config"]["training"]["early_stopping_metric"] = "none"
    history = {"validation": None, "epochs": bare, "best_epoch": 3}
    return Training(
        ModelMetadata.model_validate(found),
        training.history | history,
        training.run,
    )


def make_metrics(
    kind="multiclass",
    names=NAMES,
    *,
    rows=200,
    text=None,
    config=CONFIG,
    drawn=None,
    **columns,
):
    """What metrics.json holds, read back from JSON."""
    drawn = drawn or random_predictions(kind, len(names), rows, 3, **columns)
    metrics = evaluate_predictions(drawn, names, kind, config)
    mistakes = [m.described for m in confident_mistakes(drawn, names, kind, 20)]
    for mistake in mistakes if text is not None else ():
        mistake["text"] = text
    calibration = Calibration(temperature=1.5)
    metrics |= {
        "mistakes": mistakes,
        "reliability": before_and_after(drawn, kind, calibration),
        "split": "test",
        "gold": False,
        "seen_in_training": {"training": 0, "validation": 0},
    }
    return json.loads(json.dumps(metrics, sort_keys=True))


def make_evaluation(metrics, verdict=None):
    """What the page of an evaluation is made from."""
    tables = report_tables(metrics)
    if verdict and "differences" in verdict:
        tables["differences"] = differences_table(
            verdict["differences"], metrics["type"]
        )
    rules = worst_first(verdict) if verdict else []
    return Evaluation(
        metrics=metrics,
        heading=heading(metrics),
        verdict=verdict,
        rules=[(rule["verdict"], rule_text(rule)) for rule in rules],
        tables={name: text_table(t.header, t.rows) for name, t in tables.items()},
        notes={name: table.note for name, table in tables.items()},
        facts=["model models/new", "dataset data/reviews"],
    )


def languages(count, rows):
    """As many languages as asked for, the first ones with the most rows."""
    codes = [f"{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(count)]
    places = np.minimum(np.arange(rows) // 2, count - 1)
    return [codes[place] for place in places]


def words(page):
    """What a page says, without a browser: its text, with single spaces."""
    body = page[page.index("<body>") :]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())
