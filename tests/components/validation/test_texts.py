import sys
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.validation import texts

EVERY_CHARACTER = [
    chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000
]
# Letters, what composes with them and what stands apart, in scripts with marks.
COMPOSING = st.text(
    "aeo \u0301\u0323\u0308é가\u1100\u1161\u11a8\u0915\u093c\u0958Å\u212b"
)


def _told(function, *values):
    return function(pa.array(values, pa.string())).to_pylist()


def test_null_is_nothing_and_stays_null():
    for tell in (
        texts.is_blank,
        texts.has_nul,
        texts.has_control,
        texts.is_not_nfc,
        texts.without_nul,
        texts.without_control,
        texts.composed,
    ):
        assert _told(tell, None) == [None]
        assert _told(tell) == []
    assert texts.shortened(pa.array([None], pa.string()), 3).to_pylist() == [None]


@pytest.mark.parametrize(
    ("text", "blank"),
    [
        ("", True),
        (" \t\r\n\u3000\u00a0\u2028\x85", True),
        ("\u200b\u200d\ufeff\u00ad\u2060\u200f", True),  # zero width
        ("\x00\x1b\ue000", True),
        ("\u115f\u3164\uffa0\u2800", True),  # fillers
        ("\ufe0f\u034f\U000e0100", True),  # variation selectors without a base
        ("\ufffd \ufffd", True),  # all that was left could not be decoded
        ("\u200ba", False),
        ("!", False),
        ("好", False),
        ("👍🏽", False),
        ("\ufffda", False),
        ("❤\ufe0f", False),
    ],
)
def test_a_blank_text_shows_nothing(text, blank):
    assert _told(texts.is_blank, text) == [blank]


def test_control_characters_are_neither_nul_nor_white_space():
    found = [c for c in EVERY_CHARACTER if unicodedata.category(c) == "Cc"]
    expected = [c for c in found if c != "\x00" and not c.isspace()]

    told = _told(texts.has_control, *EVERY_CHARACTER)
    assert [c for c, t in zip(EVERY_CHARACTER, told, strict=True) if t] == expected
    assert len(expected) == 54
    assert _told(texts.without_control, "a\x1bb\x00\tc\x9f") == ["ab\x00\tc"]
    assert _told(texts.has_nul, "a\x00", "a", "\x01") == [True, False, False]
    assert _told(texts.without_nul, "\x00a\x00\x01", "a") == ["a\x01", "a"]


def test_every_character_alone_and_behind_a_letter_is_told_as_python_tells_it():
    for prefix in ("", "e", "\u1100", "\u0b47"):
        # Behind U+12000 nothing composes with a letter before.
        characters = EVERY_CHARACTER[:0x12000] if prefix else EVERY_CHARACTER
        several = [prefix + character for character in characters]
        told = _told(texts.is_not_nfc, *several)
        expected = [not unicodedata.is_normalized("NFC", text) for text in several]
        assert told == expected


@given(several=st.lists(st.none() | COMPOSING, max_size=8))
def test_what_is_not_nfc_is_composed(several):
    told = _told(texts.is_not_nfc, *several)

    for text, wrong in zip(several, told, strict=True):
        expected = None if text is None else unicodedata.normalize("NFC", text) != text
        assert wrong == expected
    assert True not in _told(texts.is_not_nfc, *_told(texts.composed, *several))
    assert _told(texts.composed, "cafe\u0301") == ["café"]


def test_a_shortened_text_ends_with_no_white_space():
    values = pa.array(["日本語です", "ab cd", "👍👍👍👍", "ab"])

    assert texts.shortened(values, 3).to_pylist() == ["日本語", "ab", "👍👍👍", "ab"]
