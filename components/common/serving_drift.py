"""How far new reviews and predictions are from those of a model's training."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from reviewbeam.components.common.distances import (
    chance_of_divergence,
    chance_of_share,
    jensen_shannon,
)
from reviewbeam.components.common.serving_drift_config import (
    FEATURES,
    ServingDriftRules,
)
from reviewbeam.components.common.serving_statistics import (
    MORE,
    Statistics,
    bins,
    effective_rows,
)

_LEAST_ROWS = 100  # with fewer, chance is all that could be measured
_KNOWN_BY_TRAINING = ("predicted_label", "confidence")  # on its validation split


@dataclasses.dataclass(frozen=True)
class ServingDrift:
    """The distance of a feature from the model's training.

    What wasn't measured has `not_measured`, and neither figure nor what follows it.
    """

    feature: str
    measure: str  # TFDV's name of it: L_INFTY or JENSEN_SHANNON_DIVERGENCE
    threshold: float  # the config's, and what chance adds
    figure: float | None = None  # 0 to 1
    exceeded: bool = False
    fatal: bool = False  # exceeded, and the config says that this stops the scores
    value: str | None = None  # the category, or the range of numbers, differing most
    share: float | None = None  # of the new reviews that have it
    training_share: float | None = None
    not_measured: str | None = None  # why


def compare(
    training_statistics: Mapping[str, Any], found: Statistics, rules: ServingDriftRules
) -> list[ServingDrift]:
    """Compares new reviews with the reviews that a model was trained on.

    Texts are compared with the train split, predictions with those on validation:
    not with true labels, from which a model's may differ on any reviews.

    Args:
      training_statistics: of the model; what an older one lacks isn't measured.
      found: statistics of the new reviews and their predictions.
      rules: thresholds. What two samples of one corpus differ by by chance is added.

    Returns:
      One for each feature, in the order of `FEATURES`; none where the rules say so.
    """
    if not rules.enabled:
        return []
    return [
        _compare_feature(name, _training(training_statistics, name), found, rules)
        for name in FEATURES
    ]


def drift_lines(drifts: Sequence[ServingDrift]) -> list[str]:
    """Says for people what is too far, or what is farthest; and what isn't known."""
    lines = [_line(drift) for drift in drifts if drift.exceeded]
    measured = [drift for drift in drifts if drift.figure is not None]
    if measured and not lines:
        farthest = max(measured, key=lambda drift: drift.figure / drift.threshold)
        lines.append(
            f"no drift from training in {len(measured)} features; nearest to its "
            f"threshold: {farthest.feature} {farthest.figure:.3f} "
            f"(allowed {farthest.threshold:.3f})"
        )
    reasons = defaultdict(list)
    for drift in drifts:
        if drift.not_measured:
            reasons[drift.not_measured].append(drift.feature)
    for reason, features in reasons.items():
        all_of_them = len(features) == len(drifts)
        what = "" if all_of_them else f" of {', '.join(features)}"
        lines.append(f"drift{what} not known: {reason}")
    return lines


def _training(statistics: Mapping[str, Any], feature: str) -> Statistics | None:
    """Returns the statistics that a feature is compared with, if the model has them."""
    split = "predictions" if feature in _KNOWN_BY_TRAINING else "train"
    found = (statistics.get(split) or {}).get("histograms")
    return found if found and feature in found["counts"] else None


def _compare_feature(
    feature: str,
    training: Statistics | None,
    found: Statistics,
    rules: ServingDriftRules,
) -> ServingDrift:
    numbers = bins(feature)
    drift = ServingDrift(
        feature=feature,
        measure="JENSEN_SHANNON_DIVERGENCE" if numbers else "L_INFTY",
        threshold=rules.threshold(feature),
    )
    if reason := _obstacle(feature, training, found):
        return dataclasses.replace(drift, not_measured=reason)
    names = numbers or sorted(
        {**training["counts"][feature], **found["counts"][feature]}
    )
    before, now = (_shares(s, feature, names) for s in (training, found))
    scatter = 1 / effective_rows(training) + 1 / effective_rows(found)
    farthest = int(np.abs(now - before).argmax())
    if numbers:
        figure = jensen_shannon(now, before)
        used = int(np.count_nonzero(now + before))  # NumPy 2 has its own ints
        chance = chance_of_divergence(used, scatter)
    else:
        figure, chance = abs(now - before)[farthest], chance_of_share(scatter)
    # As they are shown: what seems equal to its threshold doesn't exceed it.
    figure, threshold = round(float(figure), 4), round(drift.threshold + chance, 4)
    exceeded = figure > threshold
    return dataclasses.replace(
        drift,
        figure=figure,
        threshold=min(1.0, threshold),
        exceeded=exceeded,
        fatal=exceeded and rules.is_fatal(feature),
        value=_range(names, farthest) if numbers else names[farthest],
        share=round(float(now[farthest]), 4),
        training_share=round(float(before[farthest]), 4),
    )


def _obstacle(
    feature: str, training: Statistics | None, found: Statistics
) -> str | None:
    """Says why a feature can't be compared."""
    known = bins(feature)
    if training is None or (
        known and not training["counts"][feature].keys() <= set(known)
    ):
        return "the model has no statistics of its training that fit"
    if found["rows"] < _LEAST_ROWS:
        return f"{found['rows']} reviews are too few; it takes {_LEAST_ROWS}"
    if training["rows"] < _LEAST_ROWS:
        return (
            f"the model was trained with {training['rows']} reviews to compare with; "
            f"it takes {_LEAST_ROWS}"
        )
    return None


def _shares(statistics: Statistics, feature: str, names: Iterable[str]) -> np.ndarray:
    counts = statistics["counts"].get(feature, {})
    return np.array([counts.get(name, 0) for name in names]) / statistics["rows"]


def _range(names: Sequence[str], place: int) -> str:
    """Says which numbers a bin holds."""
    if place == 0:
        return f"up to {names[0]}"
    if names[place] == MORE:
        return f"above {names[place - 1]}"
    return f"above {names[place - 1]} up to {names[place]}"


def _line(drift: ServingDrift) -> str:
    return (
        f"drift of {drift.feature} from training: {drift.figure:.3f} (allowed "
        f"{drift.threshold:.3f}), most of all {drift.value}: {drift.share:.1%} of "
        f"these reviews, {drift.training_share:.1%} in training"
    )
