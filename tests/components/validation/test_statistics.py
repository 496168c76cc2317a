import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from reviewbeam.components.common.coders import register_record_batch_coder
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.prepare_config import SchemaRules
from reviewbeam.components.examples.encode import as_lists
from reviewbeam.components.validation.anomalies import (
    Anomaly,
    check_anomaly_kinds,
    find_anomalies,
    is_fatal,
)
from reviewbeam.components.validation.statistics import (
    GenerateStatistics,
    all_examples,
    features_by_name,
    infer_schema,
    load_schema,
    value_counts,
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
    features = {feature.name: feature for feature in schema.feature}
    features["tokens"].int_domain.max = 10
    features["share"].float_domain.min = 0.5
    features["language"].presence.min_fraction = 0.9
    schema.feature.add(name="stars", type=schema_pb2.INT).presence.min_fraction = 1
    places = {
        ("label", "good"): "f row 2",
        ("tokens", "max"): "f row 3",
        ("share", "min"): "f row 4",
        ("language", ""): "f row 5",
    }
    tokens, share = np.asarray(COLUMNS["tokens"]), np.asarray(COLUMNS["share"])

    found = find_anomalies(statistics, schema, places)
    assert [
        (item.feature, item.kind, item.figure, item.threshold, item.example)
        for item in found
    ] == [
        ("label", "ENUM_TYPE_UNEXPECTED_STRING_VALUES", 80 / 120, 0, "f row 2"),
        ("language", "FEATURE_TYPE_LOW_FRACTION_PRESENT", 0.75, 0.9, "f row 5"),
        ("share", "FLOAT_TYPE_SMALL_FLOAT", share.min(), 0.5, "f row 4"),
        ("stars", "SCHEMA_MISSING_COLUMN", None, None, None),
        ("tokens", "INT_TYPE_BIG_INT", tokens.max(), 10, "f row 3"),
    ]
    assert str(found[0]) == (
        "label: values outside the domain: 'good'; found 0.666667, allowed 0; "
        "for example f row 2 (ENUM_TYPE_UNEXPECTED_STRING_VALUES)"
    )
    assert [item.example for item in find_anomalies(statistics, schema)] == [None] * 5


def test_the_share_outside_a_domain_that_a_schema_allows(statistics):
    schema = infer_schema(statistics)
    (language,) = [f for f in schema.feature if f.name == "language"]
    language.ClearField("domain")
    language.string_domain.value.append("fr")
    language.distribution_constraints.min_domain_mass = 0.5

    (found,) = find_anomalies(statistics, schema, {("language", "de"): "f row 1"})
    assert found.description == "values outside the domain: 'de'"
    assert (found.figure, found.threshold) == (pytest.approx(60 / 90), 0.5)
    assert found.example == "f row 1"
    language.distribution_constraints.min_domain_mass = 0.3
    assert find_anomalies(statistics, schema) == []


def test_the_example_is_of_the_most_frequent_value(statistics):
    schema = infer_schema(statistics)
    (labels,) = [domain for domain in schema.string_domain if domain.name == "label"]
    labels.value[:] = ["fair"]
    places = {("label", "good"): "f row 2", ("label", "bad"): "f row 1"}

    (found,) = find_anomalies(statistics, schema, places)
    assert found.description == "values outside the domain: 'bad', 'good'"
    assert (found.figure, found.example) == (1, "f row 2")


def test_a_drift_comparator_alone_is_no_anomaly(statistics):
    schema = infer_schema(statistics)
    for feature in schema.feature:
        feature.drift_comparator.infinity_norm.threshold = 0

    assert find_anomalies(statistics, schema) == []


def test_constraints_on_the_dataset_count_too(statistics):
    schema = infer_schema(statistics)
    schema.dataset_constraints.min_examples_count = 121

    (found,) = find_anomalies(statistics, schema)
    assert (found.feature, found.kind) == ("dataset", "DATASET_LOW_NUM_EXAMPLES")


def test_an_inferred_schema_leaves_room_for_the_next_corpus(statistics):
    features = {feature.name: feature for feature in infer_schema(statistics).feature}

    # 0.75 less 0.05 less 1 / sqrt(120), which is 0.09
    assert features["language"].presence.min_fraction == pytest.approx(0.60)
    assert features["language"].presence.min_count == 0
    assert features["split"].presence.min_fraction == 1
    assert features["tokens"].presence.min_fraction == 1
    assert features["tokens"].int_domain.min == 0
    assert not features["tokens"].int_domain.HasField("max")
    share = features["share"].float_domain
    assert (share.min, share.max) == (0, 1)


def test_many_names_still_make_a_domain(tmp_path):
    names = [f"c{number:03d}" for number in range(300)]
    columns = {"split": pa.array(["train"] * 300), "label": pa.array(names)}
    schema = infer_schema(_generate([_features(columns)], tmp_path / "statistics.pb"))

    (domain,) = [domain for domain in schema.string_domain if domain.name == "label"]
    assert sorted(domain.value) == names


def test_columns_that_tell_places_are_no_features(tmp_path):
    features = _features()
    columns = dict(zip(features.schema.names, features.columns, strict=True)) | {
        "file": pa.array(["f"] * ROWS),
        "slice": pa.array([0] * ROWS),
        "row": pa.array(range(ROWS)),
    }
    batch = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    found = _generate([batch], tmp_path / "statistics.pb")

    assert set(features_by_name(found)) == set(COLUMNS)


def test_several_labels_a_row(tmp_path):
    labels = pa.array([[b"a", b"b"], None, [b"b"], [b"a"]] * 30, pa.list_(pa.binary()))
    split = as_lists(pa.array(["train"] * 120))
    batch = pa.RecordBatch.from_arrays([split, labels], names=["split", "label"])
    statistics = _generate([batch], tmp_path / "statistics.pb")

    assert value_counts(features_by_name(statistics)["label"]) == {"a": 60, "b": 60}
    schema = infer_schema(statistics)
    (label,) = [feature for feature in schema.feature if feature.name == "label"]
    assert label.presence.min_fraction == pytest.approx(0.60)
    assert find_anomalies(statistics, schema) == []


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
