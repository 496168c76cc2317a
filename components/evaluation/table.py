"""Metrics as a text that a person reads."""

from typing import Any


def metrics_table(metrics: dict[str, Any]) -> str:
    """Returns the figures of `evaluate_predictions` as plain text."""
    names = metrics["label_names"]
    lines = ["Per language", _row("language", ["rows", "accuracy", "macro F1"])]
    slices = [("all", metrics["overall"]), *metrics["languages"].items()]
    for language, figures in slices:
        numbers = [_share(figures["accuracy"]), _share(figures["macro"]["f1"])]
        lines.append(_row(language, [figures["rows"], *numbers]))
    overall = metrics["overall"]
    lines += ["", "Per class", _row("class", ["rows", "precision", "recall", "F1"])]
    averages = {"(macro)": overall["macro"], "(weighted)": overall["weighted"]}
    for name, figures in (overall["classes"] | averages).items():
        numbers = [_share(figures[key]) for key in ("precision", "recall", "f1")]
        lines.append(_row(name, [figures.get("support", overall["rows"]), *numbers]))
    lines += ["", "True class by predicted class", _row("", names)]
    for name, counts in zip(names, overall["confusion_matrix"], strict=True):
        lines.append(_row(name, counts))
    return "\n".join(lines) + "\n"


def _share(value: float) -> str:
    return f"{value:.3f}"


def _row(first: str, cells: list[Any]) -> str:
    return f"{first[:20]:<20}" + "".join(f"{str(cell)[:12]:>13}" for cell in cells)
