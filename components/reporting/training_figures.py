"""The plots of a training: its curves and its reliability."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from reviewbeam.components.reporting import plots


def training_curves(history: Mapping[str, Any]) -> Iterator[tuple[str, Markup]]:
    """Yields captions and plots: loss, figures on validation, learning rate.

    Args:
      history: what history.json holds.
    """
    epochs, best = history["epochs"], history["best_epoch"]
    curve = history.get("curve") or [
        {
            "step": epoch["steps"],
            "loss": epoch["training"]["loss"],
            "learning_rate": epoch["learning_rate"],
        }
        for epoch in epochs
    ]
    if not curve:
        return
    kept = {epoch["epoch"]: epoch["steps"] for epoch in epochs}.get(best)
    name = f"epoch {best}, whose weights are kept"
    axis = {"axis": "step", "marker": kept and (kept, name)}
    steps = [point["step"] for point in curve]
    measured = [epoch for epoch in epochs if epoch["validation"]]

    def of_validation(key: str, axis: str) -> tuple[list[int], list[float]]:
        found = [epoch["validation"][key] for epoch in measured]
        return [epoch[axis] for epoch in measured], found

    losses = {"training": (steps, _running_mean([point["loss"] for point in curve]))}
    if measured:
        losses["validation"] = of_validation("loss", "steps")
    yield (
        "Loss",
        plots.lines(losses, describe="Loss over the steps, a running mean", **axis),
    )
    if measured:
        figures = {"macro F1": "macro_f1", "accuracy": "accuracy"}
        drawn = {name: of_validation(k, "epoch") for name, k in figures.items()}
        describe = "Macro F1 and accuracy on validation after each epoch"
        marker = (best, name)
        yield (
            "On validation",
            plots.lines(drawn, describe=describe, axis="epoch", marker=marker),
        )
    rates = {"learning rate": (steps, [point["learning_rate"] for point in curve])}
    describe = "Learning rate over the steps"
    yield "Learning rate", plots.lines(rates, describe=describe, **axis)


def _running_mean(values: Sequence[float]) -> list[float]:
    """Returns means of an eighth of the values, up to each: batches differ much."""
    window = max(1, len(values) // 8)
    ends = range(1, len(values) + 1)
    return [statistics.fmean(values[max(0, end - window) : end]) for end in ends]


def reliability_plot(told: Mapping[str, Any]) -> Markup | None:
    """Draws `bins` of `before` and `after`; None: an earlier release kept none."""
    curves = {
        f"{when} calibration": [
            (point["confidence"], point["accuracy"], point["rows"])
            for point in told[when]["bins"]
        ]
        for when in ("before", "after")
        if told.get(when, {}).get("bins")
    }
    if not curves:
        return None
    before, after = (told[when]["bins"] for when in ("before", "after"))
    if before == after:
        curves = {"no calibration": curves["before calibration"]}
    describe = "Accuracy by confidence, before and after calibration"
    return plots.reliability(curves, describe=describe)
