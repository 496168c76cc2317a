import dataclasses
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reviewbeam.components.common.columns import with_columns
from reviewbeam.components.inference.parts import (
    Chunk,
    ChunkRecord,
    is_staged,
    read_records,
    rejects_path,
    write_part,
)

CHUNK = Chunk(file="2024/a.jsonl", sha256="0" * 64, slice=3, first_row=16_385)


def _scored(rows=2):
    return pa.RecordBatch.from_pydict(
        {
            "file": ["2024/a.jsonl"] * rows,
            "id": [f"r{i}" for i in range(rows)],
            "text": ["never written"] * rows,
            "keep.shop": ["s"] * rows,
            "token_ids": [[0, 2]] * rows,
            "probabilities": pa.array([[0.25, 0.75]] * rows, pa.list_(pa.float32())),
            "language": pa.array([None] * rows, pa.string()),
            "label": ["good"] * rows,
            "score": pa.array([0.75] * rows, pa.float32()),
        }
    )


def test_a_name_is_the_same_in_every_run():
    # What was staged by an earlier version is found by these.
    assert CHUNK.name == "938b90b98289a110c3c1"
    assert CHUNK.part == f"part-{CHUNK.name}.parquet"


@pytest.mark.parametrize(
    "change",
    [{"file": "2024/b.jsonl"}, {"sha256": "1" * 64}, {"slice": 4}, {"first_row": 1}],
)
def test_another_chunk_has_another_name(change):
    assert dataclasses.replace(CHUNK, **change).name != CHUNK.name


def test_fields_of_a_name_do_not_run_together():
    one, other = (Chunk("a", "0", *pair) for pair in ((1, 11), (11, 1)))

    assert one.name != other.name


def test_a_part_and_its_record(tmp_path):
    record = ChunkRecord(
        CHUNK, rows=5, written=2, rejected={"text_empty": 2}, excluded=1
    )
    assert not is_staged(str(tmp_path), CHUNK)
    write_part(str(tmp_path), record, _scored(), b"rejects")

    assert is_staged(str(tmp_path), CHUNK)
    assert read_records(tmp_path) == [record]
    assert rejects_path(tmp_path, CHUNK).read_bytes() == b"rejects"
    table = pq.read_table(tmp_path / CHUNK.part)
    columns = ["id", "language", "label", "score", "probabilities", "shop"]
    assert table.column_names == columns
    assert table.to_pylist()[1] == {
        "id": "r1",
        "language": None,
        "label": "good",
        "score": 0.75,
        "probabilities": [0.25, 0.75],
        "shop": "s",
    }
    assert len(os.listdir(tmp_path)) == 3  # no temporary file
    # Rejects hold texts as they were.
    assert rejects_path(tmp_path, CHUNK).stat().st_mode & 0o777 == 0o600


def test_labels_as_lists(tmp_path):
    labels = pa.array([["good", "cheap"], []], pa.list_(pa.string()))
    scored = with_columns(
        _scored(),
        label=labels,
        score=pa.array([[0.75, 0.5], []], pa.list_(pa.float32())),
    )
    record = ChunkRecord(CHUNK, rows=2, written=2, rejected={}, excluded=0)
    write_part(str(tmp_path), record, scored, b"")

    frame = pd.read_parquet(tmp_path / CHUNK.part)
    assert [row.tolist() for row in frame["label"]] == [["good", "cheap"], []]
    assert [row.tolist() for row in frame["score"]] == [[0.75, 0.5], []]
    assert frame["score"][0].dtype == frame["score"][1].dtype == np.float32


def test_what_holds_no_row_is_not_written(tmp_path):
    nothing = ChunkRecord(
        CHUNK, rows=2, written=0, rejected={"text_empty": 2}, excluded=0
    )
    write_part(str(tmp_path), nothing, _scored(0), b"rejects")
    assert not (tmp_path / CHUNK.part).exists()
    assert rejects_path(tmp_path, CHUNK).exists()

    other = dataclasses.replace(CHUNK, slice=4)
    write_part(str(tmp_path), ChunkRecord(other, 2, 2, {}, 0), _scored(), b"")
    assert (tmp_path / other.part).exists()
    assert not rejects_path(tmp_path, other).exists()


def test_a_chunk_is_staged_when_all_of_it_is(tmp_path, monkeypatch):
    """The record comes last: a worker that dies before has staged nothing."""
    from reviewbeam.components.inference import parts

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(parts, "write_json", die)
    record = ChunkRecord(CHUNK, rows=2, written=2, rejected={}, excluded=0)
    with pytest.raises(KeyboardInterrupt):
        write_part(str(tmp_path), record, _scored(), b"")

    assert (tmp_path / CHUNK.part).exists()
    assert not is_staged(str(tmp_path), CHUNK)
    assert read_records(tmp_path) == []


def test_records_are_ordered_by_place(tmp_path):
    places = [("b", 0, 1), ("a", 10, 1), ("a", 2, 5), ("a", 2, 1)]
    for file, piece, row in places:
        record = ChunkRecord(Chunk(file, "0", piece, row), 1, 1, {}, 0)
        write_part(str(tmp_path), record, _scored(1), b"")
    (tmp_path / "summaries.json").write_text("[]")  # is no record

    found = [
        (r.chunk.file, r.chunk.slice, r.chunk.first_row) for r in read_records(tmp_path)
    ]
    assert found == sorted(places)
