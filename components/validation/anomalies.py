"""What a dataset's statistics have that its schema doesn't allow."""

import dataclasses
from collections.abc import Mapping

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from reviewbeam.components.common.errors import UserError, listing
from reviewbeam.components.common.prepare_config import SchemaRules
from reviewbeam.components.validation.places import GREATEST, LEAST, MISSING, Key
from reviewbeam.components.validation.statistics import (
    all_examples,
    features_by_name,
    is_category,
    value_counts,
)


@dataclasses.dataclass(frozen=True)
class Anomaly:
    """Something in the statistics that the schema or the baseline doesn't allow."""

    feature: str
    kind: str  # TFDV's name of the anomaly type
    description: str
    figure: float | None = None  # what was found: a share, a value or a distance
    threshold: float | None = None  # what is allowed at most (or at least)
    example: str | None = None  # place of one of the examples

    def __str__(self) -> str:
        text = f"{self.feature}: {self.description}"
        if self.figure is not None:
            text += f"; found {self.figure:.6g}"
        if self.threshold is not None:
            text += f", allowed {self.threshold:.6g}"
        if self.example is not None:
            text += f"; for example {self.example}"
        return f"{text} ({self.kind})"


def find_anomalies(
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
    places: Mapping[Key, str] | None = None,
) -> list[Anomaly]:
    """Returns what the schema doesn't allow, ordered by feature and kind.

    Args:
      statistics: of the dataset.
      schema: what it must fit. Its drift comparators are for `measure_drift`.
      places: an example's place for each value, as `place_texts` gives them.
    """
    found = tfdv.validate_statistics(all_examples(statistics), schema)
    kinds = anomalies_pb2.AnomalyInfo.Type
    anomalies = [
        _explain(
            Anomaly(feature, kinds.Name(reason.type), reason.description),
            statistics,
            schema,
            places or {},
        )
        for feature, info in found.anomaly_info.items()
        for reason in info.reason
    ]
    anomalies += [
        Anomaly("dataset", kinds.Name(reason.type), reason.description)
        for reason in found.dataset_anomaly_info.reason
    ]
    return sorted(anomalies, key=lambda anomaly: (anomaly.feature, anomaly.kind))


def _explain(
    anomaly: Anomaly,
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
    places: Mapping[Key, str],
) -> Anomaly:
    """Adds the figure, the threshold and an example where TFDV gives none."""
    name = anomaly.feature
    found = features_by_name(statistics).get(name)
    wanted = next((f for f in schema.feature if f.name == name), None)
    if found is None or wanted is None:
        return anomaly
    if anomaly.kind == "ENUM_TYPE_UNEXPECTED_STRING_VALUES":
        return _explain_values(anomaly, found, wanted, schema, places)
    if anomaly.kind == "FEATURE_TYPE_LOW_FRACTION_PRESENT":
        common = found.string_stats.common_stats
        if not is_category(found):
            common = found.num_stats.common_stats
        rows = common.num_non_missing + common.num_missing
        figure, which = common.num_non_missing / rows, MISSING
        threshold = wanted.presence.min_fraction
    elif anomaly.kind in ("INT_TYPE_BIG_INT", "FLOAT_TYPE_BIG_FLOAT"):
        figure, which = found.num_stats.max, GREATEST
        threshold = getattr(wanted, wanted.WhichOneof("domain_info")).max
    elif anomaly.kind in ("INT_TYPE_SMALL_INT", "FLOAT_TYPE_SMALL_FLOAT"):
        figure, which = found.num_stats.min, LEAST
        threshold = getattr(wanted, wanted.WhichOneof("domain_info")).min
    else:
        return anomaly
    return dataclasses.replace(
        anomaly, figure=figure, threshold=threshold, example=places.get((name, which))
    )


def _explain_values(
    anomaly: Anomaly,
    found: statistics_pb2.FeatureNameStatistics,
    wanted: schema_pb2.Feature,
    schema: schema_pb2.Schema,
    places: Mapping[Key, str],
) -> Anomaly:
    domains = {domain.name: domain.value for domain in schema.string_domain}
    allowed = domains.get(wanted.domain, wanted.string_domain.value)
    counts = value_counts(found)
    outside = {v: count for v, count in counts.items() if v not in allowed}
    if not outside:
        return anomaly
    # The most frequent one is the likeliest mistake.
    first = min(outside, key=lambda value: (-outside[value], value))
    allowed_share = 0.0
    if wanted.distribution_constraints.HasField("min_domain_mass"):
        allowed_share = 1 - wanted.distribution_constraints.min_domain_mass
    return dataclasses.replace(
        anomaly,
        description=f"values outside the domain: {listing(sorted(outside))}",
        figure=sum(outside.values()) / sum(counts.values()),
        threshold=allowed_share,
        example=places.get((anomaly.feature, first)),
    )


def check_anomaly_kinds(rules: SchemaRules) -> None:
    """Checks the names under `schema_rules.fatal`.

    Raises:
      UserError: TFDV has no such anomaly type.
    """
    known = anomalies_pb2.AnomalyInfo.Type.keys()
    for name in rules.fatal:
        if name != "all" and name not in known:
            raise UserError(
                f"schema_rules.fatal names {name!r}, which is no anomaly type of TFDV. "
                f"Use 'all' or some of: {listing(known, most=100)}."
            )


def is_fatal(anomaly: Anomaly, rules: SchemaRules) -> bool:
    """Tells whether the config says that an anomaly stops the dataset."""
    return "all" in rules.fatal or anomaly.kind in rules.fatal
