import csv
import io
import json

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.inference.formats import (
    drop_segments,
    encode_scores,
    scores_table,
)

LABELS = ("bad", "good")
FLOATS = st.floats(0, 1, width=32)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"))
ROWS = st.lists(
    st.tuples(TEXTS, st.none() | TEXTS, FLOATS, FLOATS, FLOATS), min_size=1, max_size=8
)


def table(rows, multilabel=False):
    """Scores of rows (id, kept, score, margin, probability)."""
    ids, kept, score, margin, probability = map(list, zip(*rows, strict=True))
    label = ["good"] * len(rows)
    if multilabel:
        label, score, margin = (
            [[value] for value in c] for c in (label, score, margin)
        )
    number = pa.list_(pa.float32()) if multilabel else pa.float32()
    batch = pa.RecordBatch.from_pydict(
        {
            "id": pa.array(ids, pa.string()),
            "language": pa.array(kept, pa.string()),
            "label": pa.array(label),
            "score": pa.array(score, number),
            "margin": pa.array(margin, number),
            "probabilities": pa.array(
                [[1 - p, p] for p in probability], pa.list_(pa.float32())
            ),
            "text": pa.array(ids, pa.string()),
            "keep.product": pa.array(kept, pa.string()),
        }
    )
    return scores_table(batch)


@pytest.mark.parametrize("multilabel", [False, True])
@given(rows=ROWS)
def test_every_value_is_read_again(multilabel, rows):
    scores = table(rows, multilabel)
    expected = scores.to_pylist()

    data, _ = encode_scores(scores, [len(rows)], LABELS, "parquet")
    assert pq.read_table(io.BytesIO(data)).to_pylist() == expected

    data, _ = encode_scores(scores, [len(rows)], LABELS, "jsonl")
    found = [json.loads(line) for line in data.split(b"\n")[:-1]]
    assert [as_float32(row) for row in found] == expected

    data, _ = encode_scores(scores, [len(rows)], LABELS, "csv")
    for row, wanted in zip(
        csv.DictReader(io.StringIO(data.decode(), newline="")), expected, strict=True
    ):
        read = json.loads if multilabel else float
        assert row["id"] == wanted["id"]
        assert row["product"] == (wanted["product"] or "")
        for name in ("score", "margin"):
            assert pa.array([read(row[name])], scores[name].type).to_pylist() == [
                wanted[name]
            ]
        probabilities = [float(row[f"probability.{label}"]) for label in LABELS]
        assert as_float32({"p": probabilities})["p"] == wanted["probabilities"]


def as_float32(row):
    """Rounds a row's numbers as the table does."""
    kinds = {float: pa.float32(), list: pa.list_(pa.float32())}
    return {
        name: pa.array([value], kinds[type(value)])[0].as_py()
        if type(value) in kinds and value and not isinstance(value, str)
        and not (isinstance(value, list) and isinstance(value[0], str))
        else value
        for name, value in row.items()
    }  # fmt: skip


@given(rows=ROWS, data=st.data())
def test_segments_are_dropped_whole(rows, data):
    scores = table(rows)
    cut = data.draw(st.integers(0, len(rows)))
    counts = [cut, 0, len(rows) - cut]
    keep = data.draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
    kept = rows[:cut] * keep[0] + rows[cut:] * keep[2]
    for kind in ("parquet", "jsonl", "csv"):
        whole, sizes = encode_scores(scores, counts, LABELS, kind)
        rest = drop_segments(whole, counts, sizes, keep, kind)
        if kept:
            assert rest == encode_scores(table(kept), [len(kept)], LABELS, kind)[0]
        else:
            assert len(rest) < len(whole) or not any(counts)


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv"])
def test_of_each_segment_it_must_be_told_whether_it_stays(kind):
    rows = [("a", "x", 0.9, 0.8, 0.9), ("b", "y", 1, 1, 1)]
    whole, sizes = encode_scores(table(rows), [1, 1], LABELS, kind)
    with pytest.raises(ValueError):
        drop_segments(whole, [1, 1], sizes, [True, False, False], kind)


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv"])
def test_duckdb_and_pandas_read_them_as_they_are(tmp_path, kind):
    rows = [
        ("a", "x", 0.9, 0.8, 0.9),
        ('q"\n,', None, 0.1, 0.2, 0.25),
        ("ü", "y", 1, 1, 1),
    ]
    folder = tmp_path / "model_version=m-1"
    folder.mkdir()
    data, _ = encode_scores(table(rows), [3], LABELS, kind)
    (folder / f"part-1.{kind}").write_bytes(data)
    (tmp_path / "_manifest.json").write_text("{}")
    read = {"parquet": "read_parquet", "jsonl": "read_json", "csv": "read_csv"}[kind]
    query = f"select * from {read}('{tmp_path}/*/part-*', hive_partitioning=true)"
    by_duckdb = duckdb.sql(query).df().sort_values("id", ignore_index=True)
    if kind == "parquet":
        by_pandas = pd.read_parquet(tmp_path)
    elif kind == "jsonl":
        by_pandas = pd.read_json(folder / "part-1.jsonl", lines=True)
    else:
        by_pandas = pd.read_csv(folder / "part-1.csv")
    by_pandas = by_pandas.sort_values("id", ignore_index=True)
    for found in (by_duckdb, by_pandas):
        assert found["id"].to_list() == ["a", 'q"\n,', "ü"]
        assert found["score"].to_list() == pytest.approx([0.9, 0.1, 1])
        assert found["product"].fillna("-").to_list() == ["x", "-", "y"]
        if kind == "csv":
            assert found["probability.good"].to_list() == pytest.approx([0.9, 0.25, 1])
        else:
            assert list(found["probabilities"][1]) == pytest.approx([0.75, 0.25])
    assert set(by_duckdb["model_version"]) == {"m-1"}
