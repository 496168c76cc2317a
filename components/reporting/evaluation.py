"""The page of an evaluation: the verdict, the figures behind it, and the training."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from reviewbeam.components.common.blessing_config import NO, UNDECIDED, YES
from reviewbeam.components.reporting import plots
from reviewbeam.components.reporting.page import ROWS, Table, Tile, Verdict, render
from reviewbeam.components.reporting.shown import count, figure
from reviewbeam.components.reporting.training import (
    Training,
    reliability_plot,
    training_section,
)

_CELLS = 12  # classes of a confusion matrix that can be read
_PAIRS = 15  # of confused classes
_SEEN_TOO = 0.01  # share of the rows that training saw: the figures flatter


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
      metrics: what metrics.json holds.
      heading: what was evaluated, in a few words.
      verdict: what blessing.json holds; None: nothing was asked.
      rules: verdict on each rule and what it says, those that don't hold first.
      tables: by what they are of: overall, classes, languages, worst, calibration,
        mistakes, and with a baseline differences.
      notes: a sentence or none to each of them.
      facts: name -> what the evaluation was made from.
    """

    metrics: Mapping[str, Any]
    heading: str
    verdict: Mapping[str, Any] | None
    rules: Sequence[tuple[str, str]]
    tables: Mapping[str, Table]
    notes: Mapping[str, str]
    facts: Mapping[str, Any]


def evaluation_page(evaluation: Evaluation, training: Training | None) -> str:
    """Returns the page that lies beside an evaluation, as HTML.

    Args:
      evaluation: what was found.
      training: of the model; None: it tells nothing of it.
    """
    metrics, verdict = evaluation.metrics, evaluation.verdict or {}
    return render(
        "evaluation.html.jinja",
        title=evaluation.heading,
        kind="evaluation",
        subtitle=" · ".join(f"{k} {v}" for k, v in evaluation.facts.items() if v),
        verdict=_verdict(evaluation),
        tiles=_tiles(metrics, verdict.get("differences", {})),
        rules=Table.cut(
            [("verdict", "text"), ("rule", "text")],
            evaluation.rules,
            where="blessing.json",
        ),
        judged=verdict,
        tables=evaluation.tables,
        notes=evaluation.notes,
        plots=_plots(metrics),
        confused=_confused(metrics),
        training=training and training_section(training),
    )


def _verdict(evaluation: Evaluation) -> Verdict:
    verdict, rules = evaluation.verdict, evaluation.rules
    found = _summary(evaluation.metrics)
    if verdict is None or verdict.get("rules_given") is None:
        return Verdict("plain", "Not judged: the config has no rules", [found])
    doubts = [f"{said}: {text}" for said, text in rules if said != "holds"]
    if verdict["verdict"] == YES:
        undecided = sum(said == UNDECIDED for said, _ in rules)
        words = f"Blessed: {len(rules) - undecided} of {len(rules)} rules hold"
        words += f", {undecided} undecided" if undecided else ""
        return Verdict("good", words, [*doubts, found])
    if verdict["verdict"] == NO:
        return Verdict("bad", f"Not blessed: {verdict['reason']}", [*doubts, found])
    words = "No verdict on the model"
    return Verdict("warning", words, [verdict["reason"], *doubts, found])


def _summary(metrics: Mapping[str, Any]) -> str:
    overall, name = metrics["overall"], _main_figure(metrics)
    main, accuracy = overall["figures"][name], overall["figures"]["accuracy"]
    exact = "exact match" if metrics["type"] == "multilabel" else "accuracy"
    return (
        f"{_named(name)} {_with_interval(main)}, {exact} {_with_interval(accuracy)} "
        f"on {count(overall['rows'])} reviews."
    )


def _with_interval(found: Mapping[str, Any]) -> str:
    interval = _interval(found)
    return figure(found["value"]) + (f" ({interval})" if interval else "")


def _interval(found: Mapping[str, Any]) -> str:
    if not found["interval"]:
        return ""
    low, high = found["interval"]
    return f"{figure(low)} to {figure(high)}"


def _main_figure(metrics: Mapping[str, Any]) -> str:
    """Of multilabel slices macro F1 counts 0 for each label that they don't have."""
    return "micro_f1" if metrics["type"] == "multilabel" else "macro_f1"


def _named(name: str) -> str:
    return {"micro_f1": "Micro F1", "macro_f1": "Macro F1"}[name]


def _tiles(
    metrics: Mapping[str, Any], differences: Mapping[str, Mapping[str, Any]]
) -> list[Tile]:
    overall, main = metrics["overall"], _main_figure(metrics)
    figures = overall["figures"]
    names = {main: _named(main)}
    names |= {"macro_f1": "Macro F1", "accuracy": "Accuracy"}
    if metrics["type"] == "multilabel":
        names["accuracy"] = "Exact match"
    names["mean_absolute_error"] = "Mean error"
    tiles = [
        Tile(title, figure(figures[name]["value"]), _interval(figures[name]))
        for name, title in names.items()
        if name in figures
    ]
    if main in differences:
        tiles.append(_gain(main, differences[main]))
    before = metrics.get("reliability", {}).get("before", {})
    before = before.get("expected_calibration_error")
    note = "" if before is None else f"uncalibrated: {figure(before)}"
    tiles.append(Tile("Calibration error", figure(figures["ece"]["value"]), note))
    languages = f"{len(metrics['languages'])} languages"
    tiles.append(Tile("Reviews", count(overall["rows"]), languages))
    large = {
        language: measured["figures"][main]["value"]
        for language, measured in metrics["languages"].items()
        if not measured["too_small"]
    }
    if len(large) > 1:
        worst = min(large, key=large.__getitem__)
        tiles.append(Tile("Worst language", figure(large[worst]), worst))
    if seen := metrics.get("seen_in_training", {}).get("training"):
        tone = "warning" if seen > _SEEN_TOO * overall["rows"] else "plain"
        note = "texts that the model was trained on"
        tiles.append(Tile("Seen before", count(seen), note, tone))
    return tiles


def _gain(name: str, found: Mapping[str, Any]) -> Tile:
    tone, interval = "plain", found["interval"]
    if interval and min(interval) > 0:
        tone = "good"
    elif interval and max(interval) < 0:
        tone = "bad"
    note = "{:+.3f} to {:+.3f}".format(*interval) if interval else ""
    title = f"{_named(name)} against the baseline"
    return Tile(title, f"{found['difference']:+.3f}", note, tone)


# === Plots ===


def _plots(metrics: Mapping[str, Any]) -> dict[str, tuple[str, Markup] | None]:
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


def _with_caption(caption: str, svg: Markup | None) -> tuple[str, Markup] | None:
    return svg and (caption, svg)


def _by_rows(slices: Mapping[str, Any]) -> dict[str, Any]:
    return dict(sorted(slices.items(), key=lambda entry: -entry[1]["rows"]))


def _first_number(entry: tuple[str, Any]) -> int:
    """A bucket's place: JSON has them in the order of their letters."""
    return int(re.match(r"\d*", entry[0])[0] or 0)


def _slice_plot(
    metrics: Mapping[str, Any], what: str, slices: Mapping[str, Any]
) -> tuple[str, Markup] | None:
    """Draws the main figure of slices, each beside that of all rows."""
    if not slices:
        return None
    name = _main_figure(metrics)
    drawn = dict(list(slices.items())[:ROWS])
    caption = f"{_named(name)} by {what} (reviews)"
    if len(slices) > ROWS:
        caption += f", the {ROWS} of {len(slices)} with most reviews"
    svg = _bars(
        [f"{value[:40]} ({count(found['rows'])})" for value, found in drawn.items()],
        [found["figures"][name] for found in drawn.values()],
        caption,
        marker=(metrics["overall"]["figures"][name]["value"], "all reviews"),
    )
    return caption, svg


def _class_plot(metrics: Mapping[str, Any]) -> tuple[str, Markup]:
    figures, names = metrics["overall"]["figures"], metrics["label_names"]
    caption = "F1 by label"
    if len(names) > ROWS:
        names = sorted(names, key=lambda name: figures[f"f1.{name}"]["value"])[:ROWS]
        caption += f", the {ROWS} lowest of {len(metrics['label_names'])}"
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


# === Confusion ===


def _confusion_plot(metrics: Mapping[str, Any]) -> tuple[str, Markup] | None:
    matrix, names = metrics["overall"].get("confusion_matrix"), metrics["label_names"]
    if not matrix or len(names) > _CELLS:
        return None
    caption = "Reviews by true label and the model's"
    svg = plots.heat_map(
        names, names, matrix,
        describe=caption, row_axis="true", column_axis="the model's",
    )  # fmt: skip
    return caption, svg


def _confused(metrics: Mapping[str, Any]) -> Table | None:
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
    columns = [("true", "text"), ("taken for", "text"), ("reviews", "count")]
    return Table.cut(
        [*columns, ("of the true label's", "percent")],
        ((true, given, number, share) for number, true, given, share in pairs),
        where="report.txt",
        limit=_PAIRS,
    )
