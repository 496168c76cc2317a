"""How far a dataset's statistics are from an earlier dataset's."""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from reviewbeam.components.common.artifacts import read_manifest
from reviewbeam.components.common.distances import (
    chance_of_divergence,
    chance_of_share,
)
from reviewbeam.components.common.errors import UserError, listing, nearest
from reviewbeam.components.common.host_copies import host_copy
from reviewbeam.components.common.prepare_config import DriftRules
from reviewbeam.components.validation.anomalies import Anomaly
from reviewbeam.components.validation.drift_histograms import (
    NO_VALUE,
    Histograms,
    count_numbers,
    count_values,
)
from reviewbeam.components.validation.places import MISSING, Key
from reviewbeam.components.validation.statistics import features_by_name, is_category

_STATISTICS = "statistics.tfrecord"
# Set by the config and by how often texts are repeated, rather than by what reviews
# are like: measured only if the config or the schema names them.
_LEFT_OUT = ("split", "count")
_KINDS = {
    "L_INFTY": "COMPARATOR_L_INFTY_HIGH",
    "JENSEN_SHANNON_DIVERGENCE": "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH",
    "NORMALIZED_ABSOLUTE_DIFFERENCE": "COMPARATOR_NORMALIZED_ABSOLUTE_DIFFERENCE_HIGH",
}
_MEASURES = {
    "L_INFTY": "largest difference of a value's share (L-infinity)",
    "JENSEN_SHANNON_DIVERGENCE": "Jensen-Shannon divergence",
    "NORMALIZED_ABSOLUTE_DIFFERENCE": "normalized absolute difference",
}


@dataclasses.dataclass(frozen=True)
class Drift:
    """The distance of a feature from its baseline."""

    feature: str
    measure: str  # TFDV's name of it: L_INFTY or JENSEN_SHANNON_DIVERGENCE
    figure: float  # 0 to 1
    threshold: float  # the config's and what chance adds, or the schema's
    value: str | None = None  # the category that differs most, if beyond the threshold


def load_baseline(
    path: str | os.PathLike,
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Reads the statistics of an earlier dataset, which may be in a store.

    Raises:
      UserError: it is no dataset, or has no statistics.
    """
    path = host_copy(path)
    read_manifest(path, "dataset")
    file = path / _STATISTICS
    try:
        statistics = tfdv.load_statistics(os.fspath(file))
    except Exception as error:  # a missing or damaged file, in many types
        raise UserError(
            f"baseline {os.fspath(path)!r}: its {_STATISTICS} can't be read "
            f"({type(error).__name__}). Prepare that dataset again."
        ) from None
    if not features_by_name(statistics):
        raise UserError(
            f"baseline {os.fspath(path)!r} has statistics of no example. Name another "
            "dataset, or none."
        )
    return statistics


def measure_drift(
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
    baseline: statistics_pb2.DatasetFeatureStatisticsList,
    rules: DriftRules,
    schema: schema_pb2.Schema,
) -> list[Drift]:
    """Measures all features that both datasets have, with TFDV's comparators.

    Numbers are counted between the baseline's quantiles first. The bins of equal
    width that TFDV would compare follow each dataset's maximum: one long review moves
    them all, and two halves of a corpus differ by more than 0.1. A missing category
    counts as a value of its own.

    Args:
      statistics: of the dataset; only those of all its examples are compared.
      baseline: of the earlier one.
      rules: thresholds. What two samples of one corpus differ by on average is added,
        so that small ones don't raise an alarm.
      schema: of the dataset. A drift comparator in it goes before the rules, as it is.

    Returns:
      The distances in order of features, whatever the thresholds.

    Raises:
      UserError: `rules.features` names a feature that the dataset doesn't have.
    """
    now, before = features_by_name(statistics), features_by_name(baseline)
    for name in rules.features:
        if name not in now:
            raise UserError(
                f"schema_rules.drift.features names {name!r}, which is no feature"
                f"{nearest(name, now)}. Use some of: {listing(sorted(now))}."
            )
    own = {f.name: f for f in schema.feature if f.HasField("drift_comparator")}
    comparators = schema_pb2.Schema()
    counted, counted_before = Histograms(), Histograms()
    for name in sorted(now.keys() & before.keys()):
        named = name in own or name in rules.features
        if now[name].type != before[name].type or (name in _LEFT_OUT and not named):
            continue
        category = is_category(now[name])
        count = count_values if category else count_numbers
        counts, counts_before = count(now[name], before[name])
        rows, rows_before = sum(counts.values()), sum(counts_before.values())
        if not rows or not rows_before:
            continue
        counted.add(name, counts, category)
        counted_before.add(name, counts_before, category)
        feature = comparators.feature.add(
            name=name, type=schema_pb2.BYTES if category else schema_pb2.FLOAT
        )
        if name in own:
            feature.drift_comparator.CopyFrom(own[name].drift_comparator)
            continue
        scatter = 1 / rows + 1 / rows_before
        _set_threshold(feature, rules, category, len(counts), scatter)
    return _compare(counted, counted_before, comparators)


def _set_threshold(
    feature: schema_pb2.Feature,
    rules: DriftRules,
    category: bool,
    values: int,
    scatter: float,
) -> None:
    """Gives a feature the comparator of its kind: the rules' limit, and chance."""
    if category:
        comparator = feature.drift_comparator.infinity_norm
        limit, chance = rules.categories, chance_of_share(scatter)
    else:
        comparator = feature.drift_comparator.jensen_shannon_divergence
        limit, chance = rules.numbers, chance_of_divergence(values, scatter)
    comparator.threshold = min(1.0, rules.features.get(feature.name, limit) + chance)


def drift_anomalies(
    drifts: Sequence[Drift], places: Mapping[Key, str] | None = None
) -> list[Anomaly]:
    """Returns the distances beyond their thresholds as anomalies.

    Args:
      drifts: from `measure_drift`.
      places: an example's place for each value, as `place_texts` gives them.
    """
    return [
        Anomaly(
            feature=drift.feature,
            kind=_KINDS[drift.measure],
            description=_describe(drift),
            figure=drift.figure,
            threshold=drift.threshold,
            example=_example(drift, places or {}),
        )
        for drift in drifts
        if drift.figure > drift.threshold
    ]


def _compare(
    counted: Histograms, counted_before: Histograms, comparators: schema_pb2.Schema
) -> list[Drift]:
    found = tfdv.validate_statistics(
        counted.statistics, comparators, previous_statistics=counted_before.statistics
    )
    names = anomalies_pb2.DriftSkewInfo.Measurement.Type
    return sorted(
        (
            Drift(
                feature=info.path.step[0],
                measure=names.Name(measurement.type),
                # Behind the fourth digit it follows from how rows were batched.
                figure=round(measurement.value, 4),
                threshold=measurement.threshold,
                value=_most_different(found.anomaly_info, info.path.step[0]),
            )
            for info in found.drift_skew_info
            for measurement in info.drift_measurements
        ),
        key=lambda drift: (drift.feature, drift.measure),
    )


def _most_different(anomaly_info, name: str) -> str | None:
    """Finds the value that TFDV names in the description of an L-infinity distance."""
    for reason in anomaly_info[name].reason if name in anomaly_info else ():
        match = re.search(r"value with maximum difference is: (.+)", reason.description)
        if match:
            return match[1]
    return None


def _describe(drift: Drift) -> str:
    text = f"drift from the baseline, {_MEASURES[drift.measure]}"
    return text if drift.value is None else f"{text}, most of all {drift.value!r}"


def _example(drift: Drift, places: Mapping[Key, str]) -> str | None:
    which = MISSING if drift.value == NO_VALUE else drift.value
    return None if which is None else places.get((drift.feature, which))
