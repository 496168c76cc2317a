"""TFDV statistics of what was written, and their schema."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx_bsl.arrow import table_util

from reviewbeam.components.common.artifacts import write_text
from reviewbeam.components.common.columns import select_columns
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.places import Place
from reviewbeam.components.validation.places import (
    ORIGIN_COLUMNS,
)

_SLICED_FEATURE = "split"
_ALL_EXAMPLES = "All Examples"  # TFDV's name of the slice of everything
# TFDV works on as many rows of a slice at a time, instead of 1,000.
_ROWS_AT_A_TIME = 50_000
_QUANTILES = 20  # by which numbers are compared with a baseline (see drift.py)
_LARGEST_DOMAIN = 1000  # values of a category that a person may want to review
# How much rarer than here a value may be in a later corpus that is sound as well.
_RARER = 0.05


@dataclasses.dataclass
class GenerateStatistics(beam.PTransform):
    """RecordBatches of features -> one DatasetFeatureStatisticsList.

    It holds the statistics of all examples and of each split. The columns that tell
    a row's place are left out.
    """

    def expand(
        self, features: beam.PCollection[pa.RecordBatch]
    ) -> beam.PCollection[statistics_pb2.DatasetFeatureStatisticsList]:
        """Returns a collection of one element."""
        options = tfdv.StatsOptions(
            experimental_slice_functions=[_split_slices],
            use_sketch_based_topk_uniques=False,  # counts are exact
            num_quantiles_histogram_buckets=_QUANTILES,
            desired_batch_size=_ROWS_AT_A_TIME,
        )
        return (
            features
            | "LeaveOutPlaces" >> beam.Map(_without_places)
            | "GenerateStatistics" >> tfdv.GenerateStatistics(options)
        )


def _without_places(features: pa.RecordBatch) -> pa.RecordBatch:
    names = [name for name in features.schema.names if name not in ORIGIN_COLUMNS]
    return select_columns(features, names)


def _split_slices(features: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Divides rows by split; TFDV's own slicer goes through pandas."""
    splits = features.column(_SLICED_FEATURE).flatten()
    for split in pc.unique(splits).to_pylist():
        rows = np.flatnonzero(np.asarray(pc.equal(splits, split)))
        part = table_util.RecordBatchTake(features, pa.array(rows))
        yield f"{_SLICED_FEATURE}_{split.decode()}", part


def all_examples(
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Returns the statistics of all examples without those of the slices."""
    return statistics_pb2.DatasetFeatureStatisticsList(
        datasets=[d for d in statistics.datasets if d.name == _ALL_EXAMPLES]
    )


def features_by_name(
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
) -> dict[str, statistics_pb2.FeatureNameStatistics]:
    """Returns the features of all examples by their names."""
    return {
        feature.path.step[0]: feature
        for dataset in all_examples(statistics).datasets
        for feature in dataset.features
    }


def is_category(feature: statistics_pb2.FeatureNameStatistics) -> bool:
    """Tells a feature of names from one of numbers."""
    return feature.type == statistics_pb2.FeatureNameStatistics.STRING


def value_counts(feature: statistics_pb2.FeatureNameStatistics) -> dict[str, int]:
    """Returns how often each of a category's values occurs."""
    buckets = feature.string_stats.rank_histogram.buckets
    return {bucket.label: int(bucket.sample_count) for bucket in buckets}


def infer_schema(
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
) -> schema_pb2.Schema:
    """Infers what the features look like, for a person to review.

    It is no narrower than a later corpus of the same kind needs: a category may be
    missing somewhat more often than here. Numbers get the ranges they have by their
    nature (counts and shares), as a place to write narrower ones.
    """
    schema = tfdv.infer_schema(
        all_examples(statistics),
        infer_feature_shape=False,
        max_string_domain_size=_LARGEST_DOMAIN,
    )
    found = features_by_name(statistics)
    for feature in schema.feature:
        if feature.type == schema_pb2.INT:
            feature.int_domain.min = 0
        elif feature.type == schema_pb2.FLOAT:
            feature.float_domain.min, feature.float_domain.max = 0, 1
        elif feature.name in found:
            _relax_presence(feature, found[feature.name].string_stats.common_stats)
    return schema


def _relax_presence(
    feature: schema_pb2.Feature, common: statistics_pb2.CommonStatistics
) -> None:
    rows = common.num_non_missing + common.num_missing
    single = common.min_num_values == common.max_num_values == 1
    if not rows or (feature.name != "language" and single and not common.num_missing):
        return  # every example has it, because no review without it becomes one
    # 1 / sqrt(rows) is two standard deviations of a share at most.
    lowest = common.num_non_missing / rows - _RARER - 1 / math.sqrt(rows)
    feature.presence.Clear()
    feature.presence.min_fraction = max(0.0, math.floor(100 * lowest) / 100)


def load_schema(path: str) -> schema_pb2.Schema:
    """Loads a reviewed `schema.pbtxt`.

    Raises:
      UserError: it is missing or not a schema.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        return text_format.Parse(text, schema_pb2.Schema())
    except (OSError, text_format.ParseError, UnicodeDecodeError) as error:
        raise UserError(
            f"schema_rules.schema_file {path!r} can't be read as a schema: {error}. "
            "Start from the schema.pbtxt of an earlier dataset."
        ) from None


def write_schema(schema: schema_pb2.Schema, path: Place) -> None:
    """Writes a schema as text that `tfdv.load_schema_text` reads."""
    write_text(path, text_format.MessageToString(schema))
