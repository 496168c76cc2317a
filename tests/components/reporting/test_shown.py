import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.reporting.shown import (
    count,
    duration,
    figure,
    percent,
    plain,
    shown,
    size,
)
from tests.browser import HOSTILE

ANYTHING = st.text(st.characters(codec=None, exclude_categories=()), max_size=400)


@given(ANYTHING | st.sampled_from(HOSTILE))
def test_what_is_shown_is_short_and_visible(value):
    text = plain(value)
    assert len(text) <= 80
    for character in text:
        # Surrogates are of "Cs"; bidi marks and the like are of "Cf".
        assert unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")
        assert unicodedata.category(character) != "Cf" or character in "\u200c\u200d"


@pytest.mark.parametrize(
    "value, text",
    [
        ("good", "good"),
        (" two \n\t lines ", "two lines"),
        ("a\x00b\x1b", "a␀b␛"),
        ("\u202eevil", "[U+202E]evil"),
        ("\ud800", "[U+D800]"),
        ("e" + "\u0301" * 9, "e" + "\u0301" * 4),
        ("می\u200cخواهم", "می\u200cخواهم"),
        (7, "7"),
        (None, "None"),
        (" \n", "(empty)"),
        ("x" * 81, "x" * 79 + "…"),
        ("x" * 80, "x" * 80),
        (" " * 100_000 + "x", "…"),
    ],
)
def test_plain(value, text):
    assert plain(value) == text


def test_shown_is_escaped_isolated_and_tells_more():
    assert shown("<b>&'\"") == '<bdi dir="auto">&lt;b&gt;&amp;&#39;&#34;</bdi>'
    cut = shown('"' + "x" * 100, 5)
    assert cut.endswith(">&#34;xxx…</bdi>")
    assert 'title="&#34;xxx' in cut
    assert len(shown("w" * 100_000)) < 500


@pytest.mark.parametrize(
    "written, text",
    [
        (count(1234567), "1,234,567"),
        (count(None), "–"),
        (percent(0.1234), "12.3 %"),
        (percent(0), "0.0 %"),
        (percent(1), "100.0 %"),
        (percent(0.00001), "<0.1 %"),
        (percent(0.99999), ">99.9 %"),
        (percent(math.nan), "–"),
        (figure(0.84567), "0.846"),
        (figure(math.inf), "–"),
        (duration(0.27), "0.3 s"),
        (duration(59.9), "1 min 00 s"),
        (duration(3599), "59 min 59 s"),
        (duration(36000), "10 h 00 min"),
        (size(999), "999 bytes"),
        (size(1_500_000), "1.5 MB"),
        (size(5e15), "5,000.0 TB"),
    ],
)
def test_numbers(written, text):
    assert written == text
