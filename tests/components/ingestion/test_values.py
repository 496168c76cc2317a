import datetime
import decimal

import pyarrow as pa
import pytest

from reviewbeam.components.ingestion.values import (
    MISSING,
    UNREADABLE,
    is_utf8,
    kept_value,
    label_value,
    labels_value,
    language_value,
    lookup,
    python_values,
    scalar_value,
    text_value,
    time_value,
    without_lone_surrogates,
)
from tests.components.ingestion.mapped import string_array


def test_a_value_by_its_name_or_its_path():
    record = {"a": {"b": {"c": 1}, "n": None}, "a.b": 2, "": {"": 3}}

    assert lookup(record, "a.b") == 2  # the whole name first
    assert lookup(record, "a.b.c") == 1
    assert lookup(record, "a.n") is None
    assert lookup(record, ".") == 3
    for missing in ("b", "a.x", "a.n.x", "a.b.c.d", "a."):
        assert lookup(record, missing) is MISSING


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (" as it is\n", (" as it is\n", None)),
        ("", ("", None)),
        ("é".encode(), ("é", None)),
        (b"\xffa", ("\ufffda", "invalid_utf8")),
        (7, ("7", "text_wrong_type")),
        (1.5, ("1.5", "text_wrong_type")),
        (True, (None, "text_wrong_type")),
        (["a"], (None, "text_wrong_type")),
        ({"a": 1}, (None, "text_wrong_type")),
        (datetime.date(2024, 5, 1), (None, "text_wrong_type")),
    ],
)
def test_texts(value, expected):
    assert text_value(value) == expected


@pytest.mark.parametrize(
    ("value", "label"),
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
        (b"good", "good"),
        (float("inf"), "inf"),
        (10**40, "1" + "0" * 40),
    ],
)
def test_labels_as_text(value, label):
    assert label_value(value) == (label, None)


@pytest.mark.parametrize("value", [[5], (), {"a": 1}, datetime.date(2024, 5, 1)])
def test_what_is_no_label(value):
    assert label_value(value) == (None, "label_wrong_type")


def test_a_label_of_bytes_that_are_no_utf8():
    assert label_value(b"\xff") == ("\ufffd", "invalid_utf8")


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        (["b", "a"], "\x1fb\x1fa"),
        (("a",), "\x1fa"),
        ([], ""),
        ([None, " ", "a "], "\x1fa"),
        ([1, 2.0, True], "\x1f1\x1f2\x1ftrue"),
        ("a", "\x1fa"),
        ("a; b;;", "\x1fa\x1fb"),
        ("a,b", "\x1fa,b"),
        ("", ""),
        (" ; ", ""),
        (7, "\x1f7"),
        (False, "\x1ffalse"),
    ],
)
def test_several_labels_as_text(value, labels):
    assert labels_value(value, ";") == (labels, None)


@pytest.mark.parametrize("value", [[["a"]], ["a", {}], {"a": 1}])
def test_what_are_no_labels(value):
    assert labels_value(value, ";") == (None, "label_wrong_type")


def test_a_delimiter_may_be_long():
    assert labels_value("a::b:c", "::") == ("\x1fa\x1fb:c", None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (" de ", ("de", None)),
        ("", (None, None)),
        (" \t", (None, None)),
        (7, (None, "language_wrong_type")),
        (["de"], (None, "language_wrong_type")),
    ],
)
def test_languages(value, expected):
    assert language_value(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (" r1 ", (" r1 ", None)),
        ("", ("", None)),
        (12, ("12", None)),
        (1.5, ("1.5", None)),
        (12.0, ("12", None)),
        (1e16, ("10000000000000000", None)),
        (["a"], (None, "id_wrong_type")),
        ({}, (None, "id_wrong_type")),
    ],
)
def test_ids(value, expected):
    assert scalar_value(value, "id_wrong_type") == expected


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2024-05-01T09:30:00", "2024-05-01T09:30:00"),
        (" 2024-05-01 09:30 ", "2024-05-01T09:30:00"),
        ("2024-05-01T09:30:00Z", "2024-05-01T09:30:00"),
        ("2024-05-01T09:30:00.999999+00:00", "2024-05-01T09:30:00"),
        ("2024-05-01T01:30:00+02:00", "2024-04-30T23:30:00"),
        ("2024-05-01T23:30:00-0330", "2024-05-02T03:00:00"),
        ("2024-05-01", "2024-05-01T00:00:00"),
        ("20240501", "2024-05-01T00:00:00"),
        ("20240501T093000Z", "2024-05-01T09:30:00"),
        ("0999-01-01", "0999-01-01T00:00:00"),
        (0, "1970-01-01T00:00:00"),
        (1714556400, "2024-05-01T09:40:00"),
        (1714556400.9, "2024-05-01T09:40:00"),
        (1714556400000, "2024-05-01T09:40:00"),
        (1714556400000000, "2024-05-01T09:40:00"),
        (1714556400000000000, "2024-05-01T09:40:00"),
        (-86400, "1969-12-31T00:00:00"),
        ("1714556400", "2024-05-01T09:40:00"),
        ("1714556400000", "2024-05-01T09:40:00"),
        ("1612111510012", "2021-01-31T16:45:10"),  # no 15th of November 1612
        (datetime.date(2024, 5, 1), "2024-05-01T00:00:00"),
        (datetime.datetime(2024, 5, 1, 9, 30, 0, 5), "2024-05-01T09:30:00"),
        (
            datetime.datetime(
                2024,
                5,
                1,
                1,
                tzinfo=datetime.timezone(datetime.timedelta(hours=2)),
            ),
            "2024-04-30T23:00:00",
        ),
    ],
)
def test_times_in_utc(value, time):
    assert time_value(value) == (time, None)


@pytest.mark.parametrize(
    "value",
    [
        *("", "yesterday", "2024-13-01", "2024-02-30", "01.05.2024", "24:00", "1e9"),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-01:00", "20240501093000"),
        *(True, [1714556400], {}, b"2024-05-01", datetime.time(9, 30)),
        *(1e20, 10**40, float("inf"), -99_999_999_999_999),
    ],
)
def test_what_is_no_time(value):
    assert time_value(value) == (None, "time_invalid")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is ", "as it is "),
        (5, "5"),
        (5.0, "5.0"),
        (True, "true"),
        ({"k": [1, None, "é"]}, '{"k":[1,null,"é"]}'),
        ([("a", 1)], '[["a",1]]'),
        (b"a\xff", "a\ufffd"),
        (decimal.Decimal("1.50"), "1.50"),
        (datetime.date(2024, 5, 1), "2024-05-01"),
        (datetime.datetime(2024, 5, 1, 9, 30), "2024-05-01T09:30:00"),
        (datetime.time(9, 30), "09:30:00"),
        (datetime.timedelta(days=1), "1 day, 0:00:00"),
        ([decimal.Decimal("1.50"), b"a", datetime.time(9)], '["1.50","a","09:00:00"]'),
    ],
)
def test_kept_values(value, text):
    assert kept_value(value) == (text, None)


def test_a_kept_value_that_json_cannot_hold():
    deep = []
    for _ in range(1000):
        deep = [deep]

    assert kept_value(deep) == (None, "unreadable_value")
    assert kept_value({"big": 2**64}) == (None, "unreadable_value")


def test_utf8():
    assert is_utf8("größer 👍\x00".encode())
    assert not is_utf8(b"\xed\xa0\x80")  # a surrogate
    assert not is_utf8(b"\xc0\x80")


def test_halves_of_surrogate_pairs_are_replaced():
    value = {"a\ud83d": ["\ude00b", {"c": "\ud83d\ud83d"}, 1, None, 1.5, True]}

    assert without_lone_surrogates(value) == {
        "a\ufffd": ["\ufffdb", {"c": "\ufffd\ufffd"}, 1, None, 1.5, True]
    }
    assert without_lone_surrogates("😀") == "😀"


def test_values_that_python_cannot_hold():
    moments = pa.array([0, 2**62, None, -(2**62)], pa.timestamp("us"))

    first = datetime.datetime(1970, 1, 1)
    assert python_values(moments) == [first, UNREADABLE, None, UNREADABLE]
    assert python_values(string_array(b"a", b"\xff", b"", b"\xfe")) == [
        *("a", UNREADABLE, "", UNREADABLE)
    ]
    assert python_values(pa.array([], pa.string())) == []
    unknown = pa.array([0, None], pa.timestamp("us", tz="Mars/Olympus"))
    assert python_values(unknown) == [UNREADABLE, None]
