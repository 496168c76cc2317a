import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewbeam.components.common.corpus_config import Columns, CorpusConfig
from reviewbeam.components.ingestion import records, units
from reviewbeam.components.ingestion.files import CorpusFile, find_files
from reviewbeam.components.ingestion.spool import SpooledChunk, spool
from reviewbeam.components.ingestion.units import (
    Unit,
    UnitReader,
    plan_units,
    unit_of_data,
    unit_to_data,
)


def file_of(name, size, compression="none", file_format="jsonl"):
    return CorpusFile(f"/{name}", name, file_format, compression, size, f"sha-{name}")


def config_of(folder, **changes):
    return CorpusConfig(
        input=(f"{folder}/*",), columns=Columns(text="text", id="id"), **changes
    )


def write(folder, name, lines):
    data = b"".join(line + b"\n" for line in lines)
    (folder / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)


def record(i, text="some words"):
    return json.dumps({"id": f"r{i}", "text": text}).encode()


@given(
    st.lists(st.integers(0, 3000), max_size=40),
    st.sampled_from([("csv", "none"), ("jsonl", "gzip"), ("csv", "zstd")]),
)
def test_each_file_is_in_one_unit_and_packs_are_full(sizes, kind):
    file_format, compression = kind
    files = [
        file_of(f"{i:03d}", size, compression, file_format)
        for i, size in enumerate(sizes)
    ]
    units, damaged = plan_units(files, 1000, False)
    assert not damaged
    names = [piece.file.name for unit in units for piece in unit.slices]
    assert sorted(names) == [file.name for file in files]
    weight = 4 if compression != "none" else 1
    for unit in units:
        size = sum(piece.file.size for piece in unit.slices) * weight
        assert unit.spool == (size > 1000 and len(unit.slices) == 1)
        assert unit.spool or size <= 2000
    packs = [u for u in units if not u.spool]
    for one, other in zip(packs, packs[1:], strict=False):
        first = other.slices[0].file.size
        assert (sum(p.file.size for p in one.slices) + first) * weight > 2000
    assert len({unit.name for unit in units}) == len(units)


def test_a_units_name_follows_from_names_and_contents():
    one, two = file_of("a", 5), file_of("b", 5)
    (unit,) = plan_units([one, two], 100, False)[0]
    (same,) = plan_units([one, two], 100, False)[0]
    assert unit.name == same.name
    (other,) = plan_units([one], 100, False)[0]
    assert other.name != unit.name


def test_a_unit_is_made_again_of_its_data_while_its_files_are_the_same():
    files = {name: file_of(name, 5) for name in ("a", "b")}
    (unit,) = plan_units(files.values(), 100, False)[0]
    assert unit_of_data(unit_to_data(unit), files) == unit
    assert unit_of_data(unit_to_data(unit), {"a": files["a"]}) is None
    changed = files | {"b": CorpusFile("/b", "b", "jsonl", "none", 5, "other")}
    assert unit_of_data(unit_to_data(unit), changed) is None


LINES = st.lists(
    st.sampled_from([record(1), record(2, "x" * 90), b"", b"{broken", b"null", b"  "]),
    min_size=1,
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(lines=LINES, slice_bytes=st.integers(1024, 1400), rows=st.integers(1, 9))
def test_rows_are_counted_from_the_start_of_the_file(
    tmp_path_factory, lines, slice_bytes, rows
):
    folder = tmp_path_factory.mktemp("in")
    lines = lines * 6
    write(folder, "a.jsonl", lines)
    config = config_of(folder, slice_bytes=slice_bytes)
    units, _ = plan_units(find_files(config), slice_bytes, False)
    found = []
    for unit in units:
        chunks = list(UnitReader(unit, config, rows).chunks())
        sizes = [chunk.num_rows for chunk in chunks]
        assert all(size == rows for size in sizes[:-1])
        assert all(2 * size >= rows for size in sizes) or len(sizes) == 1
        assert all(2 * size < 3 * rows for size in sizes)
        for chunk in chunks:
            found += chunk.column("row").to_pylist()
    expected = [i for i, line in enumerate(lines, 1) if line.strip()]
    assert found == expected


@pytest.mark.parametrize("groups", [1, 7, 1000])
def test_records_of_parquet_are_counted_from_the_start(tmp_path, groups):
    table = pa.table({"id": [f"r{i}" for i in range(300)], "text": ["words"] * 300})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=groups)
    config = config_of(tmp_path, slice_bytes=1024)
    units, _ = plan_units(find_files(config), 1024, False)
    rows = [
        row
        for unit in units
        for chunk in UnitReader(unit, config, 20).chunks()
        for row in chunk.column("row").to_pylist()
    ]
    assert rows == list(range(1, 301))
    assert groups != 1 or len(units) > 1


def test_chunks_go_over_the_ends_of_files(tmp_path):
    for index in range(5):
        write(tmp_path, f"{index}.jsonl", [record(i) for i in range(7)])
    config = config_of(tmp_path)
    (unit,) = plan_units(find_files(config), config.slice_bytes, False)[0]
    reader = UnitReader(unit, config, 10)
    chunks = list(reader.chunks())
    assert [chunk.num_rows for chunk in chunks] == [10, 10, 10, 5]
    assert [summary.rows for summary in reader.summaries] == [7] * 5
    files = [file for chunk in chunks for file in chunk.column("file").to_pylist()]
    assert files == [f"{i}.jsonl" for i in range(5) for _ in range(7)]


def test_of_a_damaged_file_among_others_no_row_is_given(tmp_path):
    for name in ("a.jsonl", "b.jsonl.gz", "c.jsonl"):
        write(tmp_path, name, [record(i) for i in range(7)])
    path = tmp_path / "b.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-9])
    for policy, rows in (("fail", 14), ("salvage", 22)):
        config = config_of(tmp_path, on_damaged_file=policy)
        (unit,) = plan_units(find_files(config), config.slice_bytes, False)[0]
        reader = UnitReader(unit, config, 100)
        (chunk,) = reader.chunks()
        assert chunk.num_rows == rows
        assert [bool(s.damaged) for s in reader.summaries] == [False, True, False]


@pytest.mark.parametrize("policy", ["fail", "salvage"])
@pytest.mark.parametrize("is_cut", [False, True])
def test_a_small_file_that_becomes_a_large_one_is_not_held_whole(
    tmp_path, monkeypatch, policy, is_cut
):
    write(tmp_path, "a.jsonl", [record(i) for i in range(7)])
    write(tmp_path, "b.jsonl.gz", [record(i, "x" * 4000) for i in range(5000)])
    write(tmp_path, "c.jsonl", [record(i) for i in range(7)])
    path = tmp_path / "b.jsonl.gz"
    if is_cut:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for module in (records, units):
        monkeypatch.setattr(module, "AT_ONCE", 100)  # of 40 MB, each with its raw bytes
    config = config_of(tmp_path, on_damaged_file=policy)
    (unit,) = plan_units(find_files(config), config.slice_bytes, False)[0]

    held = UnitReader(unit, config, 100)
    expected = list(held.chunks())
    monkeypatch.setattr(units, "_WHOLE_BYTES", 2**20, raising=False)
    reader = UnitReader(unit, config, 100)
    before, peak = pa.total_allocated_bytes(), 0
    for i, chunk in enumerate(reader.chunks()):
        peak = max(peak, pa.total_allocated_bytes() - before)
        assert chunk.equals(expected[i])
    assert i + 1 == len(expected) and reader.summaries == held.summaries
    assert bool(reader.summaries[1].damaged) == is_cut
    assert reader.summaries[1].rows > 1000 and not reader.is_changed
    assert peak < 10 * 2**20


def test_a_file_that_changes_before_it_is_read_again_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(units, "_WHOLE_BYTES", 1000)
    write(tmp_path, "a.jsonl.gz", [record(i) for i in range(500)])
    config = config_of(tmp_path)
    (unit,) = plan_units(find_files(config), config.slice_bytes, False)[0]
    reader = UnitReader(unit, config, 100)
    chunks = reader.chunks()
    assert next(chunks).num_rows == 100
    write(tmp_path, "a.jsonl.gz", [record(i) for i in range(400)])
    assert list(chunks) == [] and reader.is_changed


def test_a_spooled_file_is_read_chunk_by_chunk(tmp_path):
    (tmp_path / "in").mkdir()
    write(tmp_path / "in", "a.jsonl.gz", [record(i, f"{i} " * 40) for i in range(95)])
    config = config_of(tmp_path / "in", slice_bytes=1024)
    (unit,) = plan_units(find_files(config), 1024, False)[0]
    assert unit == Unit(unit.slices, spool=True)
    chunks, (summary,) = spool(unit, config, 20, tmp_path / "spool", lambda: False)
    assert summary.rows == 95 and summary.damaged is None
    assert chunks == [
        SpooledChunk.of(tmp_path / "spool", unit, index) for index in range(5)
    ]
    rows = [chunk.read().column("row").to_pylist() for chunk in chunks]
    assert [len(numbers) for numbers in rows] == [20, 20, 20, 20, 15]
    assert sum(rows, []) == list(range(1, 96))
    chunks[0].remove()
    chunks[0].remove()
    assert len(list((tmp_path / "spool").iterdir())) == 4


def test_of_a_damaged_file_nothing_stays_spooled(tmp_path):
    (tmp_path / "in").mkdir()
    write(tmp_path / "in", "a.jsonl.gz", [record(i, f"{i} " * 40) for i in range(95)])
    path = tmp_path / "in" / "a.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-20])
    config = config_of(tmp_path / "in", slice_bytes=1024)
    (unit,) = plan_units(find_files(config), 1024, False)[0]
    chunks, (summary,) = spool(unit, config, 20, tmp_path / "spool", lambda: False)
    assert chunks == [] and "ends before its end mark" in summary.damaged
    assert not (tmp_path / "spool").exists()
    salvaging = config.model_copy(update={"on_damaged_file": "salvage"})
    chunks, _ = spool(unit, salvaging, 20, tmp_path / "spool", lambda: False)
    assert sum(chunk.read().num_rows for chunk in chunks) > 50
