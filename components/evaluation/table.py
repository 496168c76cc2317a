"""Metrics as a text that a person reads."""

from collections.abc import Callable
from typing import Any

_Figures = dict[str, Callable[[dict[str, Any]], float]]  # heading -> how to find it
_ACCURACY: _Figures = {
    "accuracy": lambda figures: figures["accuracy"],
    "macro F1": lambda figures: figures["macro"]["f1"],
}
# Type of labels -> figures of a language besides its rows.
_FIGURES: dict[str, _Figures] = {
    "binary": _ACCURACY,
    "multiclass": _ACCURACY,
    "multilabel": {
        "exact match": lambda figures: figures["accuracy"],
        "macro F1": lambda figures: figures["macro"]["f1"],
        "micro F1": lambda figures: figures["micro"]["f1"],
        "hamming loss": lambda figures: figures["hamming_loss"],
    },
    "ordinal": _ACCURACY
    | {
        "mean error": lambda figures: figures["mean_absolute_error"],
        "within one": lambda figures: figures["within_one"],
        "kappa": lambda figures: figures["quadratic_weighted_kappa"],
    },
}


def language_table(metrics: dict[str, Any]) -> list[list[Any]]:
    """Returns the table by language: its header, then all rows, then each language."""
    columns = _FIGURES[metrics["type"]]
    rows = [
        [name, figures["rows"], *(_share(find(figures)) for find in columns.values())]
        for name, figures in [
            ("all", metrics["overall"]),
            *metrics["languages"].items(),
        ]
    ]
    return [["language", "rows", *columns], *rows]


def metrics_table(metrics: dict[str, Any]) -> str:
    """Returns the figures of `evaluate_predictions` as plain text."""
    names, overall = metrics["label_names"], metrics["overall"]
    lines = ["Per language", *(_row(*row) for row in language_table(metrics))]
    lines += ["", "Per class", _row("class", "rows", "precision", "recall", "F1")]
    averages = {
        f"({average})": overall[average]
        for average in ("micro", "macro", "weighted")
        if average in overall
    }
    for name, figures in (overall["classes"] | averages).items():
        numbers = [_share(figures[key]) for key in ("precision", "recall", "f1")]
        lines.append(_row(name, figures.get("support", overall["rows"]), *numbers))
    if "confusion_matrix" in overall:
        lines += ["", "True class by predicted class", _row("", *names)]
        for name, counts in zip(names, overall["confusion_matrix"], strict=True):
            lines.append(_row(name, *counts))
    if "calibration" in overall:
        error = overall["calibration"]["expected_calibration_error"]
        lines += ["", f"Expected calibration error {_share(error)}"]
    return "\n".join(lines) + "\n"


def _share(value: float) -> str:
    return f"{value:.3f}"


def _row(first: str, *cells: Any) -> str:
    return f"{first[:20]:<20}" + "".join(f"{str(cell)[:12]:>13}" for cell in cells)
