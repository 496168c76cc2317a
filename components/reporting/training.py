"""What pages tell of a training: its curves, what it learned from, how it was set."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from reviewbeam.components.common.model_directory import (
    HISTORY,
    METADATA,
    ModelMetadata,
)
from reviewbeam.components.common.prepare_config import AUGMENTED, SPLITS
from reviewbeam.components.common.train_config import TrainConfig
from reviewbeam.components.reporting.charts import (
    NOT_KNOWN,
    label_mix,
    largest_first,
)
from reviewbeam.components.reporting.page import Table, Tile
from reviewbeam.components.reporting.shown import (
    count,
    duration,
    figure,
    percent,
    size,
)
from reviewbeam.components.reporting.training_figures import (
    reliability_plot,
    training_curves,
)

_WAITING = 0.1  # of the time: the devices are kept from their work
# What decides most; whatever else is not at its default is told too.
_SETTINGS = (
    "training.epochs",
    "training.batch_tokens",
    "training.learning_rate",
    "training.schedule",
    "training.class_weights",
    "training.early_stopping_metric",
    "model.pooling",
    "model.freeze_layers",
    "loss.name",
    "sampling",
    "training.seed",
)


@dataclasses.dataclass(frozen=True)
class Training:
    """What a model directory tells of its training.

    Attributes:
      metadata: of the model.
      history: what history.json holds; {}: there is none.
      run: what run.json holds; {}: there is none.
    """

    metadata: ModelMetadata
    history: Mapping[str, Any]
    run: Mapping[str, Any]

    def split(self, name: str) -> Mapping[str, Any]:
        """Returns the statistics of a split; {}: none are known."""
        return self.metadata.training_statistics.get(name) or {}


def training_section(training: Training) -> dict[str, Any]:
    """Returns what `training.html.jinja` shows: plots, and tables with their titles."""
    return {
        "tiles": training_tiles(training),
        "curves": list(training_curves(training.history)),
        "epochs": _epochs(training),
        "calibration": _calibration(training),
        "mix": _mix(training),
        "splits": _splits(training),
        "labels": _labels(training),
        "languages": _languages(training),
        "against": _against(training),
        "settings": _settings(training.metadata.config),
    }


def training_tiles(training: Training) -> list[Tile]:
    """Returns how the training went on its machine, as far as that is known."""
    run, train = training.run, training.split("train")
    tiles = []
    if "examples" in train:
        tokens = train.get("tokens")
        note = f"{count(tokens)} tokens" if tokens else ""
        tiles.append(Tile("Training reviews", count(train["examples"]), note))
    if run.get("tokens_per_second"):
        speed = count(run["tokens_per_second"])
        tiles.append(Tile("Tokens a second", speed, "padding not counted"))
    if "padding_share" in run:
        share = percent(run["padding_share"])
        tiles.append(Tile("Padding", share, "of what was computed"))
    if "waiting_share" in run:
        waited = run["waiting_share"]
        tone = "warning" if waited > _WAITING else "plain"
        note = "of the devices' time"
        tiles.append(Tile("Waiting for input", percent(waited), note, tone))
    if "seconds" in run:
        tiles.append(Tile("Time", duration(run["seconds"]), "with writing the model"))
    if "replicas" in run:
        precision = f"computing in {run.get('precision')}"
        tiles.append(Tile("Devices", count(run["replicas"]), precision))
    if memory := run.get("peak_memory_bytes"):
        most = max(memory, key=memory.__getitem__)
        tiles.append(Tile("Most memory", size(memory[most]), most))
    return tiles


def _epochs(training: Training) -> Table:
    best = training.history["best_epoch"]
    keys = {"loss": "validation loss", "macro_f1": "macro F1", "accuracy": "accuracy"}
    keys["error"] = "mean error"
    epochs = training.history["epochs"]
    known = [
        key
        for key in keys
        if any((epoch["validation"] or {}).get(key) is not None for epoch in epochs)
    ]
    rows = [
        (
            f"{epoch['epoch']}" + " (kept)" * (epoch["epoch"] == best),
            epoch["steps"],
            epoch["training"]["loss"],
            *((epoch["validation"] or {}).get(key) for key in known),
            epoch.get("padding_share"),
        )
        for epoch in epochs
    ]
    columns = [("epoch", "text"), ("steps", "count"), ("training loss", "figure")]
    columns += [(keys[key], "figure") for key in known] + [("padding", "percent")]
    return Table.cut(columns, rows, where=HISTORY)


def _calibration(training: Training) -> dict[str, Any] | None:
    """Returns what was fitted on validation; None: nothing was."""
    fitted = training.metadata.calibration
    if not fitted.rows:
        return None
    predictions = training.split("predictions")
    told = predictions.get("calibration") or {}
    slices = [("all", fitted), *sorted(fitted.languages.items())]
    rows = [
        (
            name,
            part.rows,
            part.temperature,
            ", ".join(figure(value) for value in part.thresholds) or None,
        )
        for name, part in slices
    ]
    columns = [("language", "text"), ("reviews", "count"), ("temperature", "figure")]
    return {
        "errors": [
            told[when]["expected_calibration_error"]
            for when in ("before", "after")
            if when in told
        ],
        "plot": reliability_plot(told),
        "table": Table.cut([*columns, ("thresholds", "text")], rows, where=METADATA),
    }


def _mix(training: Training) -> Markup | None:
    """Draws the labels of each language in training."""
    languages = {
        code: labels
        for code, labels in training.split("train").get("languages", {}).items()
        if isinstance(labels, Mapping)
    }
    if not languages:
        return None
    return label_mix(
        largest_first(languages),
        training.metadata.labels.names,
        "Share of the labels in each language's training reviews",
    )


def _splits(training: Training) -> Table:
    found = {name: training.split(name) for name in (*SPLITS, AUGMENTED)}
    rows = [
        (name, split["examples"], split.get("tokens"))
        for name, split in found.items()
        if split
    ]
    columns = [("split", "text"), ("reviews", "count"), ("tokens", "count")]
    return Table(columns, rows)


def _labels(training: Training) -> Table:
    metadata = training.metadata
    splits = [name for name in ("train", "validation") if training.split(name)]
    rows = [
        (name, *(training.split(s).get("labels", {}).get(name, 0) for s in splits), w)
        for name, w in zip(metadata.labels.names, metadata.class_weights, strict=True)
    ]
    columns = [("label", "text"), *((name, "count") for name in splits)]
    return Table.cut([*columns, ("class weight", "figure")], rows, where=METADATA)


def _languages(training: Training) -> Table | None:
    """Returns what an epoch sees of each language; None: all of its rows, once."""
    seen = training.history.get("seen", [])
    if all(entry["seen"] == entry["rows"] for entry in seen):
        return None
    columns = [("language", "text"), ("reviews", "count"), ("seen an epoch", "count")]
    rows = [(e["language"] or NOT_KNOWN, e["rows"], e["seen"]) for e in seen]
    return Table.cut(columns, rows, where=HISTORY)


def _against(training: Training) -> Table | None:
    entries = training.history.get("against_initial")
    if not entries:
        return None
    keys = ("macro_f1", "accuracy")
    rows = [
        (
            entry["language"] or NOT_KNOWN,
            entry["rows"],
            *(entry[when][key] for key in keys for when in ("before", "after")),
        )
        for entry in entries
    ]
    columns = [("language", "text"), ("reviews", "count")]
    for name in ("macro F1", "accuracy"):
        columns += [(f"{name} before", "figure"), (f"{name} after", "figure")]
    return Table.cut(columns, rows, where=HISTORY)


def _settings(config: TrainConfig) -> Table:
    default = dict(_flat(TrainConfig(encoder=config.encoder).model_dump(mode="json")))
    rows = [
        (key, _said(value), _said(default.get(key)))
        for key, value in _flat(config.model_dump(mode="json"))
        if key in _SETTINGS or (key != "encoder" and value != default.get(key))
    ]
    columns = [("setting", "text"), ("value", "text"), ("default", "text")]
    return Table.cut(columns, rows, where=METADATA)


def _flat(config: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield before + key, value


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else f"{value}"
