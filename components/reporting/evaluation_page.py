"""The page of an evaluation: the verdict, the figures behind it, and the training."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from reviewbeam.components.common.blessing_config import (
    BROKEN,
    HOLDS,
    NO,
    UNDECIDED,
    YES,
)
from reviewbeam.components.reporting.evaluation_figures import (
    confused_labels,
    evaluation_plots,
    figure_name,
    main_figure,
)
from reviewbeam.components.reporting.page import Table, Tile, Verdict, render
from reviewbeam.components.reporting.shown import count, figure, shown
from reviewbeam.components.reporting.training import (
    Training,
    training_section,
)

_LONG = 300  # characters of a sentence in a table
_NUMBER = re.compile(r"(up to )?[-+]?\d[\d.,e+-]*( to [-+]?\d[\d.,e+-]*)?|–|")
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
      facts: what it was made from, and when.
    """

    metrics: Mapping[str, Any]
    heading: str
    verdict: Mapping[str, Any] | None
    rules: Sequence[tuple[str, str]]
    tables: Mapping[str, Table]
    notes: Mapping[str, str]
    facts: Sequence[str]


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Makes a table of what stands in report.txt, numbers to the right.

    Args:
      header: names of the columns; an empty one is of an interval, the first one of
        figures.
      rows: of texts; a column of empty ones is left out.
    """
    columns, cells = [], []
    for place, (name, *column) in enumerate(zip(header, *rows, strict=True)):
        if rows and not any(column):
            continue
        number = all(map(_NUMBER.fullmatch, column))
        name = name or ("95 % interval" if place else "figure")
        columns.append((name, "number" if number else "text"))
        if name == "text":  # of a review
            column = [cell and shown(cell, _LONG) for cell in column]
        cells.append([cell or None for cell in column])
    return Table.cut(columns, zip(*cells, strict=True), where="report.txt")


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
        subtitle=" · ".join(evaluation.facts),
        verdict=_verdict(evaluation),
        tiles=_tiles(metrics, verdict.get("differences", {})),
        rules=Table.cut(
            [("verdict", "text"), ("rule", "text")],
            ((_badge(said), shown(text, _LONG)) for said, text in evaluation.rules),
            where="blessing.json",
        ),
        judged=verdict,
        tables=evaluation.tables,
        notes=evaluation.notes,
        plots=evaluation_plots(metrics),
        confused=confused_labels(metrics),
        training=training and training_section(training),
    )


def _verdict(evaluation: Evaluation) -> Verdict:
    verdict, rules = evaluation.verdict, evaluation.rules
    found = _summary(evaluation.metrics)
    if verdict is None or verdict.get("rules_given") is None:
        return Verdict("plain", "Not judged: the config has no rules", [found])
    doubts = [f"{said}: {text}" for said, text in rules if said != HOLDS]
    if verdict["verdict"] == YES:
        undecided = sum(said == UNDECIDED for said, _ in rules)
        if undecided:
            words = f"Blessed: no rule is broken, {undecided} of {len(rules)} undecided"
            return Verdict("warning", words, [*doubts, found])
        words = f"Blessed: {len(rules)} of {len(rules)} rules hold"
        return Verdict("good", words, [*doubts, found])
    if verdict["verdict"] == NO:
        return Verdict("bad", f"Not blessed: {verdict['reason']}", [*doubts, found])
    words = "No verdict on the model"
    return Verdict("warning", words, [verdict["reason"], *doubts, found])


def _badge(said: str) -> Markup:
    tone = {HOLDS: "good", BROKEN: "bad", UNDECIDED: "warning"}.get(said, "plain")
    return Markup('<span class="badge {}">{}</span>').format(tone, said)


def _summary(metrics: Mapping[str, Any]) -> str:
    overall, name = metrics["overall"], main_figure(metrics)
    main, accuracy = overall["figures"][name], overall["figures"]["accuracy"]
    exact = "exact match" if metrics["type"] == "multilabel" else "accuracy"
    return (
        f"{figure_name(name)} {_with_interval(main)}, "
        f"{exact} {_with_interval(accuracy)} on {count(overall['rows'])} reviews."
    )


def _with_interval(found: Mapping[str, Any]) -> str:
    interval = _interval(found)
    return figure(found["value"]) + (f" ({interval})" if interval else "")


def _interval(found: Mapping[str, Any]) -> str:
    if not found["interval"]:
        return ""
    low, high = found["interval"]
    return f"{figure(low)} to {figure(high)}"


def _tiles(
    metrics: Mapping[str, Any], differences: Mapping[str, Mapping[str, Any]]
) -> list[Tile]:
    overall, main = metrics["overall"], main_figure(metrics)
    figures = overall["figures"]
    names = {main: figure_name(main)}
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
    codes = len(metrics["languages"])
    languages = f"{codes} language" + "s" * (codes != 1)
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
    title = f"{figure_name(name)} against the baseline"
    return Tile(title, f"{found['difference']:+.3f}", note, tone)
