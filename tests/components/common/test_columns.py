import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common.columns import (
    RAW_BYTES,
    REJECTS,
    VALUES,
    concat_batches,
    from_bytes,
    is_value,
    parquet_bytes,
    raw_of_values,
    raw_records,
    reject_batch,
    review_schema,
    select_columns,
    to_bytes,
    with_columns,
    without_columns,
)

MIXED = pa.schema(
    [
        ("number", pa.int64()),
        ("text", pa.string()),
        ("raw", pa.binary()),
        ("flag", pa.bool_()),
        ("key", pa.binary(4)),
        ("ids", pa.list_(pa.int32())),
    ]
)


def _optional(values):
    return st.none() | values


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "number": _optional(st.integers(-(2**63), 2**63 - 1)),
            "text": _optional(st.text(max_size=8)),
            "raw": _optional(st.binary(max_size=8)),
            "flag": _optional(st.booleans()),
            "key": _optional(st.binary(min_size=4, max_size=4)),
            "ids": _optional(
                st.lists(_optional(st.integers(-(2**31), 2**31 - 1)), max_size=3)
            ),
        }
    ),
    max_size=40,
)


def _batch(rows, schema=MIXED):
    columns = [
        pa.array([row[field.name] for row in rows], field.type) for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def test_schema_of_reviews():
    assert review_schema(("product", "text")).names == [
        *("file", "slice", "row", "byte_offset", "raw", "problem"),
        *("repairs", "text", "id", "label", "language", "group"),
        *("time", "given_split"),
        *("keep.product", "keep.text"),
    ]
    assert REJECTS.names == [
        *("file", "slice", "row", "byte_offset", "rule", "value", "raw")
    ]


@given(rows=ROWS, share=st.floats(0, 1), length=st.integers(0, 40))
def test_bytes_bring_a_slice_back(rows, share, length):
    start = round(share * len(rows))
    part = _batch(rows).slice(start, length)
    back = from_bytes(to_bytes(part))

    assert back.schema == MIXED
    assert back.to_pylist() == part.to_pylist() == rows[start : start + length]


def test_the_bytes_of_a_slice_bring_its_rows_only():
    random = np.random.default_rng(0)
    rows = [
        {
            "number": int(random.integers(2**60)),
            "text": random.bytes(200).hex(),
            "raw": random.bytes(200),
            "flag": True,
            "key": random.bytes(4),
            "ids": random.integers(2**31, size=100).tolist(),
        }
        for _ in range(400)
    ]
    whole = _batch(rows)
    size = len(to_bytes(whole))

    assert size > 400 * 600
    for start in (0, 199, 395):
        part = to_bytes(whole.slice(start, 4))
        assert len(part) < size / 50
        assert len(part) <= len(to_bytes(_batch(rows[start : start + 4]))) + 64


@given(rows=ROWS, shares=st.lists(st.floats(0, 1), max_size=4))
def test_concatenated_batches_are_the_rows_in_order(rows, shares):
    bounds = [0, *sorted(round(share * len(rows)) for share in shares), len(rows)]
    whole = _batch(rows)
    parts = [
        whole.slice(start, stop - start)
        for start, stop in zip(bounds[:-1], bounds[1:], strict=True)
    ]
    joined = concat_batches(parts, MIXED)

    assert joined.schema == MIXED
    assert joined.to_pylist() == rows


def test_no_batches_make_an_empty_one():
    assert concat_batches([], MIXED).num_rows == 0
    assert concat_batches([], MIXED).schema == MIXED


def test_batches_of_another_schema_are_refused():
    other = pa.RecordBatch.from_pydict({"number": [1]})

    with pytest.raises(pa.ArrowInvalid, match="[Ss]chema"):
        concat_batches([_batch([]), other], MIXED)


def test_with_columns_replaces_in_place_and_adds_at_the_end():
    batch = pa.RecordBatch.from_pydict({"a": [1, 2], "b": ["x", "y"]})
    changed = with_columns(batch, c=pa.array([True, False]), a=pa.array([3, 4]))

    assert changed.to_pydict() == {"a": [3, 4], "b": ["x", "y"], "c": [True, False]}
    assert changed.schema.names == ["a", "b", "c"]
    assert batch.to_pydict() == {"a": [1, 2], "b": ["x", "y"]}


def test_select_columns_in_the_order_asked_for():
    batch = pa.RecordBatch.from_pydict({"a": [1], "b": ["x"], "c": [None]})

    assert select_columns(batch, ["c", "a"]).to_pydict() == {"c": [None], "a": [1]}


def test_without_columns_keeps_the_others_in_order():
    batch = pa.RecordBatch.from_pydict({"a": [1], "b": ["x"], "c": [None]})

    left = without_columns(batch, "b", "met nowhere")
    assert left.to_pydict() == {"a": [1], "c": [None]}


def test_values_are_what_the_corpus_said_of_a_review():
    names = [name for name in review_schema(("file",)).names if is_value(name)]

    assert names == [*VALUES, "keep.file"]
    assert not is_value("label_index")


def test_a_record_without_bytes_is_told_by_its_values():
    schema = review_schema(("shop",))
    rows = [
        {"raw": b"as it was", "text": "a"},
        {"text": "é", "id": "r2", "keep.shop": "s", "file": "f", "problem": "p"},
        {"raw": b"x" * 70_000},
        {"text": "x" * 70_000},
        {"raw": b""},
    ]
    batch = pa.RecordBatch.from_pylist(rows, schema=schema)
    unset = dict.fromkeys(["label", "language", "group", "time", "given_split"])

    first, second, long, long_text, empty = raw_records(batch).to_pylist()
    assert first == b"as it was"
    expected = {"text": "é", "id": "r2", "keep.shop": "s"} | unset
    assert orjson.loads(second) == expected
    assert long == b"x" * RAW_BYTES == b"x" * 65_536
    assert len(long_text) == RAW_BYTES
    assert empty == b""
    assert [orjson.loads(raw) for raw in raw_of_values(batch.slice(1, 1))] == [expected]
    assert raw_records(batch.slice(1, 1)).to_pylist() == [second]
    assert raw_records(batch.slice(0, 0)).to_pylist() == []


def test_equal_tables_have_equal_parquet_bytes():
    table = pa.table({"a": [1, None], "b": [[0.5], []]})
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)]).combine_chunks()

    assert parquet_bytes(table) == parquet_bytes(chunked)
    assert pq.read_table(pa.BufferReader(parquet_bytes(table))).equals(table)


def test_rejects_tell_where_they_come_from_and_no_more_than_is_given():
    rows = pa.RecordBatch.from_pylist(
        [{"file": "f", "row": 2, "text": "a"}, {"file": "g", "byte_offset": 7}],
        schema=review_schema(()),
    )
    rule = pa.array(["blank_text", "label_unknown"])
    place = {"slice": None, "row": 2, "byte_offset": None}
    first = {"file": "f", "rule": "blank_text", "value": None, "raw": None} | place
    place = {"slice": None, "row": None, "byte_offset": 7}
    second = {"file": "g", "rule": "label_unknown", "value": None, "raw": None} | place

    rejects = reject_batch(rows, rule)
    assert rejects.schema == REJECTS
    assert rejects.to_pylist() == [first, second]

    told = reject_batch(
        rows, rule, value=pa.array([None, "6"]), raw=pa.array([b"x", None])
    )
    assert told.schema == REJECTS
    assert told.to_pylist() == [first | {"raw": b"x"}, second | {"value": "6"}]
    assert reject_batch(rows.slice(0, 0), rule.slice(0, 0)).num_rows == 0
