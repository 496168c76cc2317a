"""The page of a model: how its training went, and what came of it."""

from collections.abc import Mapping
from typing import Any

from reviewbeam.components.common.errors import listing
from reviewbeam.components.reporting.page import Tile, Verdict, render
from reviewbeam.components.reporting.shown import count, figure, percent
from reviewbeam.components.reporting.training import (
    Training,
    training_section,
    training_tiles,
)

_METRICS = {
    "macro_f1": "macro F1",
    "accuracy": "accuracy",
    "loss": "loss",
    "error": "mean error",
}


def model_page(training: Training) -> str:
    """Returns the page that lies beside a model, as HTML."""
    labels = training.metadata.labels
    return render(
        "model.html.jinja",
        title=f"{len(labels.names)} labels: {', '.join(labels.names)}",
        kind="model",
        subtitle=_origin(training.run),
        verdict=_verdict(training),
        tiles=[*_figures(training), *training_tiles(training)],
        training=training_section(training),
        fingerprint=training.metadata.core_fingerprint(),
        versions=training.metadata.versions,
    )


def _origin(run: Mapping[str, Any]) -> str:
    told = [f"{key} {run[key]}" for key in ("dataset", "encoder") if key in run]
    return " · ".join([*told, *([run["finished"]] if "finished" in run else [])])


def _verdict(training: Training) -> Verdict:
    found = training.history.get("validation")
    warnings = _warnings(training)
    tone = "warning" if warnings else "plain"
    if not found:
        return Verdict(
            "warning",
            "Not measured: there was no validation split",
            [*warnings, "The weights are those of the last epoch."],
        )
    rows = training.split("validation").get("examples")
    words = (
        f"Macro F1 {figure(found['macro_f1'])} and accuracy "
        f"{figure(found['accuracy'])} on {count(rows)} validation reviews"
    )
    reasons = [*warnings, _chosen(training)]
    return Verdict(tone, words, [reason for reason in reasons if reason])


def _chosen(training: Training) -> str:
    """Returns how the epoch was chosen, and what that leaves open."""
    config = training.metadata.config.training
    if config.early_stopping_metric == "none":
        return "The weights of the last epoch are kept."
    best, done = training.history["best_epoch"], len(training.history["epochs"])
    metric = _METRICS[config.early_stopping_metric]
    told = f"Of {done} epochs, epoch {best} had the best {metric} and is kept"
    if done < config.epochs:
        told += f"; training stopped {done - best} epochs later"
    if best == config.epochs > 1:
        told += "; it was the last, so more epochs might do better"
    return f"{told}. These rows chose it: evaluate measures on rows that did not."


def _warnings(training: Training) -> list[str]:
    labels, found = training.metadata.labels, training.history.get("validation")
    told = []
    counts = training.split("train").get("labels", {})
    never = [name for name in labels.names if counts and not counts.get(name)]
    if never:
        told.append(
            f"No training review has the label {listing(never, most=5)}: the model "
            "will never give it."
        )
    share = _most_frequent(training)
    if found and share is not None and found["accuracy"] <= share:
        told.append(
            "It is no better than always giving the most frequent label, which is "
            f"right on {percent(share)} of these reviews."
        )
    return told


def _most_frequent(training: Training) -> float | None:
    """Returns the accuracy of always giving one label; None: rows may have several."""
    counts = training.split("validation").get("labels", {})
    if training.metadata.labels.type == "multilabel" or not any(counts.values()):
        return None
    return max(counts.values()) / sum(counts.values())


def _figures(training: Training) -> list[Tile]:
    found = training.history.get("validation")
    if not found:
        return []
    share = _most_frequent(training)
    note = "" if share is None else f"one label for all: {figure(share)}"
    tiles = [
        Tile("Macro F1", figure(found["macro_f1"]), "on validation"),
        Tile("Accuracy", figure(found["accuracy"]), note),
    ]
    if found.get("error") is not None:
        tiles.append(Tile("Mean error", figure(found["error"]), "steps of the scale"))
    return tiles
