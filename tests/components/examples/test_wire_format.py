import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.example.example_pb2 import Example

from reviewbeam.components.examples.wire_format import (
    bytes_feature,
    float_feature,
    int64_feature,
    serialize,
)

# Every number of bytes that a length or a number can take.
TEXTS = st.none() | st.text() | st.integers(0, 40_000).map(lambda size: "é" * size)
NUMBERS = st.integers(0, 300) | st.integers(0, 2**31 - 1) | st.integers(0, 2**63 - 1)
ROWS = st.lists(
    st.tuples(TEXTS, NUMBERS, st.lists(NUMBERS, min_size=1), st.floats(width=32)),
    min_size=1,
    max_size=8,
)


def _by_protobuf(text, number, numbers, floats):
    example = Example()
    feature = example.features.feature
    feature["é text"].SetInParent()
    if text is not None:
        feature["é text"].bytes_list.value.append(text.encode())
    feature["a number"].int64_list.value.append(number)
    feature["numbers"].int64_list.value.extend(numbers)
    feature["floats"].float_list.value.extend(floats)
    return example.SerializeToString(deterministic=True)


@given(rows=ROWS)
def test_the_bytes_are_those_of_protobuf(rows):
    texts, numbers, lists, floats = zip(*rows, strict=True)
    floats = [(value, 0.5) for value in floats]
    features = {
        "é text": bytes_feature(pa.array(texts, pa.string())),
        "numbers": int64_feature(pa.array(lists, pa.list_(pa.int64()))),
        "a number": int64_feature(pa.array(numbers, pa.int64())),
        "floats": float_feature(np.array(floats, np.float32)),
    }

    expected = [
        _by_protobuf(*row) for row in zip(texts, numbers, lists, floats, strict=True)
    ]
    assert serialize(features, len(rows)) == expected


def test_every_length_at_which_a_size_takes_one_byte_more():
    """Of the text, of what is around it, and of the whole."""
    texts = ["x" * length for length in [*range(90, 135), *range(16_350, 16_390)]]
    expected = []
    for text in texts:
        example = Example()
        example.features.feature["t"].bytes_list.value.append(text.encode())
        expected.append(example.SerializeToString(deterministic=True))

    assert serialize({"t": bytes_feature(pa.array(texts))}, len(texts)) == expected


def test_a_slice_of_a_column_has_its_own_rows():
    texts = pa.array(["one", None, "three", "four"]).slice(1, 2)
    numbers = pa.array([[1], [2, 300], [3], [4]], pa.list_(pa.int32())).slice(1, 2)
    features = {"t": bytes_feature(texts), "n": int64_feature(numbers)}

    found = [Example.FromString(data) for data in serialize(features, 2)]

    assert [list(e.features.feature["n"].int64_list.value) for e in found] == [
        [2, 300],
        [3],
    ]
    assert [list(e.features.feature["t"].bytes_list.value) for e in found] == [
        [],
        [b"three"],
    ]


def test_no_rows():
    assert serialize({"t": bytes_feature(pa.array([], pa.string()))}, 0) == []
