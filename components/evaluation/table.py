"""Metrics as tables that a person reads."""

import dataclasses
from collections.abc import Mapping
from typing import Any

_NONE = "–"
_TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "micro_f1": "micro F1",
    "hamming_loss": "hamming loss",
    "mcc": "Matthews correlation",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "calibration error",
    "mean_absolute_error": "mean error",
    "within_one": "within one",
    "quadratic_weighted_kappa": "quadratic kappa",
}
# Type of labels -> figures of a language or a slice besides its rows.
_OF_SLICES = {
    "binary": ("accuracy", "macro_f1"),
    "multiclass": ("accuracy", "macro_f1"),
    "multilabel": ("accuracy", "macro_f1", "micro_f1", "hamming_loss"),
    "ordinal": (
        "accuracy",
        "macro_f1",
        "mean_absolute_error",
        "within_one",
        "quadratic_weighted_kappa",
    ),
}
_WORST = 10  # slices of the summary
_WIDEST = 80  # characters of a cell of the report


@dataclasses.dataclass(frozen=True)
class Table:
    """A table, and what to know about it."""

    title: str
    header: list[str]
    rows: list[list[str]]
    note: str = ""


def heading(metrics: dict[str, Any]) -> str:
    """Returns what was evaluated, and how many of its rows the model knows."""
    what = "gold set" if metrics["gold"] else f"{metrics['split']} split"
    seen = metrics["seen_in_training"]["training"]
    trained = f"; the model was trained on the texts of {seen} rows" if seen else ""
    return f"Evaluation on the {what}{trained}"


def summary_tables(metrics: dict[str, Any]) -> list[Table]:
    """Returns the tables of a summary: all rows, languages, worst slices, verdicts."""
    worst = _worst_table(metrics, _WORST)
    tables = [
        _overall_table(metrics),
        _slice_table("Per language", "language", metrics),
    ]
    return [*tables, *([worst] if worst.rows else []), _calibration_table(metrics)]


def report(metrics: dict[str, Any]) -> str:
    """Returns all that a person wants to know of an evaluation, as plain text."""
    texts = [_text(t) for t in report_tables(metrics).values() if t.rows]
    return "\n\n".join([heading(metrics), *texts]) + "\n"


def report_tables(metrics: dict[str, Any]) -> dict[str, Table]:
    """Returns the tables of a report: what one is of -> the table, perhaps empty."""
    overall, names = metrics["overall"], metrics["label_names"]
    matrix = overall.get("confusion_matrix", [])
    counts = [
        [name, *(f"{n:g}" for n in row)]
        for name, row in zip(names, matrix, strict=False)
    ]
    return {
        "overall": _overall_table(metrics),
        "classes": _class_table(metrics),
        "languages": _slice_table("Per language", "language", metrics),
        "worst": _worst_table(metrics, None),
        "calibration": _calibration_table(metrics),
        "confusion": Table("True class by predicted class", ["", *names], counts),
        "mistakes": _mistakes_table(metrics),
    }


def differences_table(differences: Mapping[str, Mapping[str, Any]], kind: str) -> Table:
    """Returns how a model's figures differ from another's, on the rows of both.

    Args:
      differences: of a verdict.
      kind: the type of the labels.
    """
    rows = [
        [
            _title(name, kind),
            _number(found["model"]),
            _number(found["baseline"]),
            f"{found['difference']:+.3f}",
            _interval(found),
        ]
        for name, found in ((n, differences[n]) for n in _TITLES if n in differences)
    ]
    header = ["", "model", "baseline", "difference", "95 % interval"]
    return Table("Against the baseline", header, rows)


def _title(figure: str, kind: str) -> str:
    if figure == "accuracy" and kind == "multilabel":
        return "exact match"
    return _TITLES[figure]


def _overall_table(metrics: dict[str, Any]) -> Table:
    kind, figures = metrics["type"], metrics["overall"]["figures"]
    rows = [
        [_title(name, kind), _number(figures[name]["value"]), _interval(figures[name])]
        for name in _TITLES
        if name in figures
    ]
    notes = []
    if resamples := metrics["bootstrap"]["resamples"]:
        notes.append(f"95 % intervals of {resamples} bootstrap resamples of the rows.")
    if metrics["weight_by"] != "none":
        notes.append(f"Rows are weighted by their {metrics['weight_by']}.")
    notes += [
        f"No {_title(name, kind)}: {figures[name]['reason']}."
        for name in _TITLES
        if name in figures and figures[name]["value"] is None
    ]
    title = f"All {metrics['overall']['rows']} rows"
    return Table(title, ["", "value", "95 % interval"], rows, " ".join(notes))


def _class_table(metrics: dict[str, Any]) -> Table:
    overall, rows = metrics["overall"], []
    keys = ("precision", "recall", "f1")
    for name in metrics["label_names"]:
        figures = [overall["figures"][f"{key}.{name}"] for key in keys]
        cells = [cell for f in figures for cell in (_number(f["value"]), _interval(f))]
        rows.append([name, f"{overall['classes'][name]['support']:g}", *cells])
    for average in ("micro", "macro", "weighted"):
        if average in overall:
            figures = [overall["figures"][f"{average}_{key}"] for key in keys]
            each = [(_number(f["value"]), _interval(f)) for f in figures]
            rows.append([f"({average})", "", *(cell for pair in each for cell in pair)])
    header = ["class", "rows", "precision", "", "recall", "", "F1", ""]
    return Table("Per class", header, rows)


def _slice_table(title: str, first: str, metrics: dict[str, Any]) -> Table:
    kind = metrics["type"]
    columns, rows = _OF_SLICES[kind], []
    everything = {"all": metrics["overall"]} | metrics["languages"]
    for name, measured in everything.items():
        cells = []
        for column in columns:
            figure = measured["figures"][column]
            cells += [_number(figure["value"]), _interval(figure)]
        small = " (too small)" if measured.get("too_small") else ""
        rows.append([name + small, f"{measured['rows']}", *cells])
    header = [first, "rows"]
    for column in columns:
        header += [_title(column, kind), ""]
    return Table(title, header, rows)


def _worst_table(metrics: dict[str, Any], most: int | None) -> Table:
    listed = metrics["worst_slices"]
    rows = [
        [
            f"{entry['slice']}: {entry['value']}"
            + (" (too small)" if entry["too_small"] else ""),
            f"{entry['rows']}",
            _number(entry["figure_value"]),
            _interval(entry),
        ]
        for entry in listed[:most]
    ]
    title = _title(listed[0]["figure"], metrics["type"]) if listed else ""
    left = len(listed) - len(rows)
    note = f"{left} more in report.txt." if left else ""
    return Table("Worst slices first", ["slice", "rows", title, ""], rows, note)


def _calibration_table(metrics: dict[str, Any]) -> Table:
    judged = metrics["calibration"]
    languages = judged["languages"]
    rows = [
        [
            language,
            f"{found['rows']}",
            _number(found["expected_calibration_error"]),
            _interval(found),
            f"up to {_number(found['if_calibrated'][1])}"
            if found["if_calibrated"]
            else _NONE,
            found["verdict"],
        ]
        for language, found in languages.items()
    ]
    limit = judged["min_rows"]
    notes = [f"From {limit} rows on, an error of {judged['max_ece']} is allowed."]
    if any(found["rows"] < limit for found in languages.values()):
        notes.append(
            "Fewer are held against the errors that a calibrated model has on the same "
            "rows, which one in twenty exceeds by chance."
            if metrics["bootstrap"]["resamples"]
            else "Fewer are not judged without bootstrap.resamples."
        )
    if metrics["bootstrap"]["resamples"]:
        notes.append("Its intervals lie high: resamples have fewer different rows.")
    header = ["language", "rows", "error", "", "if calibrated", "verdict"]
    return Table("Calibration", header, rows, " ".join(notes))


def _mistakes_table(metrics: dict[str, Any]) -> Table:
    decided = "wrong label" if metrics["type"] == "multilabel" else "label"
    header, rows = ["id", "language", "true", decided, "confidence"], []
    shown = any("text" in found for found in metrics["mistakes"])
    for found in metrics["mistakes"]:
        true = found["true_label"]
        true = ", ".join(true) or "(none)" if isinstance(true, list) else true
        row = [found["id"], found["language"] or _NONE, true, found["label"]]
        text = [found["text"]] if shown else []
        rows.append([*row, _number(found["confidence"]), *text])
    header += ["text"] if shown else []
    return Table("Most confident mistakes", header, rows)


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:.3f}"


def _interval(figure: dict[str, Any]) -> str:
    if figure["interval"] is None:
        return ""
    low, high = figure["interval"]
    return f"{low:.3f} to {high:.3f}"


def _text(table: Table) -> str:
    # A name may be long, or hold a line's end.
    shown = ([" ".join(cell.split()) for cell in row] for row in table.rows)
    clipped = [
        [c if len(c) <= _WIDEST else f"{c[: _WIDEST - 1]}…" for c in row]
        for row in shown
    ]
    columns = list(zip(table.header, *clipped, strict=True))
    padded = []
    for column in columns:
        width = max(map(len, column))
        # Numbers end where those above them do; words begin there.
        numbers = all(cell in ("", _NONE) or _is_number(cell) for cell in column[1:])
        pad = str.rjust if numbers else str.ljust
        padded.append([pad(cell, width) for cell in column])
    lines = ["  ".join(cells).rstrip() for cells in zip(*padded, strict=True)]
    return "\n".join([table.title, *lines, *([table.note] if table.note else [])])


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
