import bz2
import dataclasses
import gzip
import json
import math

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common.coders import register_record_batch_coder
from reviewbeam.components.common.columns import concat_batches, review_schema
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.prepare_config import PrepareConfig
from reviewbeam.components.ingestion import lines as lines_module
from reviewbeam.components.ingestion import read, records
from reviewbeam.components.ingestion.files import (
    CorpusFile,
    FileSlice,
    find_files,
    slice_file,
)
from reviewbeam.components.ingestion.lines import DamagedFileError
from reviewbeam.components.ingestion.read import (
    ReadReviews,
    SliceReader,
    SliceSummary,
    check_summaries,
    line_offsets,
    regular_batches,
)

PACKERS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": zstandard.compress,
}


def _config(path, **changes):
    columns = {"text": "text", "label": "n", "keep": ["n"]}
    labels = {"type": "binary", "names": ("0", "1")}
    return PrepareConfig(
        **{"encoder": "e", "labels": labels, "columns": columns, "input": [str(path)]}
        | changes
    )


def _read(config, slice_bytes=1024, batch_rows=4096):
    """Reads the corpus slice by slice: files, batches, summaries."""
    files = find_files(config)
    batches, summaries = [], []
    for file in files:
        for piece in slice_file(file, slice_bytes):
            reader = SliceReader(piece, config, batch_rows)
            batches += reader.batches()
            summaries.append(reader.summary)
    return files, batches, summaries


def _write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _mixed_lines(count=500):
    """Good lines, broken ones and blank ones of several lengths, and their fates."""
    lines, expected = [], []
    for number in range(1, count + 1):
        if number % 7 == 0:
            lines.append("")
            continue
        if number % 11 == 0:
            lines.append('{"text": "broken ' + "x" * (number % 50))
            expected.append((number, "malformed_json", None))
            continue
        text = f"review {number} " + "é" * (number % 90)
        lines.append(json.dumps({"text": text, "n": number}, ensure_ascii=False))
        expected.append((number, None, text))
    return ("\n".join(lines) + "\n").encode(), expected


# === Rows ===


def test_reads_a_slice_into_batches(tmp_path):
    lines = [json.dumps({"text": f"t{i}", "n": i}) for i in range(10)]
    config = _config(_write(tmp_path / "a.jsonl", "\n".join(lines)))
    _, batches, (summary,) = _read(config, batch_rows=4)

    assert [batch.num_rows for batch in batches] == [4, 4, 2]
    assert all(batch.schema == review_schema(("n",)) for batch in batches)
    assert batches[2].to_pylist()[1] == {
        "file": "a.jsonl",
        "slice": 0,
        "row": 10,
        "byte_offset": sum(len(line) + 1 for line in lines[:9]),
        "raw": lines[9].encode(),
        "problem": None,
        "repairs": None,
        "text": "t9",
        "id": None,
        "label": "9",
        "language": None,
        "group": None,
        "time": None,
        "given_split": None,
        "keep.n": "9",
    }
    assert summary == SliceSummary(
        file="a.jsonl",
        index=0,
        lines=10,
        rows=10,
        present=("n", "text"),
        known=("text", "n"),
    )


@pytest.mark.parametrize("slice_bytes", [40, 333, 1024, 10**6])
def test_rows_are_those_of_the_file_however_it_is_sliced(tmp_path, slice_bytes):
    content, expected = _mixed_lines()
    files, batches, summaries = _read(
        _config(_write(tmp_path / "a.jsonl", content)), slice_bytes, batch_rows=50
    )
    assert len(summaries) == max(1, math.ceil(len(content) / slice_bytes))
    offsets = line_offsets(summaries)
    rows = concat_batches(batches, batches[0].schema).to_pylist()

    # Counted from the start of the file, a row is its physical line.
    assert [
        (row["row"] + offsets[row["file"], row["slice"]], row["problem"], row["text"])
        for row in rows
    ] == expected
    physical = content.split(b"\n")
    for row, (line, *_) in zip(rows, expected, strict=True):
        assert row["raw"] == physical[line - 1]
        assert content[row["byte_offset"] :].startswith(row["raw"] + b"\n")
    assert sum(summary.lines for summary in summaries) == 500
    assert sum(summary.rows for summary in summaries) == len(expected)
    assert sum(summary.unreadable for summary in summaries) == sum(
        problem is not None for _, problem, _ in expected
    )


@pytest.mark.parametrize("ending", PACKERS)
def test_a_compressed_file_has_the_same_rows(tmp_path, ending):
    content, _ = _mixed_lines()
    packed = _write(tmp_path / f"a.jsonl{ending}", PACKERS[ending](content))
    plain = _write(tmp_path / "a.jsonl", content)
    _, expected, _ = _read(_config(plain), 10**6)
    _, found, (summary,) = _read(_config(packed))

    assert [batch.to_pylist() for batch in found] == [
        [row | {"file": packed.name} for row in batch.to_pylist()] for batch in expected
    ]
    assert (summary.lines, summary.damaged) == (500, None)


def test_giant_records_end_a_batch_early(tmp_path, monkeypatch):
    monkeypatch.setattr(read, "_BATCH_BYTES", 100)
    lines = [
        json.dumps({"text": "x" * (40 if i < 6 else 1), "n": i}) for i in range(20)
    ]
    config = _config(_write(tmp_path / "a.jsonl", "\n".join(lines)))
    _, batches, _ = _read(config, batch_rows=10)

    assert [batch.num_rows for batch in batches] == [2, 2, 2, 5, 5, 4]
    rows = [row for batch in batches for row in batch.column("row").to_pylist()]
    assert rows == list(range(1, 21))


SIZES = st.lists(st.integers(0, 30) | st.sampled_from([60, 150]), max_size=40)


def _sized_batch(sizes, raw="raw"):
    schema = review_schema(())
    columns = [pa.nulls(len(sizes), field.type) for field in schema]
    columns[schema.names.index("row")] = pa.array(range(len(sizes)), pa.int64())
    kind = schema.field(raw).type
    columns[schema.names.index(raw)] = pa.array(["x" * n for n in sizes]).cast(kind)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


@pytest.mark.parametrize("raw", ["raw", "text"])  # Parquet has no raw records
@given(
    sizes=SIZES, shares=st.lists(st.floats(0, 1), max_size=6), rows=st.integers(1, 9)
)
def test_cuts_follow_from_the_rows_alone(raw, sizes, shares, rows):
    bounds = sorted(round(share * len(sizes)) for share in shares)
    bounds = [0, *bounds, len(sizes)]
    whole = _sized_batch(sizes, raw)
    parts = [
        whole.slice(start, stop - start)
        for start, stop in zip(bounds[:-1], bounds[1:], strict=True)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read, "_BATCH_BYTES", 100)
        found = [
            batch.column("row").to_pylist() for batch in regular_batches(parts, rows)
        ]

    expected, batch, size = [], [], 0
    for row, length in enumerate(sizes):
        batch.append(row)
        size += length
        if len(batch) == rows or size > 100:
            expected.append(batch)
            batch, size = [], 0
    assert found == expected + ([batch] if batch else [])


@pytest.mark.parametrize("ending", ["", *PACKERS])
@pytest.mark.parametrize(("at_once", "block_bytes"), [(1, 100), (7, 1), (50, 10**6)])
def test_batches_do_not_depend_on_the_blocks(
    tmp_path, monkeypatch, ending, at_once, block_bytes
):
    content, _ = _mixed_lines()
    path = _write(tmp_path / f"a.jsonl{ending}", PACKERS.get(ending, bytes)(content))
    monkeypatch.setattr(read, "_BATCH_BYTES", 2000)
    _, expected, summaries = _read(_config(path), 10**6, batch_rows=30)
    monkeypatch.setattr(records, "AT_ONCE", at_once)
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(lines_module, "COMPRESSED_BLOCK_BYTES", block_bytes)

    assert len(expected) > 15
    assert _read(_config(path), 10**6, batch_rows=30)[1:] == (expected, summaries)


def test_parquet_rows_are_counted_from_the_start_of_the_file(tmp_path):
    path = tmp_path / "a.parquet"
    table = pa.table({"text": [f"t{i}" for i in range(25)], "n": range(25)})
    pq.write_table(table, path, row_group_size=10)
    _, batches, summaries = _read(_config(path), slice_bytes=1, batch_rows=4)

    offsets = line_offsets(summaries)
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert [row["row"] + offsets["a.parquet", row["slice"]] for row in rows] == list(
        range(1, 26)
    )
    assert [row["text"] for row in rows] == table.column("text").to_pylist()
    assert [summary.lines for summary in summaries] == [10, 10, 5]
    assert (
        {row["byte_offset"] for row in rows} == {row["raw"] for row in rows} == {None}
    )


def test_csv_and_tsv(tmp_path):
    rows = "text;n\na,b;1\nc\n"
    config = _config(_write(tmp_path / "a.csv", rows), csv_delimiter=";")
    _, (batch,), (summary,) = _read(config)
    assert batch.column("text").to_pylist() == ["a,b", None]
    assert batch.column("problem").to_pylist() == [None, "wrong_field_count"]
    assert (summary.lines, summary.rows, summary.unreadable) == (3, 2, 0)

    config = _config(_write(tmp_path / "a.tsv", rows.replace(";", "\t")))
    _, (batch,), _ = _read(config)
    assert batch.column("text").to_pylist() == ["a,b", None]


def test_an_empty_file_has_a_summary(tmp_path):
    _, batches, summaries = _read(_config(_write(tmp_path / "a.jsonl", "")))

    assert (batches, summaries) == ([], [SliceSummary("a.jsonl", 0)])


@pytest.mark.parametrize("ending", PACKERS)
def test_a_file_cut_short_keeps_what_was_read(tmp_path, ending):
    lines = [json.dumps({"text": f"t{i}", "n": i}) + "\n" for i in range(200)]
    first, second = (
        PACKERS[ending]("".join(part).encode()) for part in (lines[:120], lines[120:])
    )
    path = _write(tmp_path / f"a.jsonl{ending}", first + second[: len(second) // 2])
    _, batches, (summary,) = _read(_config(path))

    assert summary.damaged.endswith("data ends before its end mark")
    texts = [text for batch in batches for text in batch.column("text").to_pylist()]
    assert summary.rows == summary.lines == len(texts) >= 120
    # No line is half of one.
    assert texts == [f"t{i}" for i in range(len(texts))]


def test_a_parquet_page_that_is_broken_is_damage(tmp_path):
    path = tmp_path / "a.parquet"
    table = pa.table({"text": [f"{i * 7919}" for i in range(2000)]})
    pq.write_table(table, path, compression="gzip", use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[100:400] = bytes(300)
    path.write_bytes(bytes(data))
    _, _, (summary,) = _read(_config(path, columns={"text": "text", "label": "text"}))

    assert summary.damaged.startswith("it can't be read (")


def test_a_file_that_vanished_is_damage(tmp_path):
    config = _config(_write(tmp_path / "a.jsonl", '{"text": "a"}\n'))
    (file,) = find_files(config)
    (piece,) = slice_file(file, 1024)
    (tmp_path / "a.jsonl").unlink()
    reader = SliceReader(piece, config, 10)

    assert list(reader.batches()) == []
    assert "No such file" in reader.summary.damaged


# === Salvage ===

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
TEXTS = [f"review {i} " + f"{i * 7919:x}" * (i % 9) for i in range(80)]
CONTENTS = {
    "jsonl": [json.dumps({"text": text, "n": 1}) + "\n" for text in TEXTS],
    "csv": ["text,n\n", *(f"{text},1\n" for text in TEXTS)],
}


def _salvage(path, file_format, compression, stop=0):
    """Reads a damaged file: texts, numbers, problems, summary."""
    file = CorpusFile(str(path), path.name, file_format, compression, 0, "")
    config = _config(path, on_damaged_file="salvage")
    reader = SliceReader(FileSlice(file, 0, 0, stop), config, 10)
    rows = [row for batch in reader.batches() for row in batch.to_pylist()]
    assert reader.summary.rows == len(rows)
    return (
        [row["text"] for row in rows],
        [row["row"] for row in rows],
        [row["problem"] for row in rows],
        reader.summary,
    )


def _check_salvaged(path, file_format, compression, first_line, stop=0):
    """Whole rows, and one reject for the damage; returns how many rows were whole."""
    texts, numbers, problems, summary = _salvage(path, file_format, compression, stop)
    whole = len(texts) - 1
    assert texts == [*TEXTS[:whole], None]
    assert problems == [None] * whole + ["damaged_file"]
    assert numbers[:whole] == list(range(first_line, first_line + whole))
    # A CSV's header may be behind the damage too.
    assert numbers[-1] in ((whole + first_line,) if whole else (1, first_line))
    assert summary.lines == numbers[-1]
    assert summary.unreadable == 0
    assert summary.damaged
    return whole


def _streams(file_format, pack):
    """The content as four compressed streams."""
    lines = CONTENTS[file_format]
    parts = ["".join(lines[i : i + 21]).encode() for i in range(0, len(lines), 21)]
    return [pack(part) for part in parts]


@pytest.mark.parametrize("file_format", CONTENTS)
@pytest.mark.parametrize("ending", PACKERS)
def test_rows_before_any_cut_are_saved(tmp_path, ending, file_format):
    streams = _streams(file_format, PACKERS[ending])
    data = b"".join(streams)
    ends = {sum(map(len, streams[:i])) for i in range(len(streams) + 1)}
    path = tmp_path / f"a.{file_format}{ending}"
    saved = []
    for size in [*range(1, len(data), 9), *range(len(data) - 9, len(data))]:
        if size in ends:  # whole streams: nothing tells that more followed
            continue
        path.write_bytes(data[:size])
        saved.append(
            _check_salvaged(
                path, file_format, COMPRESSIONS[ending], 1 + (file_format == "csv")
            )
        )

    assert saved == sorted(saved)
    # Of three streams that are whole, and of a part of the last one.
    assert saved[0] == 0
    assert saved[-1] >= 63 - (file_format == "csv")


@pytest.mark.parametrize("ending", PACKERS)
def test_a_flipped_byte_costs_no_count(tmp_path, ending):
    data = b"".join(_streams("jsonl", PACKERS[ending]))
    path = tmp_path / f"a.jsonl{ending}"
    places = [*range(30), *range(30, len(data), 9)]
    damaged = 0
    for place in places:
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        texts, numbers, problems, summary = _salvage(
            path, "jsonl", COMPRESSIONS[ending]
        )
        if summary.damaged:
            damaged += 1
            assert problems.count("damaged_file") == 1 and texts[-1] is None
            assert problems[-1] == "damaged_file"
        elif ending != ".zst":  # it has no checksum unless asked for
            assert (texts, set(problems)) == (TEXTS, {None})
        assert numbers == sorted(set(numbers)) and numbers[-1] == summary.lines

    assert damaged > len(places) * (0.2 if ending == ".zst" else 0.8)


def _parquet(path, **changes):
    table = pa.table({"text": TEXTS, "n": [1] * len(TEXTS)})
    options = {"row_group_size": 20, "compression": "gzip", "use_dictionary": False}
    pq.write_table(table, path, **(options | changes))
    return bytearray(path.read_bytes())


def test_parquet_rows_before_a_broken_page_are_saved(tmp_path):
    path = tmp_path / "a.parquet"
    data = _parquet(path)
    start = pq.ParquetFile(path).metadata.row_group(2).column(0).data_page_offset
    data[start + 40 : start + 80] = bytes(40)
    path.write_bytes(data)

    assert _check_salvaged(path, "parquet", "none", 1, stop=4) == 40
    # Another slice of the file is whole.
    file = CorpusFile(str(path), "a.parquet", "parquet", "none", 0, "")
    reader = SliceReader(FileSlice(file, 1, 3, 4), _config(path), 100)
    assert [batch.num_rows for batch in reader.batches()] == [20]
    assert reader.summary.damaged is None


@pytest.mark.parametrize("size", [4, 100, -1, -8, -40])
def test_of_parquet_without_its_footer_only_the_damage_is_left(tmp_path, size):
    path = tmp_path / "a.parquet"
    path.write_bytes(_parquet(path)[:size])
    file = CorpusFile(str(path), "a.parquet", "parquet", "none", 0, "")
    with pytest.raises(DamagedFileError):
        slice_file(file, 10**6)

    assert _check_salvaged(path, "parquet", "none", 1) == 0


def test_a_parquet_footer_with_a_broken_name_is_damage(tmp_path):
    path = tmp_path / "a.parquet"
    data = _parquet(path)
    assert data.count(b"text") > 1
    path.write_bytes(data.replace(b"text", b"t\xffxt"))
    file = CorpusFile(str(path), "a.parquet", "parquet", "none", 0, "")
    with pytest.raises(DamagedFileError, match="footer can't be read"):
        slice_file(file, 10**6)

    assert _check_salvaged(path, "parquet", "none", 1) == 0


@pytest.mark.parametrize("on_damage", ["fail", "salvage"])
def test_only_salvage_makes_a_reject_of_damage(tmp_path, on_damage):
    path = _write(tmp_path / "a.jsonl.gz", gzip.compress(b'{"text": "a"}\n')[:-3])
    _, batches, (summary,) = _read(_config(path, on_damaged_file=on_damage))

    problems = [p for batch in batches for p in batch.column("problem").to_pylist()]
    assert problems == [None] + ["damaged_file"] * (on_damage == "salvage")
    assert summary.rows == len(problems)
    assert summary.damaged == "its gzip data ends before its end mark"


def test_a_fault_of_the_machine_does_not_pass_for_damage(tmp_path):
    with pytest.raises(FileNotFoundError):
        _check_salvaged(tmp_path / "none.jsonl", "jsonl", "none", 1)


def test_a_salvaged_file_is_of_its_format(tmp_path):
    path = _write(tmp_path / "a.jsonl.gz", gzip.compress(b'{"text": "a", "n": 1}')[:9])
    config = _config(path, on_damaged_file="salvage")
    files, _, summaries = _read(config)

    check_summaries(config, files, summaries)


# === In a pipeline ===


def test_read_reviews_in_a_pipeline(tmp_path):
    register_record_batch_coder()
    content, expected = _mixed_lines(60)
    config = _config(_write(tmp_path / "a.jsonl", content))
    (file,) = find_files(config)
    slices = slice_file(file, 500)
    _, _, summaries = _read(config, 500)
    assert len(slices) > 3
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        read = (
            pipeline
            | "ListSlices" >> beam.Create(slices)
            | "ReadReviews" >> ReadReviews(config, batch_rows=5)
        )
        texts = read.reviews | "Texts" >> beam.FlatMap(
            lambda batch: batch.column("text").to_pylist()
        )
        sizes = read.reviews | "Sizes" >> beam.Map(lambda batch: batch.num_rows <= 5)
        wanted = [text for _, _, text in expected]
        assert_that(texts, equal_to(wanted), label="Texts")
        assert_that(read.summaries, equal_to(summaries), label="Summaries")
        assert_that(sizes | beam.Distinct(), equal_to([True]), label="BatchRows")


# === Files that are wrong as a whole ===


def _check(config, **changes):
    files, _, summaries = _read(config)
    check_summaries(
        config,
        files,
        [dataclasses.replace(summary, **changes) for summary in summaries],
    )


def test_sound_files_pass(tmp_path):
    _write(tmp_path / "a.jsonl", 'oops\n{"text": "a"}\n{"n": 1}\n')
    _write(tmp_path / "b.jsonl", "")
    _write(tmp_path / "c.csv", "text,n\n")

    _check(_config(tmp_path / "*"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", "text,n\na,1\nb,2\n"),
        ("a.jsonl", '[{"text": "a"}]\n'),
        ("a.jsonl", "{\n"),
        ("a.csv", '"text,n\n"a,1\n"b,2'),
        ("a.jsonl", '{"text": "größer"}\n'.encode("latin-1") * 3),
        ("a.jsonl", '{"text": "größer"}\n'.encode("utf-16")),
    ],
)
def test_a_file_without_a_record_of_its_format(tmp_path, name, content):
    path = _write(tmp_path / name, content)
    file_format = name.removeprefix("a.")

    with pytest.raises(UserError) as error:
        _check(_config(path))
    assert str(error.value).startswith(
        f"{path} is no {file_format} file in UTF-8: none of its "
        f"{len(content.splitlines())} records can be read as that."
    )


def test_one_giant_line_is_no_json_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 1000)
    content = '[{"text": "a"}' + ', {"text": "b"}' * 100 + "]"
    path = _write(tmp_path / "a.jsonl", content)

    with pytest.raises(UserError, match="is no jsonl file in UTF-8: none of its 1 rec"):
        _check(_config(path))


def test_a_column_in_no_row_of_a_file(tmp_path):
    _write(tmp_path / "a.jsonl", '{"text": "a", "n": 1}\n')
    wrong = _write(tmp_path / "b.jsonl", '{"texts": "a", "n": 1}\n{"n": 2}\n')

    with pytest.raises(UserError) as error:
        _check(_config(tmp_path / "*.jsonl"))
    assert str(error.value) == (
        f"{wrong} has no column 'text', which columns.text names (did you mean "
        "'texts'?). Its columns: 'texts', 'n'."
    )


def test_a_column_may_be_in_one_slice_only(tmp_path):
    lines = ['{"text": "a"}'] * 200 + ['{"text": "a", "n": 1}']

    _check(_config(_write(tmp_path / "a.jsonl", "\n".join(lines))))


def test_a_csv_header_is_enough(tmp_path):
    _check(_config(_write(tmp_path / "a.csv", "text,n\ntoo,many,fields\n")))


def test_line_offsets_add_up_by_file():
    summaries = [
        SliceSummary("b", 1, lines=5),
        SliceSummary("a", 0, lines=7),
        SliceSummary("b", 0, lines=3),
        SliceSummary("b", 10, lines=1),
        SliceSummary("b", 2, lines=0),
    ]

    assert line_offsets(summaries) == {
        ("a", 0): 0,
        ("b", 0): 0,
        ("b", 1): 3,
        ("b", 2): 8,
        ("b", 10): 8,
    }
