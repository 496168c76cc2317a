"""TFDV statistics of what was written, their schema and its anomalies."""

import dataclasses
import os
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from reviewbeam.components.common.errors import UserError, listing
from reviewbeam.components.common.job_configs import SchemaRules

_SLICED_FEATURE = "split"
_ALL_EXAMPLES = "All Examples"  # TFDV's name of the slice of everything


@dataclasses.dataclass
class GenerateStatistics(beam.PTransform):
    """RecordBatches of features -> one DatasetFeatureStatisticsList.

    It holds the statistics of all examples and of each split.
    """

    def expand(
        self, features: beam.PCollection[pa.RecordBatch]
    ) -> beam.PCollection[statistics_pb2.DatasetFeatureStatisticsList]:
        """Returns a collection of one element."""
        options = tfdv.StatsOptions(
            experimental_slice_functions=[
                tfdv.experimental_get_feature_value_slicer({_SLICED_FEATURE: None})
            ],
            use_sketch_based_topk_uniques=False,  # counts are exact
        )
        return features | "GenerateStatistics" >> tfdv.GenerateStatistics(options)


@dataclasses.dataclass(frozen=True)
class Anomaly:
    """Something in the statistics that the schema doesn't allow."""

    feature: str
    kind: str  # TFDV's name of the anomaly type
    description: str

    def __str__(self) -> str:
        return f"{self.feature}: {self.description} ({self.kind})"


def all_examples(
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Returns the statistics of all examples without those of the slices."""
    return statistics_pb2.DatasetFeatureStatisticsList(
        datasets=[d for d in statistics.datasets if d.name == _ALL_EXAMPLES]
    )


def infer_schema(
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
) -> schema_pb2.Schema:
    """Infers what the features look like, for a person to review."""
    return tfdv.infer_schema(all_examples(statistics), infer_feature_shape=False)


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


def find_anomalies(
    statistics: statistics_pb2.DatasetFeatureStatisticsList, schema: schema_pb2.Schema
) -> list[Anomaly]:
    """Returns what the schema doesn't allow, ordered by feature and kind."""
    found = tfdv.validate_statistics(all_examples(statistics), schema)
    kinds = anomalies_pb2.AnomalyInfo.Type
    return sorted(
        (
            Anomaly(feature, kinds.Name(reason.type), reason.description)
            for feature, info in found.anomaly_info.items()
            for reason in info.reason
        ),
        key=lambda anomaly: (anomaly.feature, anomaly.kind),
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


def write_schema(schema: schema_pb2.Schema, path: Path) -> None:
    """Writes a schema as text that `tfdv.load_schema_text` reads."""
    tfdv.write_schema_text(schema, os.fspath(path))
