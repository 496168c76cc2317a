"""The gate of `prepare`: what stops a dataset, and what is kept then."""

from collections.abc import Mapping
from typing import Any

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from reviewbeam.components.common import artifacts
from reviewbeam.components.common.errors import DataGateError
from reviewbeam.components.common.places import Place
from reviewbeam.components.common.prepare_config import PrepareConfig, SchemaRules
from reviewbeam.components.validation import statistics as stats
from reviewbeam.components.validation.anomalies import Anomaly, find_anomalies, is_fatal
from reviewbeam.components.validation.drift import (
    Drift,
    drift_anomalies,
    measure_drift,
)
from reviewbeam.components.validation.limits import reject_problems
from reviewbeam.components.validation.places import Key
from reviewbeam.pipelines.dataset_report import put_dataset_report
from reviewbeam.pipelines.report_file import REPORT_PAGE


def check_statistics(
    path: Place,
    rules: SchemaRules,
    baseline: statistics_pb2.DatasetFeatureStatisticsList | None,
    places: Mapping[Key, str],
) -> tuple[schema_pb2.Schema, list[Anomaly], list[Drift]]:
    """Holds the statistics of a dataset against its schema and its baseline.

    Args:
      path: of the statistics.
      rules: the schema, and how far the baseline may be.
      baseline: statistics of an earlier dataset.
      places: an example's place for each value.

    Returns:
      The schema (the reviewed one, or else one inferred from these statistics), what
      it or the baseline doesn't allow, and all distances from the baseline.
    """
    record = path.read_bytes()[12:-4]  # between length and checksums of a TFRecord
    statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(record)
    if rules.schema_file is None:
        schema = stats.infer_schema(statistics)
    else:
        schema = stats.load_schema(rules.schema_file)
    drift = []
    if baseline is not None:
        drift = measure_drift(statistics, baseline, rules.drift, schema)
    anomalies = find_anomalies(statistics, schema, places)
    return schema, anomalies + drift_anomalies(drift, places), drift


def pass_gate(
    config: PrepareConfig,
    described: dict[str, Any],
    anomalies: list[Anomaly],
    report: Place,
) -> None:
    """Stops a dataset that the config doesn't allow.

    Args:
      config: with the limits.
      described: what the manifest would say; goes into the report then.
      anomalies: in its statistics.
      report: the file to write then, with a page beside it.

    Raises:
      DataGateError: lists every reason.
    """
    problems = reject_problems(config.rules, described["inputs"])
    problems += [
        f"{anomaly}; schema_rules.fatal stops on it."
        for anomaly in anomalies
        if is_fatal(anomaly, config.schema_rules)
    ]
    if not problems:
        return
    artifacts.write_json(report, described | {"problems": problems})
    page = report.with_name(REPORT_PAGE)
    put_dataset_report(page, described, config, problems=problems)
    raise DataGateError(
        "The data gate stopped this dataset; nothing was published:\n"
        + "\n".join(f"  - {problem}" for problem in problems)
        + "\nThe report (report.html), the rejects and the statistics are beside the "
        "output, in the folder whose name ends in .failed."
    )
