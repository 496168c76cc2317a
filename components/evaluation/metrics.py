"""Metrics of predictions, of all rows and of slices of them, with intervals.

Classes are given as indices, int [rows]; labels of which a row may have several as 0
or 1 for each, int or bool [rows, labels]. `kind` is `LabelRules.type`.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from reviewbeam.components.common.evaluate_config import (
    BootstrapConfig,
    EvaluateConfig,
)
from reviewbeam.components.evaluation.bootstrap import intervals
from reviewbeam.components.evaluation.figures import FigureSet
from reviewbeam.components.evaluation.judgement import judge
from reviewbeam.components.evaluation.predictions import Predictions
from reviewbeam.components.evaluation.slices import slice_rows

_LANGUAGE = "language"
_AVERAGES = ("micro", "macro", "weighted")
_NO_BOOTSTRAP = BootstrapConfig(resamples=0)
# Figure, or what stands before its first dot -> why it may have no denominator.
_AREAS = "a class has no row, or all rows"
_PRECISIONS = "a class has no row"
_REASONS = {
    "roc_auc": _AREAS,
    "weighted_roc_auc": _AREAS,
    "micro_roc_auc": _AREAS,
    "pr_auc": _PRECISIONS,
    "weighted_pr_auc": _PRECISIONS,
    "micro_pr_auc": _PRECISIONS,
    "mcc": "all rows have the same label, true or predicted",
    "quadratic_weighted_kappa": "all rows have the same label, true and predicted",
}


def evaluate_predictions(
    predictions: Predictions,
    names: tuple[str, ...],
    kind: str,
    config: EvaluateConfig,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Computes the metrics of all rows, of each language's and of the slices'.

    Args:
      predictions: at least one row.
      names: the classes.
      kind: the type of the labels.
      config: bootstrap, slices, limits.
      tell: is called with how far it is.

    Returns:
      `label_names`, `type`, `weight_by`; `overall`, of `slice_metrics`; `languages`:
      language -> the same of its rows; `slices`: name of a slice -> value -> the same;
      `worst_slices`: `slice`, `value`, `rows`, `too_small`, `figure`, `figure_value`
      and `interval`, the lowest first, those too small behind; and `calibration`: the
      limits, and of each language what `judge` says. A slice has `too_small` besides.

    Raises:
      UserError: a column has too many values to be a slice.
    """
    weights = predictions.count if config.weight_by == "count" else None
    overall, slices = _measured(predictions, names, kind, config, weights, tell)
    error = overall["figures"]["ece"]["value"]
    overall["calibration"] = {"expected_calibration_error": error}
    metrics = {
        "label_names": list(names),
        "type": kind,
        "weight_by": config.weight_by,
        "bootstrap": config.bootstrap.model_dump(mode="json"),
        "overall": overall,
        "languages": slices[_LANGUAGE],
        "slices": {name: slices[name] for name in dict.fromkeys(config.slices)},
    }
    metrics["worst_slices"] = _worst(metrics["slices"], kind)
    metrics["calibration"] = _judged(predictions, weights, metrics, config)
    return metrics


def _measured(
    predictions: Predictions,
    names: tuple[str, ...],
    kind: str,
    config: EvaluateConfig,
    weights: np.ndarray | None,
    tell: Callable[[str], None],
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Returns the metrics of all rows; and name of a slice -> value -> its metrics."""
    groups = {
        slice_name: slice_rows(predictions, slice_name)
        for slice_name in dict.fromkeys((_LANGUAGE, *config.slices))
    }
    every = 1 + sum(map(len, groups.values()))
    number = itertools.count(1)

    def measure(rows: np.ndarray, name: str) -> dict[str, Any]:
        tell(f"figures of {next(number)} of {every} groups of rows")
        return slice_metrics(
            predictions.true[rows],
            predictions.predicted[rows],
            names,
            kind,
            predictions.probabilities[rows],
            weights=None if weights is None else weights[rows],
            bootstrap=config.bootstrap,
            name=name,
        )

    overall = measure(np.arange(len(predictions.ids)), "overall")
    slices = {
        slice_name: {
            value: measure(rows, f"{slice_name}={value}")
            | {"too_small": len(rows) < config.min_slice_rows}
            for value, rows in of_values.items()
        }
        for slice_name, of_values in groups.items()
    }
    return overall, slices


def slice_metrics(
    true: np.ndarray,
    predicted: np.ndarray,
    names: tuple[str, ...],
    kind: str,
    probabilities: np.ndarray | None = None,
    *,
    weights: np.ndarray | None = None,
    bootstrap: BootstrapConfig = _NO_BOOTSTRAP,
    name: str = "",
) -> dict[str, Any]:
    """Computes the metrics of some rows.

    Args:
      true: class of each row, or its labels; at least one row.
      predicted: likewise.
      names: the classes.
      kind: the type of the labels.
      probabilities: the calibrated ones, float [rows, classes]; None: what needs them
        is left out.
      weights: of the rows; None: all count the same.
      bootstrap: how intervals come about.
      name: of the rows, for the seed.

    Returns:
      `rows`; `figures`: name (of `FigureSet`) -> `value`, `interval` (95 %, low and
      high; None without a bootstrap), or None and a `reason`; and the same values in
      the form that people look for: `accuracy`, `macro` and `weighted` (precision,
      recall, f1), `classes` (name -> precision, recall, f1, support). For multilabel
      then `micro` and `hamming_loss`; else `confusion_matrix` (true class by predicted
      class); for ordinal also `mean_absolute_error`, `within_one` and
      `quadratic_weighted_kappa`. With weights, counts of rows but `rows` are sums of
      weights.
    """
    figure_set = FigureSet(true, predicted, probabilities, kind, names)
    own = np.ones(len(true)) if weights is None else weights.astype(np.float64)
    values = {n: float(v[0]) for n, v in figure_set(own[:, None]).items()}
    bounds = intervals(figure_set, len(true), bootstrap, name, weights)
    figures = {
        figure: _described(figure, value, bounds.get(figure))
        for figure, value in values.items()
    }
    nested = _nested(figures, figure_set.confusion(own[:, None])[0], names, kind)
    return {"rows": len(true)} | nested | {"figures": figures}


def _nested(
    figures: dict[str, dict[str, Any]],
    counts: np.ndarray,
    names: tuple[str, ...],
    kind: str,
) -> dict[str, Any]:
    """Puts figures into the form that people look for.

    Args:
      figures: of `slice_metrics`.
      counts: float64, true by predicted class, or of each label the same.
      names: the classes.
      kind: the type of the labels.
    """
    multilabel = kind == "multilabel"
    support = counts[:, 1].sum(axis=1) if multilabel else counts[0].sum(axis=1)

    def three(before: str = "", after: str = "") -> dict[str, float]:
        keys = ("precision", "recall", "f1")
        return {key: figures[f"{before}{key}{after}"]["value"] for key in keys}

    nested: dict[str, Any] = {
        "accuracy": figures["accuracy"]["value"],
        "classes": {
            label: three(after=f".{label}") | {"support": _count(held)}
            for label, held in zip(names, support, strict=True)
        },
    }
    for average in _AVERAGES:
        if f"{average}_f1" in figures:
            nested[average] = three(before=f"{average}_")
    others = ["hamming_loss", "mean_absolute_error", "within_one"]
    others.append("quadratic_weighted_kappa")
    nested |= {n: figures[n]["value"] for n in others if n in figures}
    if not multilabel:
        nested["confusion_matrix"] = [[_count(n) for n in row] for row in counts[0]]
    return nested


def _described(
    figure: str, value: float, interval: tuple[float, float] | None
) -> dict[str, Any]:
    if np.isnan(value):
        reason = _REASONS[figure.split(".")[0]]
        return {"value": None, "interval": None, "reason": reason}
    return {"value": value, "interval": interval and list(interval)}


def _count(weight: float) -> int | float:
    return int(weight) if float(weight).is_integer() else float(weight)


def _worst(slices: dict[str, dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Orders slices by F1, the lowest first; those too small come behind.

    By the value and not by its lower bound, which would put small slices before bad
    ones. Of multilabel slices micro F1: macro F1 counts 0 for each label that a slice
    doesn't have.
    """
    figure = "micro_f1" if kind == "multilabel" else "macro_f1"
    listed = [
        {
            "slice": name,
            "value": value,
            "rows": measured["rows"],
            "too_small": measured["too_small"],
            "figure": figure,
            "figure_value": measured["figures"][figure]["value"],
            "interval": measured["figures"][figure]["interval"],
        }
        for name, values in slices.items()
        for value, measured in values.items()
    ]
    return sorted(
        listed,
        key=lambda s: (s["too_small"], s["figure_value"], s["slice"], s["value"]),
    )


def _judged(
    predictions: Predictions,
    weights: np.ndarray | None,
    metrics: dict[str, Any],
    config: EvaluateConfig,
) -> dict[str, Any]:
    """Returns the limits of calibration, and the verdict on each language."""
    judged = {}
    for language, rows in slice_rows(predictions, _LANGUAGE).items():
        error = metrics["languages"][language]["figures"]["ece"]
        judged[language] = judge(
            predictions.probabilities[rows],
            predictions.true[rows],
            metrics["type"],
            error["value"],
            error["interval"],
            config.calibration,
            config.bootstrap,
            language,
            None if weights is None else weights[rows],
        )
    return config.calibration.model_dump(mode="json") | {"languages": judged}
