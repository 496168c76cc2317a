import dataclasses

import pyarrow as pa
import pytest

from reviewbeam.components.common.columns import ORIGIN, REJECTS
from reviewbeam.components.common.places import place
from reviewbeam.components.inference.parts import (
    ChunkRecord,
    Segment,
    UnitRecord,
    Work,
    chunk_name,
    counted,
    name_without,
    read_chunks,
    read_units,
    segments_of,
    write_record,
)

HASHES = {"a": "1a", "b": "2b"}


def rows(*places):
    """Rows as they were read, from (file, slice, row)."""
    files, slices, numbers = zip(*places, strict=True)
    columns = [files, slices, numbers, [None] * len(files)]
    return pa.RecordBatch.from_arrays(
        [
            pa.array(column, field.type)
            for column, field in zip(columns, ORIGIN, strict=True)
        ],
        schema=pa.schema(ORIGIN),
    )


def rejects(*reasons):
    """Rejects from (file, slice, row, rule)."""
    origins = rows(*(reason[:3] for reason in reasons)).columns if reasons else []
    rules = pa.array([reason[3] for reason in reasons], pa.string())
    nothing = [pa.nulls(len(rules), pa.string()), pa.nulls(len(rules), pa.binary())]
    if not reasons:
        origins = [pa.array([], field.type) for field in ORIGIN]
    return pa.RecordBatch.from_arrays([*origins, rules, *nothing], schema=REJECTS)


CHUNK = rows(
    ("a", 0, 9), ("a", 0, 11), ("a", 1, 12), ("b", 0, 1), ("b", 0, 2), ("b", 0, 3)
)  # fmt: skip


def test_a_chunk_is_divided_by_file_and_slice():
    assert segments_of(CHUNK, HASHES) == (
        Segment("a", "1a", 0, 9, 2),
        Segment("a", "1a", 1, 12, 1),
        Segment("b", "2b", 0, 1, 3),
    )


def test_a_name_follows_from_unit_places_and_contents():
    segments = segments_of(CHUNK, HASHES)
    name = chunk_name("u", segments, "c")
    assert name == chunk_name("u", segments_of(CHUNK, HASHES), "c")
    others = [
        chunk_name("v", segments, "c"),
        chunk_name("u", segments[:2], "c"),
        chunk_name("u", segments_of(CHUNK, {"a": "1a", "b": "other"}), "c"),
        chunk_name("u", segments, "d"),
        name_without(name, {"a"}),
        name_without(name, {"b"}),
        name_without(name, {"a", "b"}),
    ]
    assert len({name, *others}) == 8
    counts = [dataclasses.replace(s, written=1, bytes=7) for s in segments]
    assert chunk_name("u", tuple(counts), "c") == name


def test_each_row_of_a_segment_is_written_rejected_or_excluded():
    reviews = rows(("a", 0, 9), ("b", 0, 3))
    lost = rejects(("b", 0, 1, "text_empty"), ("a", 1, 12, "malformed_json"))
    found = counted(segments_of(CHUNK, HASHES), reviews, lost)
    told = [(s.written, s.rejected, s.excluded) for s in found]
    assert told == [
        (1, {}, 1),
        (0, {"malformed_json": 1}, 0),
        (1, {"text_empty": 1}, 1),
    ]


def test_records_are_read_as_they_were_written(tmp_path):
    segments = counted(
        segments_of(CHUNK, HASHES),
        rows(("a", 0, 9)),
        rejects(("b", 0, 1, "x")),
    )
    chunk = ChunkRecord("c2", "u", segments, {"calls": 3}, {"rows": 1})
    other = ChunkRecord("c1", "u", (), {}, None)
    unit = UnitRecord("u", ("c2", "c1"), [{"file": "a", "index": 0}])
    for record in (chunk, other, unit):
        write_record(tmp_path, record)
    assert list(read_chunks(tmp_path)) == [other, chunk]
    assert read_units(tmp_path) == {"u": unit}
    assert (chunk.rows, chunk.written, chunk.rejected) == (6, 1, 1)


@pytest.fixture
def work(tmp_path):
    """One chunk with a part and rejects, one with neither, in a unit; all finished."""
    folders = [tmp_path / name for name in ("staging", "scores", "rejects")]
    for folder in folders:
        folder.mkdir()
    work = Work(*map(str, folders), "csv")
    segments = (Segment("a", "1a", 0, 1, 3, written=2, rejected={"x": 1}),)
    write_record(folders[0], ChunkRecord("c1", "u", segments, {}, None))
    write_record(folders[0], ChunkRecord("c2", "u", (), {}, None))
    write_record(folders[0], UnitRecord("u", ("c1", "c2"), []))
    work.new_part("c1").write_text("scores")
    work.new_rejects("c1").write_text("rejects")
    return work


def test_what_is_staged_is_finished(work, tmp_path):
    assert work.new_part("c1") == tmp_path / "staging" / "part-c1.csv"
    assert work.find_part("c1") == work.new_part("c1")
    assert work.new_rejects("c1") == tmp_path / "staging" / "rejects-c1.parquet"
    assert work.find_rejects("c1") == work.new_rejects("c1")
    for found in (work, work.as_listed()):
        assert found.is_finished("c1") and found.is_finished("c2")
        assert not found.is_finished("c3")
        assert found.is_read("u")
        assert found.unread(["u", "v"]) == {"v"}


def test_what_was_published_is_finished_too(work, tmp_path):
    (tmp_path / "staging" / "part-c1.csv").rename(tmp_path / "scores" / "part-c1.csv")
    rejects = tmp_path / "rejects" / "rejects-c1.parquet"
    (tmp_path / "staging" / "rejects-c1.parquet").rename(rejects)
    assert work.find_part("c1") == tmp_path / "scores" / "part-c1.csv"
    assert work.find_rejects("c1") == rejects
    assert work.is_read("u")


@pytest.mark.parametrize("lost", ["part-c1.csv", "rejects-c1.parquet"])
def test_what_lost_a_file_is_not_finished(work, tmp_path, lost):
    before = work.as_listed()
    (tmp_path / "staging" / lost).unlink()
    assert not work.is_finished("c1")
    assert work.is_finished("c2")
    assert work.unread(["u"]) == {"u"}
    assert before.is_finished("c1")  # it asks no more


def test_in_a_store_files_go_to_their_final_places():
    work = Work("s3://b/_staged", "s3://b/scores", "s3://b/_rejects", "parquet")
    assert work.new_part("c") == place("s3://b/scores/part-c.parquet")
    assert work.new_rejects("c") == place("s3://b/_rejects/rejects-c.parquet")
