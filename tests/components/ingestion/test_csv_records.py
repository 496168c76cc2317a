import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common.corpus_config import RecordRules
from reviewbeam.components.ingestion import csv_records as module
from reviewbeam.components.ingestion.csv_records import csv_records
from reviewbeam.components.ingestion.lines import read_lines
from tests.components.ingestion.mapped import BOM, corpus_config, map_csv


def test_csv_rows():
    content = "text,id,stars,lang,x\n gut ,r1, 5 , de ,kept\n,,,,\n"

    assert map_csv(content, keep=("x", "none")).rows == [
        (2, 21, b" gut ,r1, 5 , de ,kept", None)
        + (" gut ", "r1", "5", "de", None, "kept", None),
        (3, 44, b",,,,", None, *[None] * 7),
    ]


def test_csv_quotes_and_line_ends():
    content = (
        BOM + b'"text","id"\r\n"a ""quoted"" word, and\r\nanother line","1"\r\n'
        b'\r\nplain,"2"\n"last",3'
    )
    mapped = map_csv(content)

    assert [(row[0], row[1], *row[4:6]) for row in mapped.rows] == [
        (2, 16, 'a "quoted" word, and\r\nanother line', "1"),
        (5, 62, "plain", "2"),
        (6, 72, "last", "3"),
    ]
    assert mapped.rows[0][2] == b'"a ""quoted"" word, and\r\nanother line","1"\r'
    assert mapped.problems == [None] * 3


def test_csv_delimiters():
    mapped = map_csv("text;id\na,b;1\n", delimiter=";")
    assert mapped.values[0][:2] == ["a,b", "1"]

    mapped = map_csv("text\tid\n \t\n\t\na\t1\n", delimiter="\t")
    assert [values[:2] for values in mapped.values] == [
        [" ", None],
        [None, None],  # two empty fields, and no blank line
        ["a", "1"],
    ]


def test_an_unclosed_quote_costs_its_own_line():
    content = 'text,id\na,1\n"b,2\nc,3\n\n"d, with a comma",4\n'
    rows = map_csv(content).rows

    assert [(row[0], row[3], row[4]) for row in rows] == [
        (2, None, "a"),
        (3, "malformed_csv", None),
        (4, None, "c"),
        (6, None, "d, with a comma"),
    ]
    assert rows[1][2] == b'"b,2'


def test_an_unclosed_quote_in_the_last_line():
    rows = map_csv('text,id\na,1\n"b,2').rows

    assert [(row[0], row[3]) for row in rows] == [(2, None), (3, "malformed_csv")]


def test_an_unclosed_quote_does_not_swallow_a_whole_file(monkeypatch):
    monkeypatch.setattr(module, "_MAX_RECORD_LINES", 10)
    content = 'text,id\n"open,0\n' + "".join(f"a{i},{i}\n" for i in range(100))
    mapped = map_csv(content)

    assert mapped.problems == ["malformed_csv"] + [None] * 100
    assert mapped.column("row") == list(range(2, 103))
    assert mapped.column("raw")[0] == b'"open,0'


def test_a_long_record_is_malformed(monkeypatch):
    monkeypatch.setattr(module, "MAX_RECORD_BYTES", 50)
    mapped = map_csv('text,id\n"' + "xx\n" * 40 + '",1\nb,2\n')

    assert mapped.problems[0] == "malformed_csv"
    assert mapped.rows[-1][4:6] == ("b", "2")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"one", "wrong_field_count"),
        (b"one,two,three", "wrong_field_count"),
        (b'"one" ,two', "malformed_csv"),
        (b"one\rtwo,three", "malformed_csv"),
        (b"gr\xf6\xdfer,1", "invalid_utf8"),
        (b"gr\xf6\xdfer", "invalid_utf8"),
    ],
)
def test_a_bad_csv_line_is_one_reject(line, problem):
    mapped = map_csv(b"text,id\na,1\n" + line + b"\nb,2\n")

    assert mapped.problems == [None, problem, None]
    assert mapped.repairs == [None] * 3
    assert mapped.rows[1] == (3, 12, line, problem, *[None] * 5)


def test_csv_bytes_are_mended_where_the_rules_say_so():
    content = b"text,id\ngr\xf6\xdfer,1\n\xff\nb,2\n"
    mapped = map_csv(content, config=corpus_config({"invalid_utf8": "repair"}))

    assert mapped.problems == [None, "wrong_field_count", None]
    assert mapped.repairs == ["invalid_utf8", None, None]
    assert mapped.column("text") == ["gr\ufffd\ufffder", None, "b"]
    assert mapped.column("raw")[0] == b"gr\xf6\xdfer,1"


def test_csv_header():
    mapped = map_csv("text,id,text\na,1,b\n", label=None, language=None)
    assert mapped.column("text") == ["a"]  # the first counts
    assert mapped.mapper.known == ["text", "id", "text"]

    for nothing in ("", "\n\r\n", "text,id\n", "text,id"):
        assert map_csv(nothing).rows == []


def test_a_csv_header_tells_the_columns_though_no_record_does():
    mapped = map_csv("text,id,lang\na,1\n", keep=("none",))

    assert mapped.problems == ["wrong_field_count"]
    assert mapped.mapper.present == {"text", "id", "lang"}


def test_a_csv_header_alone_tells_the_columns():
    assert map_csv("text,id,lang\n").mapper.present == {"text", "id", "lang"}


CELLS = st.text(
    st.characters(codec="utf-8") | st.sampled_from('",;\r\n\t '), max_size=8
)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@given(table=st.lists(st.tuples(CELLS, CELLS), max_size=8))
def test_reads_what_pythons_csv_writes(delimiter, table):
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow(["text", "id"])
    writer.writerows(table)
    mapped = map_csv(sink.getvalue(), delimiter)

    assert mapped.problems == [None] * len(table)
    assert [values[:2] for values in mapped.values] == [
        [text or None, identity or None] for text, identity in table
    ]


LINES = st.lists(
    st.text(st.sampled_from('ab",\r \x00é'), max_size=6).map(str.encode)
    | st.binary(max_size=4).filter(lambda line: b"\n" not in line)
    | st.sampled_from([b"a,1", b'"b, c",2', b"", b'"open']),
    max_size=12,
)


@given(LINES)
def test_every_csv_line_is_in_one_row(lines):
    content = b"text,id\n" + b"\n".join(lines)
    mapped = map_csv(content)

    # The rows' raw lines, in order, are the file's lines without the blank ones.
    end = 8
    for _, offset, raw, *_ in mapped.rows:
        assert offset >= end and not content[end:offset].strip()
        assert content[offset : offset + len(raw)] == raw
        end = offset + len(raw) + 1
    assert not content[end:].strip()


def _described(parts):
    return [
        row
        for part in parts
        for row in zip(
            part.numbers,
            part.offsets,
            part.raws,
            part.problems,
            part.repairs,
            *(part.values(column) for column in ("text", "id", "none")),
            strict=True,
        )
    ]


@pytest.mark.parametrize("action", ["reject", "repair"])
@given(lines=LINES, at_once=st.integers(1, 5))
def test_csv_records_do_not_depend_on_the_size_of_blocks(action, lines, at_once):
    lines = list(read_lines([b"text,id\n" + b"\n".join(lines)]))
    rules = RecordRules(actions={"invalid_utf8": action})
    whole = _described(csv_records(lines, ",", rules))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AT_ONCE", at_once)
        parts = list(csv_records(lines, ",", rules))

    assert _described(parts) == whole
    assert all(len(part.numbers) <= at_once for part in parts)


def test_a_record_that_damage_cut_off_gives_no_rows():
    lines = read_lines([b'text,stars\na,1\n"b\nno review,1\n'])
    blocks = csv_records(lines, ",", RecordRules(), is_damaged=lambda: True)
    numbers = [number for block in blocks for number in block.numbers]

    assert numbers == [2]
