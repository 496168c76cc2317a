"""A sample comes from all over a corpus, within bounds, in every format."""

import bz2
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.ingestion import sample
from reviewbeam.components.ingestion.sample import sample_corpus
from reviewbeam.components.ingestion.sample_rows import Thinned
from reviewbeam.components.ingestion.sniff import guess_delimiter, has_header

PACK = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


def json_lines(count):
    records = ({"n": i, "text": f"words of {i}" * 90} for i in range(count))
    return "\n".join(map(json.dumps, records)).encode()


@pytest.mark.parametrize("ending", PACK)
def test_each_compression(tmp_path, ending):
    (tmp_path / f"a.csv{ending}").write_bytes(PACK[ending](b"id;text\n1;so so\n2;\n"))
    found = sample_corpus([f"{tmp_path}/*"])
    assert found.rows == [{"id": "1", "text": "so so"}, {"id": "2"}]
    (file,) = found.files
    assert (file.format.found, file.format.delimiter) == ("csv", ";")
    assert found.whole and found.columns() == ["id", "text"]


def test_nested_values_have_dotted_names(tmp_path):
    record = {"review": {"body": "so", "by": {"name": None}}, "tags": ["a"], "x": {}}
    (tmp_path / "a.jsonl").write_text(json.dumps(record))
    wanted = {"review.body": "so", "tags": ["a"]}
    assert sample_corpus([f"{tmp_path}/a.jsonl"]).rows == [wanted]
    table = pa.Table.from_pylist([{"review": {"body": "so"}, "tags": ["a"]}])
    pq.write_table(table, tmp_path / "a.parquet")
    found = sample_corpus([f"{tmp_path}/a.parquet"])
    assert found.rows == [wanted]
    assert found.columns() == ["review.body", "tags"]


def test_bytes_are_the_text_that_they_hold(tmp_path):
    table = pa.table({"text": [b"d\xc3\xa9j\xc3\xa0", b"\xff"]})
    pq.write_table(table, tmp_path / "a.parquet")
    rows = sample_corpus([f"{tmp_path}/*"]).rows
    assert [row["text"] for row in rows] == ["déjà", b"\xff"]


def test_what_is_not_a_number_is_not_there(tmp_path):
    table = pa.table({"n": [1, 2, 3], "stars": [4.5, float("nan"), None]})
    pq.write_table(table, tmp_path / "a.parquet")
    rows = sample_corpus([f"{tmp_path}/*"]).rows
    assert rows == [{"n": 1, "stars": 4.5}, {"n": 2}, {"n": 3}]


def test_rows_that_are_broken_are_counted(tmp_path):
    lines = [b'{"a": 1}', b"{", b"[]", b'{"a": "\xe9"}', b"", b'{"a": 2}']
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    (file,) = sample_corpus([f"{tmp_path}/*"]).files
    assert [row["a"] for row in file.rows] == [1, 2]
    wanted = {"malformed_json": 1, "not_an_object": 1, "invalid_utf8": 1}
    assert (file.read, file.problems) == (5, wanted)


def test_a_file_that_was_cut_short_gives_what_is_before(tmp_path):
    whole = gzip.compress(json_lines(3000))
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (file,) = sample_corpus([f"{tmp_path}/*"]).files
    assert "ends before its end mark" in file.damaged
    assert 0 < file.read < 3000 and not file.problems


@pytest.mark.parametrize("name, packed", [("a.jsonl", bytes), ("a.csv", bytes),
                                          ("a.jsonl.gz", gzip.compress)])  # fmt: skip
def test_a_long_file_is_read_in_bounds(tmp_path, monkeypatch, name, packed):
    monkeypatch.setattr(sample, "_BYTES", 2**18)
    monkeypatch.setattr(sample, "_LEAST_BYTES", 2**18)
    content = json_lines(4000)
    if name == "a.csv":
        content = b"n,text\n" + b"".join(
            b"%d,%s\n" % (i, b"so" * 500) for i in range(4000)
        )
    (tmp_path / name).write_bytes(packed(content))
    found = sample_corpus([f"{tmp_path}/*"])
    (file,) = found.files
    assert not found.whole
    assert 200 < file.read < 2500 and not file.problems
    if name == "a.jsonl":  # from its beginning to its end
        assert max(row["n"] for row in file.rows) > 3500


def test_rows_are_thinned_evenly():
    kept = Thinned(10)
    kept.take((lambda i=i: {"n": i}) for i in range(100))
    assert [row["n"] for row in kept.rows] == list(range(0, 100, 16))


def test_of_many_files_some_are_looked_into(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "_FILES", 3)
    for i in range(9):
        (tmp_path / f"{i}.jsonl").write_text(json.dumps({"n": i}))
    found = sample_corpus([f"{tmp_path}/*"])
    assert [row["n"] for row in found.rows] == [0, 4, 8]
    assert found.listed == 9 and not found.whole


def test_a_column_of_some_files_only(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\nso,1\n")
    (tmp_path / "b.csv").write_text("text\nno\n")
    (tmp_path / "c.csv").write_text("")
    found = sample_corpus([f"{tmp_path}/*"])
    assert found.columns() == ["text"]
    assert found.partial_columns() == ["label"]


def test_a_column_that_stands_twice_is_left_out(tmp_path):
    (tmp_path / "a.csv").write_text("text,x,x,\nso,1,2,3\n")
    assert sample_corpus([f"{tmp_path}/*"]).columns() == ["text"]


def test_a_name_that_tells_nothing_and_a_look_that_does(tmp_path):
    contents = {"a": b'\xef\xbb\xbf{"a": 1}\n', "b.txt": b"a|b\n1|2\n", "c": b"a\tb\n"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    table = pa.table({"a": [1]})
    pq.write_table(table, tmp_path / "d")
    files = [sample_corpus([f"{tmp_path}/{n}*"]) for n in "abd"]
    assert [f.files[0].format.found for f in files] == ["jsonl", "csv", "parquet"]
    with pytest.raises(UserError, match="no records"):
        sample_corpus([f"{tmp_path}/c"])


@pytest.mark.parametrize(
    "head, delimiter",
    [
        ("a,b\n1,2\n", ","),
        ("a;b\n1,5;2,5\n3,5;4,5\n", ";"),
        ("a\tb\nso, so\tno\n", "\t"),
        ("a|b|c\n1|2|3\n", "|"),
        ("text\nso it is\nno, it isn't\n", ","),
        ('a,b\n"x;y;z",2\n"u;v;w",3\n', ","),
        ("", ","),
    ],
)
def test_delimiter(head, delimiter):
    assert guess_delimiter(head) == delimiter


@pytest.mark.parametrize(
    "header, first, is_one",
    [
        (["text", "label"], ["so", "1"], True),
        (["", "text"], ["0", "so"], True),
        (["id", "review text"], None, True),
        (["so it is", "1"], ["no", "2"], False),
        (["This is a review of a lamp.", "good"], ["no", "bad"], False),
        (["Nr.", "Order No.", "text"], ["1", "2", "so"], True),
        (["Super.", "good"], ["no", "bad"], False),
        (["", "", "x"], None, False),
        (["a", "b"], ["a", "b"], False),
        (["2024-01-01", "x"], None, False),
    ],
)
def test_header(header, first, is_one):
    assert has_header(header, first) == is_one
