import pyarrow as pa
import pytest

from reviewbeam.components.common.language_codes import shown_language, shown_languages


@pytest.mark.parametrize("code", ["en", "zh-Hant", "pt_BR", "sr-Latn-RS", None])
def test_codes_are_shown(code):
    assert shown_language(code) == code


@pytest.mark.parametrize(
    "value",
    ["anna@example.org", "+49 170 5550101", "It broke", "a" * 21, "x", "", "en\n"],
)
def test_what_is_no_code_is_other(value):
    assert shown_language(value) == "other"


def test_a_column():
    shown = shown_languages(pa.array(["de", None, "a mail", "de"]).slice(1))
    assert shown.to_pylist() == [None, "other", "de"]
