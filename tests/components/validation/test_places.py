import json

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from reviewbeam.components.common.coders import register_record_batch_coder
from reviewbeam.components.validation.places import (
    FindPlaces,
    find_places,
    limit_places,
    place_texts,
)


def _features(rows):
    """Rows of (labels, tokens, file, slice, row)."""
    labels, tokens, files, slices, numbers = zip(*rows, strict=True)
    return pa.RecordBatch.from_pydict(
        {
            "label": pa.array(labels, pa.list_(pa.binary())),
            "tokens": pa.array([[n] for n in tokens], pa.list_(pa.int64())),
            "file": pa.array(files, pa.string()),
            "slice": pa.array(slices, pa.int64()),
            "row": pa.array(numbers, pa.int64()),
        }
    )


ROWS = [
    ([b"good"], 7, "b", 0, 1),
    ([b"good", b"bad"], 3, "a", 2, 1),
    ([b"good"], 9, "a", 0, 8),
    (None, 9, "a", 1, 1),
    ([b"bad"], 3, "a", 10, 1),
    (None, 5, "a", 0, 9),
]
EXPECTED = [
    (("label", ""), (0, "a", 0, 9)),
    (("label", "bad"), (0, "a", 2, 1)),
    (("label", "good"), (0, "a", 0, 8)),
    (("tokens", "max"), (-9, "a", 0, 8)),
    (("tokens", "min"), (3, "a", 2, 1)),
]


def test_the_first_example_of_each_value():
    assert sorted(find_places(_features(ROWS))) == EXPECTED


def test_no_rows_have_no_places():
    assert find_places(_features(ROWS).slice(0, 0)) == []


def test_a_slice_of_a_batch():
    found = dict(find_places(_features(ROWS).slice(3, 2)))

    assert found == {
        ("label", ""): (0, "a", 1, 1),
        ("label", "bad"): (0, "a", 10, 1),
        ("tokens", "min"): (3, "a", 10, 1),
        ("tokens", "max"): (-9, "a", 1, 1),
    }


def test_batches_and_their_order_change_nothing(tmp_path):
    register_record_batch_coder()
    features = _features(ROWS)
    batches = [features.slice(4, 2), features.slice(1, 3), features.slice(0, 1)]
    path = tmp_path / "places.json"
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        _ = (
            pipeline
            | "Create" >> beam.Create(batches)
            | "FindPlaces" >> FindPlaces()
            | "Write" >> beam.Map(lambda places: path.write_text(json.dumps(places)))
        )

    found = json.loads(path.read_text())
    assert found == json.loads(json.dumps(EXPECTED))
    offsets = {("a", 0): 0, ("a", 2): 100}
    assert place_texts(found, offsets) == {
        ("label", ""): "a row 9",
        ("label", "bad"): "a row 101",
        ("label", "good"): "a row 8",
        ("tokens", "max"): "a row 8",
        ("tokens", "min"): "a row 101",
    }


def test_numbers_stay_exact_and_shares_are_compared_as_numbers():
    features = pa.RecordBatch.from_pydict(
        {
            "share": pa.array([[0.5], [0.25], [0.0]], pa.list_(pa.float32())),
            "file": ["f"] * 3,
            "slice": pa.array([0] * 3, pa.int64()),
            "row": pa.array([1, 2, 3], pa.int64()),
        }
    )

    assert dict(find_places(features)) == {
        ("share", "min"): (0.0, "f", 0, 3),
        ("share", "max"): (-0.5, "f", 0, 1),
    }


def test_so_many_values_and_no_more():
    rng = np.random.default_rng(3)
    rows = [([b"v%04d" % n], 1, "f", 0, n) for n in rng.permutation(1500).tolist()]
    whole = limit_places(find_places(_features(rows)))
    parts = dict(find_places(_features(rows[:700])))
    parts |= dict(find_places(_features(rows[700:])))

    labels = [which for (feature, which), _ in whole if feature == "label"]
    assert labels == [f"v{n:04d}" for n in range(1000)]
    kept = [place for place in limit_places(parts.items()) if place[0][0] == "label"]
    assert kept == [place for place in whole if place[0][0] == "label"]
