import gzip
import hashlib
import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common.corpus_config import CorpusConfig
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.ingestion.files import (
    CorpusFile,
    changed_files,
    find_files,
    slice_file,
)
from reviewbeam.components.ingestion.lines import DamagedFileError

LINE = b'{"text": "a"}\n'


def _config(*globs, **changes):
    return CorpusConfig(
        columns={"text": "text"}, input=tuple(map(str, globs)), **changes
    )


def _find(*globs, **changes):
    return [file.name for file in find_files(_config(*globs, **changes))]


def _file(path, file_format="parquet", size=0):
    return CorpusFile(str(path), path.name, file_format, "none", size, "")


@pytest.fixture
def corpus(tmp_path):
    """A folder with files in two folders below."""
    for name in ("2023/b.jsonl", "2023/a.jsonl", "2024/c.jsonl", "2024/deep/d.jsonl"):
        path = tmp_path / "corpus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(LINE)
    return tmp_path / "corpus"


# === Globs and names ===


def test_finds_files_by_globs(corpus):
    assert _find(corpus / "2023/*.jsonl") == ["a.jsonl", "b.jsonl"]
    assert _find(corpus / "*/*.jsonl") == [
        "2023/a.jsonl",
        "2023/b.jsonl",
        "2024/c.jsonl",
    ]
    assert _find(corpus / "2024/**") == ["c.jsonl", "deep/d.jsonl"]
    assert _find(corpus / "2023/[ab].json?") == ["a.jsonl", "b.jsonl"]
    assert _find(corpus / "2024/c.jsonl", corpus / "2023/b.jsonl") == [
        "b.jsonl",
        "c.jsonl",
    ]


def test_names_do_not_depend_on_where_the_corpus_lies(corpus, tmp_path):
    before = find_files(_config(corpus / "**"))
    moved = shutil.move(corpus, tmp_path / "moved")
    after = find_files(_config(f"{moved}/**"))

    assert [file.name for file in after] == [file.name for file in before]
    assert [file.sha256 for file in after] == [file.sha256 for file in before]


@pytest.mark.parametrize(
    ("glob", "names"),
    [
        ("*.jsonl", ["a.jsonl", "b.jsonl"]),
        ("[a]*", ["a.jsonl"]),
        ("a*", ["a.jsonl"]),
        ("a.jsonl", ["a.jsonl"]),
        ("./*.jsonl", ["a.jsonl", "b.jsonl"]),
        ("../2024/*.jsonl", ["c.jsonl"]),
        ("**", ["a.jsonl", "b.jsonl"]),
    ],
)
def test_globs_below_the_current_folder(corpus, monkeypatch, glob, names):
    monkeypatch.chdir(corpus / "2023")

    assert _find(glob) == names


def test_a_file_of_two_globs_is_read_once(corpus):
    assert _find(corpus / "2023/*", corpus / "2023/a.jsonl") == ["a.jsonl", "b.jsonl"]


def test_a_file_has_one_path_however_it_is_named(corpus, monkeypatch):
    monkeypatch.chdir(corpus / "2023")
    globs = ("a.jsonl", "./a.jsonl", "../2023/[a].jsonl", corpus / "2023" / "a.jsonl")

    (file,) = find_files(_config(*globs))
    assert file.path == str(corpus / "2023" / "a.jsonl")


def test_equal_names_under_two_globs_become_paths(corpus):
    (corpus / "2024/a.jsonl").write_bytes(LINE * 2)
    found = find_files(_config(corpus / "2023/*.jsonl", corpus / "2024/a.jsonl"))

    assert [file.name for file in found] == [
        str(corpus / name) for name in ("2023/a.jsonl", "2023/b.jsonl", "2024/a.jsonl")
    ]
    assert [file.path for file in found] == [file.name for file in found]
    assert [file.size for file in found] == [14, 14, 28]


def test_files_are_described(corpus):
    (file,) = find_files(_config(corpus / "2023/a.jsonl"))

    assert file == CorpusFile(
        path=str(corpus / "2023/a.jsonl"),
        name="a.jsonl",
        format="jsonl",
        compression="none",
        size=len(LINE),
        sha256=hashlib.sha256(LINE).hexdigest(),
        modified=(corpus / "2023/a.jsonl").stat().st_mtime,
    )


@pytest.mark.parametrize(
    "pattern", ["*.csv", "none/*.jsonl", "none.jsonl", "[x].jsonl"]
)
def test_a_glob_without_files(corpus, pattern):
    with pytest.raises(UserError, match="matches no file. Check the path") as error:
        find_files(_config(corpus / "2023/*.jsonl", corpus / pattern))
    assert str(corpus / pattern) in str(error.value)


def test_no_glob():
    with pytest.raises(UserError, match="No input was given. Add --input 'GLOB'"):
        find_files(_config())


def test_a_scheme_that_no_file_system_has():
    with pytest.raises(UserError, match="The input 'nosuch://a/b' can't be listed"):
        find_files(_config("nosuch://a/b"))


# === Format and compression ===


def _written(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "file_format", "compression"),
    [
        ("a.jsonl", "jsonl", "none"),
        ("a.ndjson", "jsonl", "none"),
        ("a.json", "jsonl", "none"),
        ("a.JSONL", "jsonl", "none"),
        ("a.csv", "csv", "none"),
        ("a.tsv", "tsv", "none"),
        ("a.v2.csv.gz", "csv", "gzip"),
        ("a.jsonl.GZ", "jsonl", "gzip"),
    ],
)
def test_the_ending_tells_the_format(tmp_path, name, file_format, compression):
    content = gzip.compress(LINE) if compression == "gzip" else LINE
    (file,) = find_files(_config(_written(tmp_path / name, content)))

    assert (file.format, file.compression) == (file_format, compression)


def test_the_config_tells_the_format(tmp_path):
    path = _written(tmp_path / "reviews.txt.gz", gzip.compress(LINE))
    (file,) = find_files(_config(path, format="csv"))
    assert (file.format, file.compression) == ("csv", "gzip")

    path = _written(tmp_path / "reviews", LINE)
    (file,) = find_files(_config(path, format="jsonl"))
    assert (file.format, file.compression) == ("jsonl", "none")


@pytest.mark.parametrize("name", ["a.txt", "a", "a.gz", "a.xlsx"])
def test_an_unknown_ending(tmp_path, name):
    path = _written(tmp_path / name, LINE)

    with pytest.raises(
        UserError, match="the ending tells no format. Known: '.jsonl', "
    ):
        find_files(_config(path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl.gz", LINE, "is no gzip file"),
        ("a.jsonl.zst", gzip.compress(LINE, mtime=0), "is no zstd file"),
        ("a.jsonl.bz2", b"", "can.t be used: it is empty"),
        (
            "a.jsonl",
            gzip.compress(LINE, mtime=0),
            "is a gzip file, .* says plain jsonl",
        ),
        ("a.parquet", LINE, "is no parquet file"),
        ("a.csv", b"PAR1....PAR1", "is a parquet file, .* says plain csv"),
        (
            "a.parquet.gz",
            gzip.compress(b"PAR1", mtime=0),
            "Parquet is compressed within",
        ),
    ],
)
def test_a_file_that_is_not_what_its_name_says(tmp_path, name, content, message):
    path = _written(tmp_path / name, content)

    with pytest.raises(UserError, match=f"{path}:? {message}"):
        find_files(_config(path))


def test_a_name_that_is_no_utf8(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"a\xff.jsonl")
    with open(path, "wb") as sink:
        sink.write(LINE)

    with pytest.raises(UserError, match=r"a\\udcff.jsonl': the name is not UTF-8"):
        find_files(_config(tmp_path / "*"))


def test_a_folder_is_no_file(corpus):
    with pytest.raises(UserError, match="2023"):
        find_files(_config(corpus / "2023"))
    with pytest.raises(UserError, match="2023 can't be read: .*directory"):
        find_files(_config(corpus / "2023", format="jsonl"))


def test_a_log_of_ours_beside_an_output_is_no_input(tmp_path):
    _written(tmp_path / "a.jsonl", LINE)
    _written(tmp_path / "out.log", b"# reviewbeam 0.1.0, 2026-01-01\n")
    _written(tmp_path / "out.log.1", b"# reviewbeam 0.1.0, 2026-01-01\n")
    assert _find(tmp_path / "*") == ["a.jsonl"]
    _written(tmp_path / "other.log", LINE)
    assert _find(tmp_path / "*", format="jsonl") == ["a.jsonl", "other.log"]
    with pytest.raises(UserError, match="matches no file"):
        _find(tmp_path / "out.*")


# === Slices ===


@given(size=st.integers(0, 10_000), slice_bytes=st.integers(1, 3000))
def test_slices_of_plain_json_lines_cover_the_file(size, slice_bytes):
    file = CorpusFile("p", "n", "jsonl", "none", size, "s")
    slices = slice_file(file, slice_bytes)

    assert [piece.index for piece in slices] == list(range(len(slices)))
    assert (slices[0].start, slices[-1].stop) == (0, size)
    for piece, following in zip(slices[:-1], slices[1:], strict=True):
        assert piece.stop == following.start
        assert piece.stop - piece.start == slice_bytes
    assert size == 0 or 0 < slices[-1].stop - slices[-1].start <= slice_bytes


@pytest.mark.parametrize(
    ("file_format", "compression"),
    [("csv", "none"), ("tsv", "none"), ("jsonl", "gzip")],
)
def test_what_cannot_be_split_is_one_slice(file_format, compression):
    file = CorpusFile("p", "n", file_format, compression, 10_000, "s")

    (piece,) = slice_file(file, 1000)
    assert (piece.file, piece.index, piece.start, piece.stop) == (file, 0, 0, 10_000)


def test_slices_of_parquet_are_row_groups(tmp_path):
    path = tmp_path / "a.parquet"
    table = pa.table({"text": [f"{i:0100d}" for i in range(1000)]})
    pq.write_table(table, path, row_group_size=100, use_dictionary=False)
    metadata = pq.ParquetFile(path).metadata
    sizes = [metadata.row_group(i).total_byte_size for i in range(10)]

    def bounds(slice_bytes):
        return [(p.start, p.stop) for p in slice_file(_file(path), slice_bytes)]

    assert bounds(1) == [(i, i + 1) for i in range(10)]
    assert bounds(sum(sizes[:3])) == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert bounds(sum(sizes)) == [(0, 10)]


def test_a_parquet_file_without_rows_is_one_slice(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), path)

    assert [(p.start, p.stop) for p in slice_file(_file(path), 1)] in (
        [(0, 0)],
        [(0, 1)],
    )


@pytest.mark.parametrize("size", [4, 10, -10, -1])
def test_a_parquet_file_cut_short_is_damaged(tmp_path, size):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a"]}), path)
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(DamagedFileError, match="its Parquet footer can't be read"):
        slice_file(_file(path), 1)


# === Files that change ===


def test_files_that_changed_since_they_were_found(corpus):
    files = find_files(_config(corpus / "**"))
    assert changed_files(files) == {}
    assert changed_files([]) == {}

    first, second, third, _ = (file.path for file in files)
    os.utime(first, (1000, 1000))  # as long as it was, but written anew
    stat = os.stat(second)
    with open(second, "ab") as sink:
        sink.write(b"\n")
    os.utime(second, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # longer only
    os.remove(third)
    assert changed_files(files) == {
        first: "it changed while it was read",
        second: "it changed while it was read",
        third: "it vanished while it was read",
    }
