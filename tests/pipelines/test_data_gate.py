import json

import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics.stats_impl import (
    generate_statistics_in_memory,
)

from reviewbeam.components.common.errors import DataGateError
from reviewbeam.components.common.prepare_config import PrepareConfig, SchemaRules
from reviewbeam.components.examples.encode import as_lists
from reviewbeam.components.validation.anomalies import Anomaly
from reviewbeam.pipelines.data_gate import check_statistics, pass_gate

OPTIONS = tfdv.StatsOptions(num_quantiles_histogram_buckets=20)
UNKNOWN = Anomaly("language", "ENUM_TYPE_UNEXPECTED_STRING_VALUES", "values: 'xx'", 0.2)


def _config(rules=None, fatal=()):
    return PrepareConfig.model_validate(
        {
            "encoder": "e",
            "columns": {"text": "text", "label": "label"},
            "labels": {"type": "binary", "names": ["bad", "good"]},
            "rules": rules or {},
            "schema_rules": {"fatal": list(fatal)},
        }
    )


def _inputs(*pairs):
    return {
        "inputs": [
            {"file": f"{n}.csv", "rows": rows, "rejected": {"text_empty": rejected}}
            for n, (rows, rejected) in enumerate(pairs)
        ]
    }


def _statistics(languages, lengths):
    columns = [as_lists(pa.array(languages)), as_lists(pa.array(lengths))]
    batch = pa.RecordBatch.from_arrays(columns, names=["language", "characters"])
    statistics = generate_statistics_in_memory(batch, OPTIONS)
    statistics.datasets[0].name = "All Examples"
    return statistics


def _write(path, statistics):
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(statistics.SerializeToString())
    return path


EVEN = _statistics(["de", "en"] * 500, list(range(1000)))
SHIFTED = _statistics(["de", "en", "en", "en", "ja"] * 200, list(range(1000)))


# === The gate ===


def test_a_dataset_within_its_limits_passes_without_a_report(tmp_path):
    rules = {"max_reject_fraction": 0.1, "max_reject_fraction_per_file": 0.2}
    report = tmp_path / "report.json"
    pass_gate(_config(rules), _inputs((50, 10), (50, 0)), [UNKNOWN], report)
    assert not report.exists()


def test_every_reason_is_told_at_once(tmp_path):
    rules = {"max_reject_fraction": 0.1, "max_reject_fraction_per_file": 0.2}
    config = _config(rules, ["ENUM_TYPE_UNEXPECTED_STRING_VALUES"])
    report = tmp_path / "report.json"
    with pytest.raises(DataGateError) as caught:
        pass_gate(config, _inputs((50, 10), (50, 11)), [UNKNOWN], report)
    message = str(caught.value)
    assert "21 of 100 rows are rejects" in message
    assert "1.csv: 11 of 50 rows are rejects" in message and "0.csv" not in message
    assert "language: values: 'xx'; found 0.2" in message
    told = json.loads(report.read_text())
    assert len(told["problems"]) == 3
    assert told["inputs"] == _inputs((50, 10), (50, 11))["inputs"]


@pytest.mark.parametrize("fatal", ["all", UNKNOWN.kind])
def test_an_anomaly_stops_a_dataset_only_where_it_is_fatal(fatal, tmp_path):
    described, report = _inputs((10, 0)), tmp_path / "report.json"
    pass_gate(_config(fatal=["INT_TYPE_BIG_INT"]), described, [UNKNOWN], report)
    with pytest.raises(DataGateError, match="schema_rules.fatal stops on it"):
        pass_gate(_config(fatal=[fatal]), described, [UNKNOWN], report)


def test_no_rows_are_no_division_by_zero(tmp_path):
    rules = {"max_reject_fraction": 0.0, "max_reject_fraction_per_file": 0.0}
    pass_gate(_config(rules), _inputs((0, 0)), [], tmp_path / "report.json")


# === Statistics, schema and baseline ===


def test_without_a_schema_one_is_inferred_that_fits(tmp_path):
    path = _write(tmp_path / "s.tfrecord", EVEN)
    schema, anomalies, drift = check_statistics(path, SchemaRules(), None, {})
    assert {feature.name for feature in schema.feature} == {"language", "characters"}
    assert (anomalies, drift) == ([], [])


def test_a_reviewed_schema_is_taken_as_it_is_and_held_against(tmp_path):
    path = _write(tmp_path / "even", EVEN)
    schema, _, _ = check_statistics(path, SchemaRules(), None, {})
    tfdv.write_schema_text(schema, str(tmp_path / "schema.pbtxt"))
    rules = SchemaRules(schema_file=str(tmp_path / "schema.pbtxt"))
    places = {("language", "ja"): "a.csv row 7"}
    path = _write(tmp_path / "shifted", SHIFTED)
    taken, anomalies, _ = check_statistics(path, rules, None, places)
    assert taken == schema
    (anomaly,) = anomalies
    assert (anomaly.feature, anomaly.figure, anomaly.threshold, anomaly.example) == (
        "language", pytest.approx(0.2), pytest.approx(0.0), "a.csv row 7"
    )  # fmt: skip


def test_drift_is_measured_for_all_and_an_anomaly_where_it_is_too_far(tmp_path):
    path = _write(tmp_path / "shifted", SHIFTED)
    _, anomalies, drift = check_statistics(path, SchemaRules(), EVEN, {})
    figures = {distance.feature: distance.figure for distance in drift}
    assert figures == {
        "characters": pytest.approx(0, abs=0.01),
        "language": pytest.approx(0.3),
    }
    assert [anomaly.feature for anomaly in anomalies] == ["language"]
    rules = SchemaRules.model_validate({"drift": {"categories": 0.4}})
    assert check_statistics(path, rules, EVEN, {})[1] == []
