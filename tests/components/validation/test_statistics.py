import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from reviewbeam.components.common.coders import register_record_batch_coder
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.job_configs import SchemaRules
from reviewbeam.components.examples.encode import as_lists
from reviewbeam.components.validation.statistics import (
    Anomaly,
    GenerateStatistics,
    all_examples,
    check_anomaly_kinds,
    find_anomalies,
    infer_schema,
    is_fatal,
    load_schema,
    write_schema,
)

ROWS = 120
RANDOM = np.random.default_rng(1)
COLUMNS = {
    "split": pa.array(["train"] * 80 + ["validation"] * 30 + ["test"] * 10),
    "label": pa.array(["bad", "good", "good"] * 40),
    "language": pa.array(["de", None, "fr", "de"] * 30),
    "tokens": pa.array(RANDOM.integers(3, 60, ROWS)),
    "share": pa.array(RANDOM.random(ROWS).astype(np.float32)),
}


def _features(columns=COLUMNS):
    return pa.RecordBatch.from_arrays(
        [as_lists(column) for column in columns.values()], names=list(columns)
    )


def _generate(batches, path):
    """Runs the transform; a file carries its one element out of the pipeline."""
    register_record_batch_coder()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        _ = (
            pipeline
            | "Create" >> beam.Create(batches)
            | "GenerateStatistics" >> GenerateStatistics()
            | "Write" >> beam.Map(lambda s: path.write_bytes(s.SerializeToString()))
        )
    return statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())


@pytest.fixture(scope="module")
def statistics(tmp_path_factory):
    features = _features()
    batches = [features.slice(0, 50), features.slice(50, 70)]
    return _generate(batches, tmp_path_factory.mktemp("statistics") / "statistics.pb")


def _dataset(statistics, name):
    (dataset,) = [d for d in statistics.datasets if d.name == name]
    return dataset


def _feature(dataset, name):
    (feature,) = [f for f in dataset.features if list(f.path.step) == [name]]
    return feature


def _value_counts(feature):
    return {
        bucket.label: int(bucket.sample_count)
        for bucket in feature.string_stats.rank_histogram.buckets
    }


def test_there_is_a_slice_for_each_split(statistics):
    assert {d.name: d.num_examples for d in statistics.datasets} == {
        "All Examples": 120,
        "split_train": 80,
        "split_validation": 30,
        "split_test": 10,
    }


def test_counts_are_exact(statistics):
    everything = _dataset(statistics, "All Examples")
    language = _feature(everything, "language")

    assert _value_counts(_feature(everything, "label")) == {"good": 80, "bad": 40}
    assert _value_counts(language) == {"de": 60, "fr": 30}
    assert language.string_stats.unique == 2
    common = language.string_stats.common_stats
    assert (common.num_non_missing, common.num_missing) == (90, 30)
    assert _value_counts(_feature(_dataset(statistics, "split_test"), "label")) == {
        "good": 7,
        "bad": 3,
    }


@pytest.mark.parametrize(
    ("name", "rows"),
    [("All Examples", slice(None)), ("split_validation", slice(80, 110))],
)
def test_numbers_are_numpys(statistics, name, rows):
    dataset = _dataset(statistics, name)
    for column in ("tokens", "share"):
        found = _feature(dataset, column).num_stats
        values = np.asarray(COLUMNS[column])[rows]
        assert found.mean == pytest.approx(values.mean(), rel=1e-6)
        assert found.std_dev == pytest.approx(values.std(), rel=1e-6)
        assert (found.min, found.max) == (values.min(), values.max())


def test_all_examples_leaves_the_slices_out(statistics):
    whole = all_examples(statistics)

    assert [d.name for d in whole.datasets] == ["All Examples"]
    assert len(statistics.datasets) == 4


def test_the_inferred_schema_does_not_depend_on_batches_or_order(statistics, tmp_path):
    rows = np.random.default_rng(2).permutation(ROWS)
    shuffled = _features({n: c.take(pa.array(rows)) for n, c in COLUMNS.items()})
    batches = [shuffled.slice(start, 7) for start in range(0, ROWS, 7)]
    again = _generate(batches, tmp_path / "statistics.pb")

    schema = infer_schema(statistics)
    assert infer_schema(again) == schema
    features = {feature.name: feature for feature in schema.feature}
    assert set(features) == set(COLUMNS)
    assert features["tokens"].type == schema_pb2.INT
    assert features["share"].type == schema_pb2.FLOAT
    assert features["label"].presence.min_fraction == 1
    assert features["language"].presence.min_fraction < 1
    domains = {domain.name: list(domain.value) for domain in schema.string_domain}
    assert domains["label"] == ["bad", "good"]


def test_what_a_schema_was_inferred_from_fits_it(statistics):
    assert find_anomalies(statistics, infer_schema(statistics)) == []


def test_finds_anomalies(statistics):
    schema = infer_schema(statistics)
    (labels,) = [domain for domain in schema.string_domain if domain.name == "label"]
    labels.value.remove("good")
    (tokens,) = [feature for feature in schema.feature if feature.name == "tokens"]
    tokens.int_domain.max = 10
    schema.feature.add(name="stars", type=schema_pb2.INT).presence.min_fraction = 1

    found = find_anomalies(statistics, schema)
    assert [(anomaly.feature, anomaly.kind) for anomaly in found] == [
        ("label", "ENUM_TYPE_UNEXPECTED_STRING_VALUES"),
        ("stars", "SCHEMA_MISSING_COLUMN"),
        ("tokens", "INT_TYPE_BIG_INT"),
    ]
    assert "good" in found[0].description
    assert str(found[0]) == (
        f"label: {found[0].description} (ENUM_TYPE_UNEXPECTED_STRING_VALUES)"
    )


def test_kinds_of_anomalies():
    check_anomaly_kinds(SchemaRules())
    check_anomaly_kinds(SchemaRules(fatal=("all",)))
    check_anomaly_kinds(
        SchemaRules(fatal=("ENUM_TYPE_UNEXPECTED_STRING_VALUES", "all"))
    )

    with pytest.raises(UserError) as error:
        check_anomaly_kinds(SchemaRules(fatal=("all", "ENUM_TYPE_UNEXPECTED")))
    assert "names 'ENUM_TYPE_UNEXPECTED', which is no anomaly type" in str(error.value)
    assert "'ENUM_TYPE_UNEXPECTED_STRING_VALUES'" in str(error.value)


def test_the_config_says_which_anomalies_are_fatal():
    anomaly = Anomaly("label", "ENUM_TYPE_UNEXPECTED_STRING_VALUES", "why")

    assert not is_fatal(anomaly, SchemaRules())
    assert not is_fatal(anomaly, SchemaRules(fatal=("INT_TYPE_BIG_INT",)))
    assert is_fatal(anomaly, SchemaRules(fatal=("ENUM_TYPE_UNEXPECTED_STRING_VALUES",)))
    assert is_fatal(anomaly, SchemaRules(fatal=("all",)))


def test_a_written_schema_can_be_loaded(statistics, tmp_path):
    import tensorflow_data_validation as tfdv

    schema = infer_schema(statistics)
    for name in ("one", "two"):
        write_schema(schema, tmp_path / name)

    assert load_schema(str(tmp_path / "one")) == schema
    assert tfdv.load_schema_text(str(tmp_path / "one")) == schema
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert text_format.Parse((tmp_path / "one").read_text(), schema_pb2.Schema())


@pytest.mark.parametrize(
    "content", [None, "folder", b"\xff\xfe", b"feature {", b"x: 1"]
)
def test_a_file_that_is_no_schema(tmp_path, content):
    path = tmp_path / "schema.pbtxt"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)

    with pytest.raises(UserError, match="schema.pbtxt' can't be read as a schema: "):
        load_schema(str(path))


def test_statistics_of_nothing_have_no_examples():
    empty = statistics_pb2.DatasetFeatureStatisticsList()

    assert len(all_examples(empty).datasets) == 0
