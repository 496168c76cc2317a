import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.examples.encode import (
    as_lists,
    decode_examples,
    encode_examples,
)

SCHEMA = pa.schema(
    [
        ("token_ids", pa.list_(pa.int32())),
        ("label_index", pa.int32()),
        ("id", pa.string()),
        ("language", pa.string()),
        ("text", pa.string()),
        ("count", pa.int64()),
        ("keep.shop", pa.string()),
    ]
)
DECODED = ("token_ids", "label_index", "id", "language", "text", "count")
TEXT = st.text(max_size=6)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "token_ids": st.lists(st.integers(0, 250_001), min_size=2, max_size=6),
            "label_index": st.integers(0, 4),
            "id": TEXT.filter(bool),
            "language": st.none() | TEXT,
            "text": TEXT,
            "count": st.integers(1, 2**40),
            "keep.shop": st.none() | TEXT,
        }
    ),
    max_size=8,
)
ROW = {
    "token_ids": [0, 250_001, 2],
    "label_index": 1,
    "id": "r1",
    "language": "de",
    "text": "größer",
    "count": 3,
    "keep.shop": "s1",
}


def _batch(rows):
    return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)


def _encoded(rows):
    return encode_examples(_batch(rows), 5)


def _features(record):
    """A serialized tf.Example as plain Python, by TensorFlow's own class."""
    example = tf.train.Example.FromString(record)
    return {
        name: list(getattr(feature, feature.WhichOneof("kind")).value)
        if feature.WhichOneof("kind")
        else []
        for name, feature in example.features.feature.items()
    }


def test_features_of_an_example():
    (record,) = _encoded([ROW])

    assert _features(record) == {
        "token_ids": [0, 250_001, 2],
        "label": [1],
        "id": [b"r1"],
        "language": [b"de"],
        "text": ["größer".encode()],
        "count": [3],
        "shop": [b"s1"],
    }


def test_nulls_have_no_value():
    rows = [ROW | {"language": None, "keep.shop": None}, ROW]
    first, second = map(_features, _encoded(rows))

    assert first.get("language", []) == first.get("shop", []) == []
    assert second["language"] == [b"de"]
    assert first["text"] == second["text"]


def test_tensorflow_parses_the_records():
    rows = [ROW, ROW | {"language": None, "token_ids": [0, 2], "keep.shop": None}]
    spec = {
        "token_ids": tf.io.RaggedFeature(tf.int64),
        "label": tf.io.FixedLenFeature([], tf.int64),
        "count": tf.io.FixedLenFeature([], tf.int64),
        "id": tf.io.FixedLenFeature([], tf.string),
        "language": tf.io.FixedLenFeature([], tf.string, default_value="none"),
        "shop": tf.io.VarLenFeature(tf.string),
    }
    records = _encoded(rows)

    parsed = tf.io.parse_single_example(records[1], spec)
    assert parsed["token_ids"].numpy().tolist() == [0, 2]
    assert (int(parsed["label"]), int(parsed["count"])) == (1, 3)
    assert (parsed["id"].numpy(), parsed["language"].numpy()) == (b"r1", b"none")
    assert parsed["shop"].values.numpy().tolist() == []
    together = tf.io.parse_example(records, spec)
    assert together["language"].numpy().tolist() == [b"de", b"none"]
    assert together["token_ids"].to_list() == [[0, 250_001, 2], [0, 2]]


@given(rows=ROWS)
def test_round_trip(rows):
    decoded = decode_examples(_encoded(rows), keep=["shop"])

    names = [*DECODED, "keep.shop"]
    assert decoded.schema.names == names
    assert decoded.schema.field("token_ids").type == pa.list_(pa.int32())
    assert decoded.schema.field("keep.shop").type == pa.string()
    assert decoded.to_pylist() == [{name: row[name] for name in names} for row in rows]


def test_kept_columns_are_taken_on_request():
    assert decode_examples(_encoded([ROW])).schema.names == list(DECODED)


@given(rows=ROWS)
def test_tensorflow_reads_every_value(rows):
    for record, row in zip(_encoded(rows), rows, strict=True):
        features = _features(record)
        language, shop = row["language"], row["keep.shop"]
        assert features["text"] == [row["text"].encode()]
        assert features["count"] == [row["count"]]
        assert features.get("language", []) == (
            [] if language is None else [language.encode()]
        )
        assert features.get("shop", []) == ([] if shop is None else [shop.encode()])


def test_an_example_has_the_same_bytes_among_others():
    rows = [ROW | {"id": f"r{i}", "keep.shop": None} for i in range(20)]
    together = _encoded(rows)

    assert together == [_encoded([row])[0] for row in rows]
    sliced = _batch([ROW, *rows, ROW]).slice(1, 20)
    assert encode_examples(sliced, 5) == together


def test_no_examples():
    decoded = decode_examples([])

    assert decoded.num_rows == 0
    assert decoded.schema == decode_examples(_encoded([ROW])).schema
    kept = decode_examples([], keep=["shop"]).schema
    assert kept == decode_examples(_encoded([ROW]), keep=["shop"]).schema


@pytest.mark.parametrize("languages", [[None, None], ["de", None], [None, "de"]])
def test_missing_languages_are_null(languages):
    rows = [ROW | {"language": language} for language in languages]

    decoded = decode_examples(_encoded(rows))
    assert decoded.column("language").to_pylist() == languages
    assert decoded.column("language").type == pa.string()


@pytest.mark.parametrize(
    ("column", "lists"),
    [
        (pa.array([1, None, 3]), [[1], None, [3]]),
        (pa.array(["é", "", None]), [["é".encode()], [b""], None]),
        (pa.array([True, None, False]).cast(pa.int64()), [[1], None, [0]]),
        (pa.array([None, None], pa.string()), [None, None]),
        (pa.array([], pa.int64()), []),
        (pa.array([0, 1, None, 3, 4]).slice(1, 3), [[1], None, [3]]),
    ],
)
def test_values_as_lists(column, lists):
    assert as_lists(column).to_pylist() == lists


def test_strings_become_bytes_in_lists():
    assert as_lists(pa.array(["a"])).type == pa.list_(pa.binary())


# === Several labels ===

MULTILABEL = SCHEMA.set(1, pa.field("label_index", pa.list_(pa.int32())))
LABELS = [[0, 2], [], [1], [0, 1, 2]]
HOT = [[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]]


def _multilabel(labels):
    rows = [ROW | {"id": f"r{i}", "label_index": one} for i, one in enumerate(labels)]
    return pa.RecordBatch.from_pylist(rows, schema=MULTILABEL)


def test_several_labels_are_a_float_for_each_class():
    records = encode_examples(_multilabel(LABELS), 3)

    assert [_features(record)["label"] for record in records] == HOT
    spec = {"label": tf.io.FixedLenFeature([3], tf.float32)}
    parsed = tf.io.parse_example(records, spec)
    assert parsed["label"].numpy().tolist() == HOT
    single = tf.io.parse_single_example(records[0], spec)
    assert single["label"].dtype == tf.float32
    assert single["label"].numpy().tolist() == HOT[0]


@given(
    labels=st.lists(st.frozensets(st.integers(0, 6)).map(sorted), max_size=6),
    start=st.integers(0, 3),
)
def test_any_labels_of_any_slice(labels, start):
    records = encode_examples(_multilabel(labels).slice(start), 7)

    assert [_features(record)["label"] for record in records] == [
        [float(index in one) for index in range(7)] for one in labels[start:]
    ]


@given(labels=st.lists(st.frozensets(st.integers(0, 6)).map(sorted), max_size=6))
def test_several_labels_there_and_back(labels):
    records = encode_examples(_multilabel(labels), 7)

    decoded = decode_examples(records, multilabel=True)
    assert decoded.schema.names == list(DECODED)
    assert decoded.schema.field("label_index").type == pa.list_(pa.int32())
    assert decoded.column("label_index").to_pylist() == labels
    assert decoded.column("id").to_pylist() == [f"r{i}" for i in range(len(labels))]
