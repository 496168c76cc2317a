import csv
import datetime
import decimal
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common.corpus_config import CorpusConfig
from reviewbeam.components.common.prepare_config import LabelRules, PrepareConfig
from reviewbeam.components.ingestion import records
from reviewbeam.components.ingestion.lines import read_lines
from reviewbeam.components.ingestion.records import (
    RowMaker,
    csv_rows,
    json_rows,
    parquet_rows,
)

COLUMNS = {"text": "text", "id": "id", "label": "stars", "language": "lang"}
BOM = b"\xef\xbb\xbf"


def _maker(**columns):
    return RowMaker(CorpusConfig(columns=COLUMNS | columns))


def _json(content, **columns):
    if isinstance(content, dict):
        content = json.dumps(content)
    content = content if isinstance(content, bytes) else content.encode()
    return list(json_rows(read_lines([content]), _maker(**columns)))


def _csv(content, delimiter=",", maker=None, **columns):
    content = content if isinstance(content, bytes) else content.encode()
    maker = maker or _maker(**columns)
    return list(csv_rows(read_lines([content]), maker, delimiter))


def _parquet(table, start=0, stop=None, maker=None, **columns):
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=2)
    file = pq.ParquetFile(sink)
    stop = file.num_row_groups if stop is None else stop
    return list(parquet_rows(file, start, stop, maker or _maker(**columns)))


def _problems(rows):
    return [problem for _, _, _, problem, *_ in rows]


def _values(rows):
    """Text, id, label, language, group and kept values of each row."""
    return [values for _, _, _, _, *values in rows]


# === JSON Lines ===


def test_a_json_row():
    line = b'{"text": "gut \\u00e9", "id": "r1", "stars": 5, "lang": " de ", "x": [1]}'

    assert _json(line, keep=("x", "none")) == [
        (1, 0, line, None, "gut é", "r1", "5", "de", None, "[1]", None)
    ]


def test_json_rows_have_line_numbers_and_offsets():
    content = BOM + b'{"text": "a"}\r\n\n  \r\n{"text": "b"}\n\t\n{"text": "c"}'
    rows = _json(content)

    assert [(row, offset, raw) for row, offset, raw, *_ in rows] == [
        (1, 0, b'{"text": "a"}'),
        (4, 23, b'{"text": "b"}'),
        (6, 39, b'{"text": "c"}'),
    ]
    assert _problems(rows) == [None] * 3
    assert [values[0] for values in _values(rows)] == ["a", "b", "c"]


def test_only_one_carriage_return_is_dropped():
    assert _json(b'{"text": "a"}\r\r\n')[0][2] == b'{"text": "a"}\r'


def test_a_byte_order_mark_belongs_to_the_start_of_a_file():
    (row,) = json_rows([(100, BOM + b'{"text": "a"}')], _maker())

    assert row[3] == "malformed_json"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"text": "a"', "malformed_json"),
        (b'{"text": "a"} {"text": "b"}', "malformed_json"),
        (b'{"text": "a"},', "malformed_json"),
        (b"{'text': 'a'}", "malformed_json"),
        (b'{"text": NaN}', "malformed_json"),
        (b'{"text": "a", "stars": Infinity}', "malformed_json"),
        (b'{"text": "\\ud83d"}', "malformed_json"),
        (b'{"text": "a\tb"}', "malformed_json"),
        (b"\x00\x01", "malformed_json"),
        (b"[" * 3000 + b"]" * 3000, "malformed_json"),
        (b"plain words", "malformed_json"),
        ('{"text": "größer"}'.encode("latin-1"), "invalid_utf8"),
        (b'{"text": "\xf0\x9f\x98"}', "invalid_utf8"),
        (b"null", "not_an_object"),
        (b"7", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b'[{"text": "a"}]', "not_an_object"),
    ],
)
def test_a_bad_line_is_one_reject(line, problem):
    rows = _json(b'{"text": "a"}\n' + line + b'\n{"text": "b"}\n')

    assert _problems(rows) == [None, problem, None]
    number, offset, raw, _, *values = rows[1]
    assert (number, offset, raw) == (2, 14, line)
    assert values == [None] * 5


def test_a_giant_line_is_one_reject(monkeypatch):
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 5000)
    line = json.dumps({"text": "x" * 6000}).encode()

    (row,) = json_rows([(0, line)], _maker())
    assert row[:4] == (1, 0, line[:1024], "record_too_long")


def test_dots_reach_into_nested_values():
    nested = {"review": {"body": {"text": "a"}}, "review.stars": 4, "lang": None}
    columns = {"text": "review.body.text", "label": "review.stars", "id": "review.id"}

    assert _values(_json(nested, **columns)) == [["a", None, "4", None, None]]
    for other in ({"review": "flat"}, {"review": {"body": ["text"]}}, {}):
        assert _values(_json(other, **columns))[0][0] is None


@pytest.mark.parametrize(
    ("stars", "label"),
    [
        (5, "5"),
        (5.0, "5"),
        (4.5, "4.5"),
        (-1, "-1"),
        (True, "true"),
        (False, "false"),
        (" good ", "good"),
        ("5.0", "5.0"),
        ("", ""),
        (None, None),
    ],
)
def test_labels_as_text(stars, label):
    (row,) = _json({"text": "a", "stars": stars})

    assert (row[3], row[6]) == (None, label)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("text", 7, "text_wrong_type"),
        ("text", True, "text_wrong_type"),
        ("text", ["a"], "text_wrong_type"),
        ("text", {"body": "a"}, "text_wrong_type"),
        ("id", ["a"], "id_wrong_type"),
        ("id", {}, "id_wrong_type"),
        ("stars", [5], "label_wrong_type"),
        ("stars", {"value": 5}, "label_wrong_type"),
        ("lang", 7, "language_wrong_type"),
        ("lang", ["de"], "language_wrong_type"),
    ],
)
def test_wrong_types(field, value, problem):
    (row,) = _json({"text": "a", "id": "b", "stars": 5, "lang": "de", field: value})

    assert row[3] == problem
    place = ["text", "id", "stars", "lang"].index(field)
    assert row[4 + place] is None


def test_the_first_of_several_problems_counts():
    assert _problems(_json({"text": 7, "id": [], "lang": 8})) == ["text_wrong_type"]


def test_ids_as_text():
    rows = _json(b'{"id": 12}\n{"id": "012"}\n{"id": 1.5}\n{"id": null}\n')

    assert [values[1] for values in _values(rows)] == ["12", "012", "1.5", None]


def test_group_by_reads_its_column():
    config = PrepareConfig(
        encoder="e",
        columns=COLUMNS,
        labels=LabelRules(type="binary", names=("0", "1")),
        split={"group_by": "shop.id"},
    )
    maker = RowMaker(config)
    content = b'{"shop": {"id": 7}}\n{"shop": {"id": [7]}}\n{}\n'
    rows = list(json_rows(read_lines([content]), maker))

    assert [values[4] for values in _values(rows)] == ["7", None, None]
    assert _problems(rows) == [None, "group_wrong_type", None]
    assert maker.present == {"shop.id"}


def test_kept_values_are_text_or_json():
    record = {
        "a": "as it is ",
        "b": 5.0,
        "c": {"k": [1, None, "é"]},
        "d": True,
        "e": None,
        "f": "",
    }

    assert _values(_json(record, keep=tuple("abcdefg")))[0][5:] == [
        *("as it is ", "5.0", '{"k":[1,null,"é"]}', "true", None, "", None)
    ]


def test_notes_the_columns_it_met():
    maker = _maker(keep=("extra",))
    content = b'oops\n{"text": "a", "q": 1}\n{"lang": null, "z": 2}\n'
    list(json_rows(read_lines([content]), maker))

    assert maker.known == ["text", "q"]  # of the first record
    assert maker.present == {"text", "lang"}


@given(
    st.lists(
        st.binary(max_size=12).filter(lambda line: b"\n" not in line)
        | st.sampled_from([b"", b"null", b'{"text": "a"}', b'{"text": 1}', b"\r"]),
        max_size=20,
    )
)
def test_every_json_record_is_one_row(lines):
    rows = _json(b"\n".join(lines))

    stripped = [line.removesuffix(b"\r") for line in lines]
    if stripped:
        stripped[0] = lines[0].removeprefix(BOM).removesuffix(b"\r")
    assert [(row[0], row[2]) for row in rows] == [
        (number, line) for number, line in enumerate(stripped, 1) if line.strip()
    ]
    for row, line in zip(rows, filter(bytes.strip, stripped), strict=True):
        assert (row[3] is None) == (line in (b'{"text": "a"}', b"{}"))


# === CSV ===


def test_csv_rows():
    content = "text,id,stars,lang,x\n gut ,r1, 5 , de ,kept\n,,,,\n"

    assert _csv(content, keep=("x", "none")) == [
        (2, 21, b" gut ,r1, 5 , de ,kept", None)
        + (" gut ", "r1", "5", "de", None, "kept", None),
        (3, 44, b",,,,", None, *[None] * 7),
    ]


def test_csv_quotes_and_line_ends():
    content = (
        BOM + b'"text","id"\r\n"a ""quoted"" word, and\r\nanother line","1"\r\n'
        b'\r\nplain,"2"\n"last",3'
    )
    rows = _csv(content)

    assert [(row[0], row[1], *row[4:6]) for row in rows] == [
        (2, 16, 'a "quoted" word, and\r\nanother line', "1"),
        (5, 62, "plain", "2"),
        (6, 72, "last", "3"),
    ]
    assert rows[0][2] == b'"a ""quoted"" word, and\r\nanother line","1"\r'
    assert _problems(rows) == [None] * 3


def test_csv_delimiters():
    rows = _csv("text;id\na,b;1\n", delimiter=";")
    assert _values(rows)[0][:2] == ["a,b", "1"]

    rows = _csv("text\tid\n \t\n\t\na\t1\n", delimiter="\t")
    assert [values[:2] for values in _values(rows)] == [
        [" ", None],
        [None, None],  # two empty fields, and no blank line
        ["a", "1"],
    ]


def test_an_unclosed_quote_costs_its_own_line():
    content = 'text,id\na,1\n"b,2\nc,3\n\n"d, with a comma",4\n'
    rows = _csv(content)

    assert [(row[0], row[3], row[4]) for row in rows] == [
        (2, None, "a"),
        (3, "malformed_csv", None),
        (4, None, "c"),
        (6, None, "d, with a comma"),
    ]
    assert rows[1][2] == b'"b,2'


def test_an_unclosed_quote_in_the_last_line():
    rows = _csv('text,id\na,1\n"b,2')

    assert [(row[0], row[3]) for row in rows] == [(2, None), (3, "malformed_csv")]


def test_an_unclosed_quote_does_not_swallow_a_whole_file(monkeypatch):
    monkeypatch.setattr(records, "_MAX_RECORD_LINES", 10)
    content = 'text,id\n"open,0\n' + "".join(f"a{i},{i}\n" for i in range(100))
    rows = _csv(content)

    assert _problems(rows) == ["malformed_csv"] + [None] * 100
    assert [row[0] for row in rows] == list(range(2, 103))
    assert rows[0][2] == b'"open,0'


def test_a_long_record_is_malformed(monkeypatch):
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 50)
    rows = _csv('text,id\n"' + "xx\n" * 40 + '",1\nb,2\n')

    assert rows[0][3] == "malformed_csv"
    assert rows[-1][4:6] == ("b", "2")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"one", "wrong_field_count"),
        (b"one,two,three", "wrong_field_count"),
        (b'"one" ,two', "malformed_csv"),
        (b"one\rtwo,three", "malformed_csv"),
        (b"gr\xf6\xdfer,1", "invalid_utf8"),
    ],
)
def test_a_bad_csv_line_is_one_reject(line, problem):
    rows = _csv(b"text,id\na,1\n" + line + b"\nb,2\n")

    assert _problems(rows) == [None, problem, None]
    assert rows[1] == (3, 12, line, problem, *[None] * 5)


def test_csv_header():
    maker = _maker(label=None, language=None)
    assert _csv("text,id,text\na,1,b\n", maker=maker)[0][4] == "a"  # the first counts
    assert maker.known == ["text", "id", "text"]

    for nothing in ("", "\n\r\n", "text,id\n", "text,id"):
        assert _csv(nothing) == []


def test_a_csv_header_tells_the_columns_though_no_record_does():
    maker = _maker(keep=("none",))
    rows = _csv("text,id,lang\na,1\n", maker=maker)

    assert _problems(rows) == ["wrong_field_count"]
    assert maker.present == {"text", "id", "lang"}


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
    rows = _csv(sink.getvalue(), delimiter)

    assert _problems(rows) == [None] * len(table)
    assert [values[:2] for values in _values(rows)] == [
        [text or None, identity or None] for text, identity in table
    ]


@given(
    st.lists(
        st.text(st.sampled_from('ab",\r \x00é'), max_size=6).map(str.encode)
        | st.binary(max_size=4).filter(lambda line: b"\n" not in line),
        max_size=12,
    )
)
def test_every_csv_line_is_in_one_row(lines):
    content = b"text,id\n" + b"\n".join(lines)
    rows = _csv(content)

    # The rows' raw lines, in order, are the file's lines without the blank ones.
    end = 8
    for _, offset, raw, *_ in rows:
        assert offset >= end and not content[end:offset].strip()
        assert content[offset : offset + len(raw)] == raw
        end = offset + len(raw) + 1
    assert not content[end:].strip()


# === Parquet ===


def test_parquet_rows():
    table = pa.table(
        {
            "text": pa.array(["a", None, "c"]).dictionary_encode(),
            "id": pa.array([1, 2, None], pa.uint64()),
            "stars": pa.array([5.0, 4.5, float("nan")]),
            "lang": pa.array(["de", " ", None], pa.large_string()),
            "other": [1, 2, 3],
        }
    )
    maker = _maker()

    assert _parquet(table, maker=maker) == [
        (1, None, None, None, "a", "1", "5", "de", None),
        (2, None, None, None, None, "2", "4.5", None, None),
        (3, None, None, None, "c", None, None, None, None),
    ]
    assert maker.known == ["text", "id", "stars", "lang", "other"]
    assert maker.present == {"text", "id", "stars", "lang"}


def test_parquet_row_groups():
    table = pa.table({"text": list("abcde")})  # groups of two rows

    rows = _parquet(table, 1, 3)
    assert [(row[0], row[4]) for row in rows] == [(1, "c"), (2, "d"), (3, "e")]


def test_parquet_nested_and_dotted_columns():
    table = pa.table(
        {
            "review": [{"text": "a", "meta": {"id": "n1"}}, None],
            "review.stars": [3, 4],
        }
    )
    columns = {"text": "review.text", "id": "review.meta.id", "label": "review.stars"}

    assert [values[:3] for values in _values(_parquet(table, **columns))] == [
        ["a", "n1", "3"],
        [None, None, "4"],
    ]


def test_parquet_binary_texts():
    table = pa.table(
        {"text": ["é".encode(), b"\xff", b""], "stars": [b"1", b"\xff", None]}
    )
    rows = _parquet(table)

    assert [(row[3], row[4], row[6]) for row in rows] == [
        (None, "é", "1"),
        ("invalid_utf8", None, None),
        (None, "", None),
    ]


def test_a_parquet_value_that_python_cannot_hold_is_one_reject():
    offsets = pa.array([0, 1, 3, 4], pa.int32()).buffers()[1]
    texts = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"a\xff\xfec"))
    moments = pa.array([0, 0, 2**62], pa.timestamp("us"))
    maker = _maker(keep=("at",))
    rows = _parquet(pa.table({"text": texts, "at": moments}), maker=maker)

    assert [(row[0], row[3], row[4]) for row in rows] == [
        (1, None, "a"),
        (2, "unreadable_value", None),
        (3, "unreadable_value", None),
    ]
    assert maker.present == {"text", "at"}


def test_parquet_kept_values():
    table = pa.table(
        {
            "text": ["a"],
            "day": [datetime.date(2024, 2, 29)],
            "price": [decimal.Decimal("1.50")],
            "tags": [["x", None]],
            "nothing": pa.nulls(1),
            "share": pa.array([float("nan")]),
        }
    )
    kept = ("day", "price", "tags", "nothing", "share")

    assert _values(_parquet(table, keep=kept))[0][5:] == [
        *("2024-02-29", "1.50", '["x",null]', None, None)
    ]


def test_parquet_without_any_mapped_column_has_its_rows():
    maker = _maker()
    rows = _parquet(pa.table({"other": [1, 2, 3]}), maker=maker)

    assert _values(rows) == [[None] * 5] * 3
    assert (maker.present, maker.known) == (set(), ["other"])
