import functools
import math

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics.stats_impl import (
    generate_statistics_in_memory,
)
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from reviewbeam.components.common.artifacts import write_manifest
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.prepare_config import DriftRules
from reviewbeam.components.examples.encode import as_lists
from reviewbeam.components.validation.anomalies import find_anomalies
from reviewbeam.components.validation.drift import (
    Drift,
    drift_anomalies,
    load_baseline,
    measure_drift,
)
from reviewbeam.components.validation.statistics import infer_schema

LANGUAGES = ("de", "en", "es", "fr", "ja")
OPTIONS = tfdv.StatsOptions(num_quantiles_histogram_buckets=20)
NO_SCHEMA = schema_pb2.Schema()


def _statistics(columns):
    batch = pa.RecordBatch.from_arrays(
        [
            as_lists(column if isinstance(column, pa.Array) else pa.array(column))
            for column in columns.values()
        ],
        names=list(columns),
    )
    statistics = generate_statistics_in_memory(batch, OPTIONS)
    statistics.datasets[0].name = "All Examples"
    return statistics


@functools.cache
def _corpus(
    rows,
    seed,
    longer=1.0,
    languages=(0.4, 0.3, 0.15, 0.1, 0.05),
    labels=(0.1, 0.2, 0.7),
    missing=0.02,
):
    """Like reviews: lengths with a long tail, shares and flags that are mostly 0."""
    rng = np.random.default_rng(seed)
    characters = np.maximum(3, rng.lognormal(4.5, 0.8, rows) * longer).astype(np.int64)
    language = rng.choice(LANGUAGES, rows, p=languages).astype(object)
    language[rng.random(rows) < missing] = None
    unknown = rng.random(rows) * (rng.random(rows) < 0.05)
    return _statistics(
        {
            "split": rng.choice(["train", "test"], rows),
            "label": rng.choice(["bad", "fair", "good"], rows, p=labels),
            "language": language,
            "characters": characters,
            "tokens": np.minimum(characters // 4 + 2, 256),
            "unknown_token_share": unknown.astype(np.float32),
            "truncated": (characters > 1024).astype(np.int64),
            "count": rng.geometric(0.9, rows),
        }
    )


def _drift(now, before, schema=NO_SCHEMA, **rules):
    found = measure_drift(now, before, DriftRules(**rules), schema)
    return {drift.feature: drift for drift in found}


def _fired(drifts):
    return {anomaly.feature for anomaly in drift_anomalies(list(drifts.values()))}


@pytest.mark.parametrize("rows", [100, 300, 1000, 5000])
def test_two_samples_of_one_corpus_are_silent(rows):
    for seed in range(10):
        one, other = _corpus(rows, 2 * seed), _corpus(rows, 2 * seed + 1)
        assert _fired(_drift(one, other)) == set()
        assert find_anomalies(one, infer_schema(other)) == []


@pytest.mark.parametrize("rows", [300, 1000])
@pytest.mark.parametrize(
    ("shift", "features"),
    [
        ({"languages": (0.1, 0.3, 0.15, 0.1, 0.35)}, {"language"}),
        ({"missing": 0.6}, {"language"}),
        ({"longer": 3.0}, {"characters", "tokens"}),
        ({"labels": (0.7, 0.2, 0.1)}, {"label"}),
    ],
    ids=["languages", "missing", "longer", "labels"],
)
def test_a_shifted_corpus_fires(rows, shift, features):
    assert _fired(_drift(_corpus(rows, 2, **shift), _corpus(rows, 1))) == features
    assert _fired(_drift(_corpus(rows, 1), _corpus(rows, 2, **shift))) == features


def test_the_distance_of_categories():
    now = _statistics({"label": ["a"] * 700 + ["b"] * 200 + [None] * 100})
    before = _statistics({"label": ["a"] * 1000 + ["b"] * 1000})

    (drift,) = measure_drift(now, before, DriftRules(categories=0.15), NO_SCHEMA)
    assert (drift.feature, drift.measure, drift.value) == ("label", "L_INFTY", "b")
    assert drift.figure == pytest.approx(0.5 - 0.2)
    assert drift.threshold == pytest.approx(0.15 + math.sqrt(1 / 1000 + 1 / 2000))


def test_a_missing_category_is_a_value():
    now = _statistics({"language": ["de"] * 400 + [None] * 600})
    before = _statistics({"language": ["de"] * 1000})

    (drift,) = measure_drift(now, before, DriftRules(), NO_SCHEMA)
    assert drift.figure == pytest.approx(0.6)
    (anomaly,) = drift_anomalies([drift], {("language", "de"): "f row 1"})
    assert drift.value in ("de", "(none)")
    assert f"most of all '{drift.value}'" in anomaly.description
    only_now = _statistics({"language": ["de", None] * 500 + [None] * 1000})
    both = _statistics({"language": ["de"] * 500 + ["fr"] * 300 + [None] * 200})
    (drift,) = measure_drift(only_now, both, DriftRules(), NO_SCHEMA)
    assert (drift.figure, drift.value) == (pytest.approx(0.55), "(none)")
    (anomaly,) = drift_anomalies([drift], {("language", ""): "f row 2"})
    assert anomaly.example == "f row 2"


def test_the_distance_of_numbers():
    """Half of the reviews leave the lower half of the baseline's values."""
    before = _statistics({"tokens": np.arange(2000)})
    now = _statistics({"tokens": np.arange(2000) // 2 + 1000})

    (drift,) = measure_drift(now, before, DriftRules(numbers=0.2), NO_SCHEMA)
    assert drift.measure == "JENSEN_SHANNON_DIVERGENCE"
    # p = 1/2, 1/2 and q = 0, 1: with m = 1/4, 3/4, in bits.
    expected = 0.5 * (0.5 * 1 + 0.5 * math.log2(2 / 3)) + 0.5 * math.log2(4 / 3)
    assert drift.figure == pytest.approx(expected, abs=0.005)
    chance = 19 * (1 / 2000 + 1 / 2000) / (8 * math.log(2))
    assert drift.threshold == pytest.approx(0.2 + chance)


@pytest.mark.parametrize(
    ("now", "before", "least", "most"),
    [
        ([0] * 1000, [0] * 1000, 0, 0),
        # One in a thousand: TFDV's bins of equal width say 1.
        ([0] * 999 + [1], [0] * 1000, 0, 0.03),
        ([0] * 1000, [0] * 999 + [1], 0, 0.03),
        ([0] * 500 + [1] * 500, [0] * 1000, 0.25, 0.35),
        ([7] * 1000, [0] * 1000, 0.99, 1),
        ([0] * 1000, [7] * 1000, 0.99, 1),
        # One review of a million tokens.
        ([*range(999), 10**6], [*range(1000)], 0, 0.03),
        ([*range(1000)], [*range(999), 10**6], 0, 0.03),
    ],
)
def test_numbers_at_few_places(now, before, least, most):
    now, before = _statistics({"count_of": now}), _statistics({"count_of": before})

    (drift,) = measure_drift(now, before, DriftRules(), NO_SCHEMA)
    assert least <= drift.figure <= most


def test_all_features_are_measured_but_some():
    found = _drift(_corpus(1000, 1), _corpus(1000, 2))

    left_out = {"split", "count"}
    assert list(found) == sorted(
        {"label", "language", "characters", "tokens", "truncated"}
        | {"unknown_token_share"}
    )
    named = _drift(
        _corpus(1000, 1), _corpus(1000, 2), features={"count": 0.3, "split": 0.4}
    )
    assert set(named) == set(found) | left_out
    assert 0.3 < named["count"].threshold < 0.32
    assert 0.4 < named["split"].threshold < 0.45


def test_a_threshold_of_its_own():
    one, other = _corpus(1000, 1), _corpus(1000, 2, longer=1.5)

    assert _fired(_drift(one, other, numbers=0.01)) == {"characters", "tokens"}
    assert _fired(_drift(one, other, features={"tokens": 0.01})) == {"tokens"}


def test_an_unknown_feature():
    with pytest.raises(UserError) as error:
        _drift(_corpus(300, 1), _corpus(300, 2), features={"tokns": 0.1})
    assert "names 'tokns', which is no feature (did you mean 'tokens'?)" in str(
        error.value
    )


def test_a_comparator_in_the_schema_goes_first():
    schema = infer_schema(_corpus(1000, 1))
    features = {feature.name: feature for feature in schema.feature}
    features["language"].drift_comparator.infinity_norm.threshold = 0.001
    features["count"].drift_comparator.jensen_shannon_divergence.threshold = 0.7
    drifts = _drift(
        _corpus(1000, 1), _corpus(1000, 2), schema, features={"language": 0.9}
    )

    assert drifts["language"].threshold == pytest.approx(0.001)
    assert drifts["count"].threshold == pytest.approx(0.7)
    assert drifts["language"].figure > 0.001
    assert _fired(drifts) == {"language"}


def _names(statistics):
    return {feature.path.step[0] for feature in statistics.datasets[0].features}


def test_features_that_only_one_has():
    now = _statistics({"tokens": [1, 2] * 50, "emoji_share": [0.5] * 100})
    before = _statistics({"tokens": ["1", "2"] * 50, "characters": [1] * 100})

    assert _drift(now, before) == {}
    assert _drift(now, now, features={"emoji_share": 0.2}).keys() == _names(now)


def test_a_language_in_only_one():
    nothing = _statistics({"language": pa.array([None] * 1000, pa.string())})
    german = _statistics({"language": ["de"] * 1000})

    for now, before in ((nothing, german), (german, nothing)):
        (drift,) = _drift(now, before).values()
        assert drift.figure == pytest.approx(1)


def test_statistics_of_splits_are_left_alone():
    both = statistics_pb2.DatasetFeatureStatisticsList()
    both.CopyFrom(_corpus(300, 1))
    split = both.datasets.add()
    split.CopyFrom(_corpus(300, 2, longer=9.0).datasets[0])
    split.name = "split_train"

    assert _drift(both, _corpus(300, 3)) == _drift(_corpus(300, 1), _corpus(300, 3))


def test_anomalies_are_what_is_beyond_its_threshold():
    drifts = [
        Drift("label", "L_INFTY", 0.3, 0.1, "bad"),
        Drift("language", "L_INFTY", 0.1, 0.1),
        Drift("tokens", "JENSEN_SHANNON_DIVERGENCE", 0.25, 0.2),
    ]
    places = {("label", "bad"): "f.jsonl row 3"}

    assert [str(anomaly) for anomaly in drift_anomalies(drifts, places)] == [
        "label: drift from the baseline, largest difference of a value's share "
        "(L-infinity), most of all 'bad'; found 0.3, allowed 0.1; for example "
        "f.jsonl row 3 (COMPARATOR_L_INFTY_HIGH)",
        "tokens: drift from the baseline, Jensen-Shannon divergence; found 0.25, "
        "allowed 0.2 (COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH)",
    ]


def _write_dataset(path, statistics=None, kind="dataset"):
    path.mkdir()
    write_manifest(path, kind, "identity", files=())
    if statistics is not None:
        with tf.io.TFRecordWriter(str(path / "statistics.tfrecord")) as writer:
            writer.write(statistics.SerializeToString())
    return path


def test_load_baseline(tmp_path):
    statistics = _corpus(300, 1)

    path = _write_dataset(tmp_path / "one", statistics)
    assert load_baseline(str(path)) == statistics


def test_what_is_no_baseline(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        load_baseline(tmp_path / "nowhere")
    with pytest.raises(UserError, match="model"):
        load_baseline(_write_dataset(tmp_path / "model", _corpus(300, 1), "model"))
    with pytest.raises(UserError, match=r"statistics.tfrecord can't be read \("):
        load_baseline(_write_dataset(tmp_path / "none"))
    broken = _write_dataset(tmp_path / "broken")
    (broken / "statistics.tfrecord").write_bytes(b"not a record")
    with pytest.raises(UserError, match=r"statistics.tfrecord can't be read \("):
        load_baseline(broken)
    empty = statistics_pb2.DatasetFeatureStatisticsList()
    with pytest.raises(UserError, match="statistics of no example"):
        load_baseline(_write_dataset(tmp_path / "empty", empty))
