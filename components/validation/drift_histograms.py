"""Histograms of a feature in two datasets, over the same values or bins."""

import math
from collections.abc import Mapping

from tensorflow_metadata.proto.v0 import statistics_pb2

from reviewbeam.components.validation.statistics import value_counts

NO_VALUE = "(none)"  # a missing category, as a value of its own


class Histograms:
    """Statistics that hold a histogram of each feature, and nothing else."""

    def __init__(self):
        self.statistics = statistics_pb2.DatasetFeatureStatisticsList()
        self._dataset = self.statistics.datasets.add()

    def add(self, name: str, counts: Mapping[str, float], category: bool) -> None:
        """Adds a feature: a category's values, or bins of equal number and order."""
        rows = sum(counts.values())
        self._dataset.num_examples = max(self._dataset.num_examples, round(rows))
        feature = self._dataset.features.add()
        feature.path.step.append(name)
        if category:
            feature.type = statistics_pb2.FeatureNameStatistics.STRING
            stats = feature.string_stats
            for label, count in counts.items():
                stats.rank_histogram.buckets.add(label=label, sample_count=count)
        else:
            feature.type = statistics_pb2.FeatureNameStatistics.FLOAT
            stats = feature.num_stats
            histogram = stats.histograms.add(type=statistics_pb2.Histogram.STANDARD)
            for i, count in enumerate(counts.values()):
                histogram.buckets.add(low_value=i, high_value=i + 1, sample_count=count)
        common = stats.common_stats
        common.num_non_missing = common.tot_num_values = round(rows)
        common.min_num_values = common.max_num_values = 1


def count_values(
    now: statistics_pb2.FeatureNameStatistics,
    before: statistics_pb2.FeatureNameStatistics,
) -> tuple[dict[str, float], dict[str, float]]:
    """Returns how often each value occurs in both; a missing one is `(none)`."""
    both = []
    for feature in (now, before):
        counts = value_counts(feature)
        missing = feature.string_stats.common_stats.num_missing
        both.append(counts | ({NO_VALUE: missing} if missing else {}))
    return tuple(both)


def count_numbers(
    now: statistics_pb2.FeatureNameStatistics,
    before: statistics_pb2.FeatureNameStatistics,
) -> tuple[dict[str, float], dict[str, float]]:
    """Counts both between the baseline's quantiles, the last of them open-ended."""
    # Without the maximum: how far a tail reaches is chance, and little lies there.
    buckets = list(_quantiles(before))
    edges = {bucket.high_value for bucket in buckets[:-1]}
    if buckets and buckets[0].low_value == buckets[0].high_value:
        # Many have the least value: what is below it is not like them.
        edges.add(math.nextafter(buckets[0].low_value, -math.inf))
    limits = [*sorted(edges), math.inf]
    both = []
    for feature in (now, before):
        below = [_count_up_to(edge, feature) for edge in limits]
        steps = zip(below, [0.0, *below], strict=False)
        both.append({str(i): max(0.0, a - b) for i, (a, b) in enumerate(steps)})
    return tuple(both)


def _quantiles(feature: statistics_pb2.FeatureNameStatistics):
    for histogram in feature.num_stats.histograms:
        if histogram.type == statistics_pb2.Histogram.QUANTILES:
            return histogram.buckets
    return ()


def _count_up_to(edge: float, feature: statistics_pb2.FeatureNameStatistics) -> float:
    """Estimates how many values are not above an edge."""
    total = 0.0
    for bucket in _quantiles(feature):
        if bucket.high_value <= edge:
            total += bucket.sample_count
        elif bucket.low_value < edge:  # values are taken as spread evenly
            width = bucket.high_value - bucket.low_value
            total += bucket.sample_count * (edge - bucket.low_value) / width
    return total
