import dataclasses

import pyarrow as pa

from reviewbeam.components.common.columns import ORIGIN, REJECTS
from reviewbeam.components.inference.parts import (
    ChunkRecord,
    Segment,
    UnitRecord,
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
