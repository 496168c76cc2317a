"""The plots of an evaluation, and which labels it confuses."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from reviewbeam.components.reporting import plots
from reviewbeam.components.reporting.page import ROWS, Table
from reviewbeam.components.reporting.shown import count
from reviewbeam.components.reporting.training_figures import reliability_plot

_CELLS = 12  # classes of a confusion matrix that can be read
_CLASSES = 20  # that have bars
_PAIRS = 15  # of confused classes
Captioned = tuple[str, Markup]


def main_figure(metrics: Mapping[str, Any]) -> str:
    """Returns the figure that slices are held against each other by.

    Of multilabel slices macro F1 counts 0 for each label that they don't have.
    """
    return "micro_f1" if metrics["type"] == "multilabel" else "macro_f1"


def figure_name(name: str) -> str:
    """Returns how a person reads the main figure's name."""
    return {"micro_f1": "Micro F1", "macro_f1": "Macro F1"}[name]


def evaluation_plots(
    metrics: Mapping[str, Any],
) -> dict[str, Captioned | None]:
    """Returns what a plot is of -> its caption and the plot; None: there is none."""
    lengths = metrics["slices"].get("length", {})
    return {
        "confusion": _confusion_plot(metrics),
        "classes": _class_plot(metrics),
        "languages": _slice_plot(metrics, "language", _by_rows(metrics["languages"])),
        "lengths": _slice_plot(
            metrics, "length", dict(sorted(lengths.items(), key=_first_number))
        ),
        "reliability": _with_caption(
            "How often it is right, by how sure it is",
            reliability_plot(metrics.get("reliability", {})),
        ),
    }


def _with_caption(caption: str, svg: Markup | None) -> Captioned | None:
    return svg and (caption, svg)


def _by_rows(slices: Mapping[str, Any]) -> dict[str, Any]:
    return dict(sorted(slices.items(), key=lambda entry: -entry[1]["rows"]))


def _first_number(entry: tuple[str, Any]) -> int:
    """A bucket's place: JSON has them in the order of their letters."""
    return int(re.match(r"\d*", entry[0])[0] or 0)


def _slice_plot(
    metrics: Mapping[str, Any], what: str, slices: Mapping[str, Any]
) -> Captioned | None:
    """Draws the main figure of slices, each beside that of all rows."""
    if not slices:
        return None
    name = main_figure(metrics)
    drawn = dict(list(slices.items())[:ROWS])
    caption = f"{figure_name(name)} by {what} (reviews)"
    if len(slices) > ROWS:
        caption += f", the {ROWS} of {len(slices)} with most reviews"
    svg = _bars(
        [f"{value[:40]} ({count(found['rows'])})" for value, found in drawn.items()],
        [found["figures"][name] for found in drawn.values()],
        caption,
        marker=(metrics["overall"]["figures"][name]["value"], "all reviews"),
    )
    return caption, svg


def _class_plot(metrics: Mapping[str, Any]) -> Captioned:
    figures, names = metrics["overall"]["figures"], metrics["label_names"]
    caption = "F1 by label"
    if len(names) > _CLASSES:
        names = sorted(names, key=lambda name: figures[f"f1.{name}"]["value"])
        names = names[:_CLASSES]
        caption += f", the {_CLASSES} lowest of {len(metrics['label_names'])}"
    return caption, _bars(names, [figures[f"f1.{name}"] for name in names], caption)


def _bars(
    names: Sequence[str],
    found: Sequence[Mapping[str, Any]],
    describe: str,
    marker: tuple[float, str] | None = None,
) -> Markup:
    return plots.bars(
        names,
        [each["value"] for each in found],
        describe=describe,
        form="figure",
        intervals=[each["interval"] and tuple(each["interval"]) for each in found],
        marker=marker,
        limits=(0, 1),
    )


def _confusion_plot(metrics: Mapping[str, Any]) -> Captioned | None:
    matrix, names = metrics["overall"].get("confusion_matrix"), metrics["label_names"]
    if not matrix or len(names) > _CELLS:
        return None
    caption = "Reviews by true and predicted label"
    svg = plots.heat_map(
        names, names, matrix,
        describe=caption, row_axis="true", column_axis="predicted",
    )  # fmt: skip
    return caption, svg


def confused_labels(metrics: Mapping[str, Any]) -> Table | None:
    """Returns the labels most often taken for another; None: rows have several."""
    matrix, names = metrics["overall"].get("confusion_matrix"), metrics["label_names"]
    if not matrix:
        return None
    pairs = [
        (number, true, given, number / sum(row))
        for true, row in zip(names, matrix, strict=True)
        for given, number in zip(names, row, strict=True)
        if true != given and number
    ]
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    columns = [("true", "text"), ("predicted", "text"), ("reviews", "count")]
    return Table.cut(
        [*columns, ("share of the true label", "percent")],
        ((true, given, number, share) for number, true, given, share in pairs),
        where="report.txt",
        limit=_PAIRS,
    )
