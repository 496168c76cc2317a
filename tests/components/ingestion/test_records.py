import datetime
import decimal
import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common.corpus_config import RecordRules
from reviewbeam.components.ingestion import records
from reviewbeam.components.ingestion.records import json_records
from reviewbeam.components.ingestion.values import MISSING
from tests.components.ingestion.mapped import (
    BOM,
    corpus_config,
    map_json,
    map_parquet,
    string_array,
)

NO_VALUES = [None] * 5

# === JSON Lines ===


def test_a_json_row():
    line = b'{"text": "gut \\u00e9", "id": "r1", "stars": 5, "lang": " de ", "x": [1]}'

    assert map_json(line, keep=("x", "none")).rows == [
        (1, 0, line, None, "gut é", "r1", "5", "de", None, "[1]", None)
    ]


def test_json_rows_have_line_numbers_and_offsets():
    content = BOM + b'{"text": "a"}\r\n\n  \r\n{"text": "b"}\n\t\n{"text": "c"}'
    mapped = map_json(content)

    assert [(row, offset, raw) for row, offset, raw, *_ in mapped.rows] == [
        (1, 0, b'{"text": "a"}'),
        (4, 23, b'{"text": "b"}'),
        (6, 39, b'{"text": "c"}'),
    ]
    assert mapped.problems == [None] * 3
    assert mapped.column("text") == ["a", "b", "c"]


def test_only_one_carriage_return_is_dropped():
    assert map_json(b'{"text": "a"}\r\r\n').column("raw") == [b'{"text": "a"}\r']


def test_a_byte_order_mark_belongs_to_the_start_of_a_file():
    (found,) = json_records([(100, BOM + b'{"text": "a"}')], RecordRules())

    assert found.problems == ["malformed_json"]


BAD_LINES = [
    (b'{"text": "a"', "malformed_json"),
    (b'{"text": "a"} {"text": "b"}', "malformed_json"),
    (b'{"text": "a"},', "malformed_json"),
    (b"{'text': 'a'}", "malformed_json"),
    (b'{"text": NaN}', "malformed_json"),
    (b'{"text": "a", "stars": Infinity}', "malformed_json"),
    (b'{"text": "\\ud83d", "stars": NaN}', "malformed_json"),
    (b'{"text": "\\ud83d"},', "malformed_json"),
    (b'{"text": "a\tb"}', "malformed_json"),
    (BOM + b'{"text": "a"}', "malformed_json"),
    ('{"text": "a"}'.encode("utf-16-le"), "malformed_json"),
    (b"\x00\x01", "malformed_json"),
    (b"[" * 3000 + b"]" * 3000, "malformed_json"),
    (b"plain words", "malformed_json"),
    (b'{"text": "\\ud83d"}', "lone_surrogates"),
    (b'{"\\udead": 1, "text": "a"}', "lone_surrogates"),
    (b'{"text": "a", "x": [{"y": "\\ude00\\ud83d"}]}', "lone_surrogates"),
    ('{"text": "größer"}'.encode("latin-1"), "invalid_utf8"),
    (b'{"text": "\xf0\x9f\x98"}', "invalid_utf8"),
    (b'{"text": "\xed\xa0\x80"}', "invalid_utf8"),
    (b'{"text": "a"}'.decode().encode("utf-16"), "invalid_utf8"),
    (b"null", "not_an_object"),
    (b"7", "not_an_object"),
    (b'"text"', "not_an_object"),
    (b'[{"text": "a"}]', "not_an_object"),
]


@pytest.mark.parametrize(("line", "problem"), BAD_LINES)
def test_a_bad_line_is_one_reject(line, problem):
    mapped = map_json(b'{"text": "a"}\n' + line + b'\n{"text": "b"}\n')

    assert mapped.problems == [None, problem, None]
    assert mapped.repairs == [None] * 3
    assert mapped.rows[1] == (2, 14, line, problem, *NO_VALUES)


@pytest.mark.parametrize(
    ("line", "text", "repair"),
    [
        (b'{"text": "gr\xf6\xdfer"}', "gr\ufffd\ufffder", "invalid_utf8"),
        (b'{"text": "a \\ud83d b"}', "a \ufffd b", "lone_surrogates"),
        (b'{"text": "\\ud83d\\ude00\\ude00"}', "😀\ufffd", "lone_surrogates"),
        (b'{"\\udead": 1, "text": "a"}', "a", "lone_surrogates"),
        (b'{"text": "\xff\\ud83d"}', "\ufffd\ufffd", "lone_surrogates"),
    ],
)
def test_a_line_is_mended_where_the_rules_say_so(line, text, repair):
    config = corpus_config({"invalid_utf8": "repair", "lone_surrogates": "repair"})
    mapped = map_json(b'{"text": "ok"}\n' + line, config)

    assert mapped.problems == [None, None]
    assert mapped.repairs == [None, repair]
    assert mapped.column("text") == ["ok", text]
    assert mapped.column("raw")[1] == line


def test_mending_one_fault_does_not_mend_the_other():
    config = corpus_config({"invalid_utf8": "repair"})
    mapped = map_json(b'{"text": "\xff\\ud83d"}\n{"text": \xff}\nnull\xff', config)

    assert mapped.problems == ["lone_surrogates", "malformed_json", "malformed_json"]
    assert mapped.repairs == [None] * 3


def test_a_giant_line_is_one_reject(monkeypatch):
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 5000)
    line = json.dumps({"text": "x" * 6000}).encode()
    found, rest = json_records([(0, line), (6100, b'{"text": "a"}')], RecordRules())

    assert (found.numbers, found.offsets, found.raws) == ([1], [0], [line])
    assert found.problems == ["record_too_long"]
    assert found.values("text") == [MISSING]
    assert (rest.numbers, rest.values("text")) == ([2], ["a"])


def test_json_blocks_end_by_their_bytes(monkeypatch):
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 60)
    lines = [(i * 22, b'{"text": "%09d"}' % i) for i in range(7)]
    found = list(json_records(lines, RecordRules()))

    assert [part.numbers for part in found] == [[1, 2, 3], [4, 5, 6], [7]]
    assert [part.offsets for part in found] == [[0, 22, 44], [66, 88, 110], [132]]


LINES = st.lists(
    st.binary(max_size=12).filter(lambda line: b"\n" not in line)
    | st.sampled_from([line for line, _ in BAD_LINES])
    | st.sampled_from([b"", b"\r", b" \t\r", b"{}", b'{"text": 1}', b'{"stars": 2}\r'])
    | st.sampled_from([b'{"text": "a", "x": {"y": 1}}', b'{"text": "b", "stars": 5}']),
    max_size=20,
)
SOUND_LINES = st.lists(
    st.dictionaries(
        st.sampled_from(["text", "stars", "x"]),
        st.none() | st.text(max_size=5) | st.integers(-5, 5) | st.booleans(),
    ).map(lambda record: json.dumps(record).encode()),
    max_size=20,
)
REPAIRS = {"invalid_utf8": "repair", "lone_surrogates": "repair"}


@given(LINES)
def test_every_json_record_is_one_row(lines):
    mapped = map_json(b"\n".join(lines))

    stripped = [line.removesuffix(b"\r") for line in lines]
    if stripped:
        stripped[0] = lines[0].removeprefix(BOM).removesuffix(b"\r")
    assert [(row[0], row[2]) for row in mapped.rows] == [
        (number, line) for number, line in enumerate(stripped, 1) if line.strip()
    ]


def _described(parts, first=1):
    """Each record with its values; `first` is the number of the first line."""
    found = []
    for part in parts:
        columns = zip(
            [number + first - 1 for number in part.numbers],
            part.offsets,
            part.raws,
            part.problems,
            part.repairs,
            *(part.values(column) for column in ("text", "stars", "x", "x.y", "none")),
            strict=True,
        )
        # 1 == True == 1.0, but their types differ.
        found += [(*row, [type(item) for item in row]) for row in columns]
    return found


@pytest.mark.parametrize("actions", [{}, REPAIRS])
@given(
    lines=SOUND_LINES | LINES | st.tuples(SOUND_LINES, LINES).map(lambda p: sum(p, []))
)
def test_a_block_of_lines_has_the_records_of_each_line_alone(actions, lines):
    rules = RecordRules(actions=actions)
    numbered = [(100 * i, line) for i, line in enumerate(lines)]
    alone = [
        record
        for number, item in enumerate(numbered, 1)
        for record in _described(json_records([item], rules), number)
    ]

    assert _described(json_records(numbered, rules)) == alone


@pytest.mark.parametrize("at_once", [1, 2, 7])
@given(lines=SOUND_LINES | LINES)
def test_json_records_do_not_depend_on_the_size_of_blocks(at_once, lines):
    numbered = [(100 * i, line) for i, line in enumerate(lines)]
    whole = _described(json_records(numbered, RecordRules()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "AT_ONCE", at_once)
        parts = list(json_records(numbered, RecordRules()))

    assert _described(parts) == whole
    assert all(0 < len(part.numbers) <= at_once for part in parts)


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
    mapped = map_parquet(table)

    assert mapped.rows == [
        (1, None, None, None, "a", "1", "5", "de", None),
        (2, None, None, None, None, "2", "4.5", None, None),
        (3, None, None, None, "c", None, None, None, None),
    ]
    assert mapped.mapper.known == ["text", "id", "stars", "lang", "other"]
    assert mapped.mapper.present == {"text", "id", "stars", "lang"}


@pytest.mark.parametrize("column", ["text", "id", "stars", "lang", "keep"])
@pytest.mark.parametrize(
    "array",
    [
        pa.array(["5", None, "é", ""]),
        pa.array(["5", None, "é", ""], pa.large_string()),
        pa.array(["5", None, "é", ""]).dictionary_encode(),
        pa.array(["5", None, "é", ""], pa.large_string()).dictionary_encode(),
    ],
    ids=lambda array: str(array.type),
)
def test_parquet_strings_of_any_type(column, array):
    empty = None if column == "lang" else ""
    name = {"stars": "label", "lang": "language", "keep": "keep.keep"}.get(
        column, column
    )
    mapped = map_parquet(pa.table({column: array}), keep=("keep",))

    assert mapped.column(name) == ["5", None, "é", empty]
    assert mapped.problems == [None] * 4


def test_parquet_row_groups():
    mapped = map_parquet(pa.table({"text": list("abcde")}), 1, 3)  # of two rows each

    assert [(row[0], row[4]) for row in mapped.rows] == [(1, "c"), (2, "d"), (3, "e")]


def test_parquet_row_groups_without_rows():
    assert map_parquet(pa.table({"text": pa.array([], pa.string())})).rows == []
    assert map_parquet(pa.table({"text": ["a"]}), 0, 0).rows == []


def test_parquet_nested_and_dotted_columns():
    table = pa.table(
        {
            "review": [{"text": "a", "meta": {"id": "n1"}}, None],
            "review.stars": [3, 4],
        }
    )
    columns = {"text": "review.text", "id": "review.meta.id", "label": "review.stars"}

    assert [values[:3] for values in map_parquet(table, **columns).values] == [
        ["a", "n1", "3"],
        [None, None, "4"],
    ]


def test_parquet_binary_texts():
    table = pa.table(
        {"text": ["é".encode(), b"\xff", b""], "stars": [b"1", b"\xff", None]}
    )
    mapped = map_parquet(table)
    assert [(row[3], row[4], row[6]) for row in mapped.rows] == [
        (None, "é", "1"),
        ("invalid_utf8", "\ufffd", "\ufffd"),
        (None, "", None),
    ]

    mapped = map_parquet(table, config=corpus_config({"invalid_utf8": "repair"}))
    assert mapped.problems == [None] * 3
    assert mapped.repairs == [None, "invalid_utf8,invalid_utf8", None]
    assert mapped.column("text") == ["é", "\ufffd", ""]


def test_a_parquet_value_that_python_cannot_hold_is_one_reject():
    texts = string_array(b"a", b"\xff\xfe", b"c")
    moments = pa.array([0, 0, 2**62], pa.timestamp("us"))
    mapped = map_parquet(pa.table({"text": texts, "at": moments}), keep=("at",))

    assert [(row[0], row[3], row[4]) for row in mapped.rows] == [
        (1, None, "a"),
        (2, "unreadable_value", None),
        (3, "unreadable_value", "c"),
    ]
    assert mapped.mapper.present == {"text", "at"}


@pytest.mark.parametrize("actions", [{}, REPAIRS])
def test_nothing_mends_a_parquet_value_that_cannot_be_read(actions):
    nested = pa.StructArray.from_arrays([string_array(b"\xff", b"b")], ["text"])
    mapped = map_parquet(
        pa.table({"review": nested}),
        config=corpus_config(actions, text="review.text"),
    )

    assert mapped.problems == ["unreadable_value", None]
    assert mapped.repairs == [None, None]
    assert mapped.column("text") == [None, "b"]


def test_a_parquet_time_in_a_zone_that_nobody_knows_is_one_reject():
    moments = pa.array([0, None], pa.timestamp("us", tz="Mars/Olympus"))
    mapped = map_parquet(pa.table({"text": ["a", "b"], "at": moments}), keep=("at",))

    assert mapped.problems == ["unreadable_value", None]


def test_parquet_kept_values():
    table = pa.table(
        {
            "text": ["a"],
            "day": [datetime.date(2024, 2, 29)],
            "price": [decimal.Decimal("1.50")],
            "tags": [["x", None]],
            "nothing": pa.nulls(1),
            "share": pa.array([float("nan")]),
            "counts": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
            "nested": [{"day": datetime.date(2024, 2, 29), "raw": b"\xff"}],
        }
    )
    kept = tuple(name for name in table.column_names if name != "text")

    assert map_parquet(table, keep=kept).values[0][5:] == [
        *("2024-02-29", "1.50", '["x",null]', None, None, '[["a",1]]'),
        '{"day":"2024-02-29","raw":"\ufffd"}',
    ]


def test_parquet_without_any_mapped_column_has_its_rows():
    mapped = map_parquet(pa.table({"other": [1, 2, 3]}))

    assert mapped.values == [NO_VALUES] * 3
    assert (mapped.mapper.present, mapped.mapper.known) == (set(), ["other"])
