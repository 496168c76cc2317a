"""Blesses a model by rules: its own figures, and those of the one in service."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from reviewbeam.components.common.blessing_config import (
    BROKEN,
    HOLDS,
    NO,
    NO_VERDICT,
    TOO_SMALL,
    UNDECIDED,
    YES,
    BlessingConfig,
    LossRule,
)
from reviewbeam.components.common.errors import UserError, listing, nearest
from reviewbeam.components.common.evaluate_config import BootstrapConfig
from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.evaluation.figures import FigureSet
from reviewbeam.components.evaluation.paired import (
    Difference,
    mcnemar,
    paired_differences,
)
from reviewbeam.components.evaluation.predictions import Predictions
from reviewbeam.components.evaluation.slices import slice_rows

_ERRORS = {"log_loss", "brier", "ece", "hamming_loss", "mean_absolute_error"}
_AVERAGED = {"f1", "precision", "recall"}
_ROUNDING = 1e-12  # of a difference of two figures


@dataclasses.dataclass(frozen=True)
class Judge:
    """Judges the predictions of a model by rules.

    Attributes:
      rules: that must hold; None: figures are compared, and nothing is judged.
      labels: of the model.
      bootstrap: resamples of the intervals.
      min_slice_rows: a slice with fewer is too small to judge.
    """

    rules: BlessingConfig | None
    labels: LabelRules
    bootstrap: BootstrapConfig
    min_slice_rows: int

    def check(self, slices: Iterable[str]) -> None:
        """Refuses rules on figures or slices that there are not.

        Args:
          slices: names that `slice_rows` takes.

        Raises:
          UserError: names the nearest figure or slice, or what the rule lacks.
        """
        if self.rules is None:
            return
        known, slices = self._names(), list(slices)
        for side, other in (("min", "max"), ("max", "min")):
            for metric in getattr(self.rules, side):
                name = _known(metric, known, f"blessing.{side}")
                if (name in _ERRORS) != (side == "max"):
                    better = "lower" if name in _ERRORS else "higher"
                    raise UserError(
                        f"blessing.{side} names {metric!r}, which is the better the "
                        f"{better} it is. Put it under blessing.{other}."
                    )
        for rule in self.rules.must_not_lose:
            _known(rule.metric, known, "blessing.must_not_lose")
            if rule.slice is not None and rule.slice not in slices:
                raise UserError(
                    f"blessing.must_not_lose names the slice {rule.slice!r}"
                    f"{nearest(rule.slice, slices)}, which the dataset doesn't have; "
                    f"known: {listing(slices)}."
                )
        if self.rules.must_not_lose and not self.bootstrap.resamples:
            raise UserError(
                "blessing.must_not_lose needs intervals, and bootstrap.resamples is 0. "
                "Set it to 1000."
            )

    def judge(
        self,
        model: Predictions,
        baseline: Predictions | None,
        unseen: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> dict[str, Any]:
        """Holds the rules against predictions.

        Args:
          model: the model's.
          baseline: those of the model in service, of the same rows; None: there is
            none, and rules against it are not held.
          unseen: the rows that neither model was trained on, bool [rows]: of the
            others nothing is judged.
          weights: of the rows; None: all count the same.

        Returns:
          `verdict`, `reason`, `judged_rows`, `rules` (each with its figures and
          verdict) and, with a baseline, `differences` of all figures and `mcnemar`.
        """
        rows = np.flatnonzero(unseen)
        weights = np.ones(len(unseen)) if weights is None else weights
        found: dict[str, Any] = {"judged_rows": len(rows), "rules": []}
        differences: dict[str, Difference] = {}
        if baseline is not None and len(rows):
            differences = self._differences(model, baseline, rows, weights)
            found["differences"] = {n: d.public() for n, d in differences.items()}
            found["mcnemar"] = mcnemar(_right(model)[rows], _right(baseline)[rows])
        if reason := self._obstacle(len(rows), baseline):
            return found | {"verdict": NO_VERDICT, "reason": reason}
        own = self._figures(model, rows)(weights[rows][:, None])
        found["rules"] = self._bounds({n: float(v[0]) for n, v in own.items()})
        for rule in self.rules.must_not_lose if baseline is not None else ():
            if rule.slice is None:
                judged = [_judged(rule, differences.get(self._metric(rule)), rows)]
            else:
                judged = self._slices(rule, model, baseline, unseen, weights)
            found["rules"] += judged
            if all(each["verdict"] == TOO_SMALL for each in judged):
                found |= {
                    "verdict": NO_VERDICT,
                    "reason": f"no {rule.slice} has the {self.min_slice_rows} rows "
                    "(min_slice_rows) that a rule takes",
                }
        broken = sum(_refuses(rule) for rule in found["rules"])
        if broken:
            reason = f"{broken} of {len(found['rules'])} rules don't hold"
            return found | {"verdict": NO, "reason": reason}
        return {"verdict": YES, "reason": None} | found

    def _obstacle(self, rows: int, baseline: Predictions | None) -> str | None:
        """Returns why there can be no verdict."""
        if self.rules is None:
            return "the config has no rules under blessing"
        if rows < self.rules.min_rows:
            return (
                f"{rows} rows are left that no model was trained on; "
                f"blessing.min_rows is {self.rules.min_rows}"
            )
        if baseline is None and not (self.rules.min or self.rules.max):
            return (
                "the rules hold the model against another one, and there is no baseline"
            )
        return None

    def _bounds(self, figures: dict[str, float]) -> list[dict[str, Any]]:
        rules = []
        for side in ("min", "max"):
            for metric, bound in getattr(self.rules, side).items():
                # A figure without a denominator reaches nothing.
                value = figures.get(_known(metric, self._names(), ""), float("nan"))
                holds = value >= bound if side == "min" else value <= bound
                rules.append(
                    {
                        "rule": side,
                        "metric": metric,
                        "bound": bound,
                        "model": None if np.isnan(value) else value,
                        "verdict": HOLDS if holds else BROKEN,
                    }
                )
        return rules

    def _slices(
        self,
        rule: LossRule,
        model: Predictions,
        baseline: Predictions,
        unseen: np.ndarray,
        weights: np.ndarray,
    ) -> list[dict[str, Any]]:
        """Holds a rule for each value of a slice."""
        judged = []
        for value, members in slice_rows(model, rule.slice).items():
            rows = members[unseen[members]]
            difference = None
            if len(rows) >= self.min_slice_rows:
                name = f"{rule.slice} {value}"
                differences = self._differences(
                    model, baseline, rows, weights, name, self._metric(rule)
                )
                difference = differences.get(self._metric(rule))
            small = len(rows) < self.min_slice_rows
            judged.append(_judged(rule, difference, rows, value, small=small))
        return judged

    def _differences(
        self,
        model: Predictions,
        baseline: Predictions,
        rows: np.ndarray,
        weights: np.ndarray,
        name: str = "all",
        metric: str | None = None,
    ) -> dict[str, Difference]:
        """Compares the models on some rows, by all figures or one."""
        plain = metric is not None and metric in self._names(probabilities=False)
        sets = (self._figures(p, rows, plain=plain) for p in (model, baseline))
        return paired_differences(
            *sets, len(rows), self.bootstrap, f"blessing {name}", weights[rows]
        )

    def _figures(
        self, predictions: Predictions, rows: np.ndarray, *, plain: bool = False
    ) -> FigureSet:
        return FigureSet(
            predictions.true[rows],
            predictions.predicted[rows],
            None if plain else predictions.probabilities[rows],
            self.labels.type,
            self.labels.names,
        )

    def _metric(self, rule: LossRule) -> str:
        return _known(rule.metric, self._names(), "")

    def _names(self, *, probabilities: bool = True) -> list[str]:
        """Returns the figures that labels of this type have, by a row of each class."""
        classes = len(self.labels.names)
        true = np.arange(classes)
        if self.labels.type == "multilabel":
            true = np.eye(classes, dtype=np.int64)
        given = np.full((classes, classes), 1 / classes) if probabilities else None
        names, kind = self.labels.names, self.labels.type
        return list(FigureSet(true, true, given, kind, names)(np.ones((classes, 1))))


def _known(metric: str, known: list[str], where: str) -> str:
    """Returns the figure that a rule means."""
    name = f"macro_{metric}" if metric in _AVERAGED else metric
    if name not in known:
        raise UserError(
            f"{where} names {metric!r}{nearest(metric, known)}, which is no figure of "
            f"these labels; known: {listing(known, most=60)}."
        )
    return name


def _judged(
    rule: LossRule,
    difference: Difference | None,
    rows: np.ndarray,
    value: str | None = None,
    *,
    small: bool = False,
) -> dict[str, Any]:
    return {
        "rule": "must_not_lose",
        "metric": rule.metric,
        "slice": rule.slice,
        "value": value,
        "margin": rule.margin,
        "undecided": rule.undecided,
        "rows": len(rows),
        **(difference.public() if difference else {}),
        "verdict": TOO_SMALL if small else _verdict(rule, difference),
    }


def _verdict(rule: LossRule, difference: Difference | None) -> str:
    if difference is None or difference.interval is None:
        return UNDECIDED
    gains = (difference.difference, *difference.interval)
    if rule.metric in _ERRORS:
        gain, high, low = (-gain for gain in gains)
    else:
        gain, low, high = gains
    if gain < -rule.margin - _ROUNDING and high < 0:
        return BROKEN
    return UNDECIDED if low < -rule.margin - _ROUNDING else HOLDS


def _refuses(rule: dict[str, Any]) -> bool:
    refused = rule["verdict"] == UNDECIDED and rule["undecided"] == "refuse"
    return rule["verdict"] == BROKEN or refused


def _right(predictions: Predictions) -> np.ndarray:
    """Tells which rows a model is right on, bool [rows]; multilabel: in all labels."""
    right = predictions.true == predictions.predicted
    return right.all(axis=1) if right.ndim == 2 else right
