import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common.text_hashes import normalized_text
from reviewbeam.components.examples.keys import (
    KEY_TYPE,
    hashed,
    key_numbers,
    share_of,
    text_keys,
)


@pytest.mark.parametrize(
    "variant",
    [
        "Straße 1 – ﬁne",
        "STRASSE 1 – FINE",
        "  strasse\t1\n – \u3000fine ",
        "ｓｔｒａｓｓｅ\u00a01 – fine",
    ],
)
def test_variants_of_one_text(variant):
    assert normalized_text(variant) == "strasse 1 – fine"


def test_accents_and_punctuation_make_other_texts():
    texts = ["gut", "gut!", "güt", "g ut", ""]

    assert len({normalized_text(text) for text in texts}) == 5


@given(st.text(max_size=10))
def test_normalising_twice_is_normalising_once(text):
    once = normalized_text(text)

    assert normalized_text(f" {once}\n") == once


@given(st.text(st.characters(max_codepoint=127), max_size=10))
def test_ascii_is_normalised_as_all_else_is(text):
    assert normalized_text(f"{text} é") == f"{normalized_text(text)} é".strip()


@pytest.mark.parametrize("blank", ["", " ", "\u3000", "\x1c\x1f", "\u2028\u00a0"])
def test_white_space_alone_is_an_empty_text(blank):
    assert normalized_text(blank) == ""
    assert text_keys(pa.array([blank])) == text_keys(pa.array([""]))


def test_keys_are_hashes_of_the_normalised_text():
    keys = text_keys(pa.array([" Gut \n", "gut", "schlecht"]))

    assert keys.type == KEY_TYPE
    expected = hashlib.blake2b(b"gut", digest_size=16).digest()
    assert keys.to_pylist()[:2] == [expected, expected]
    assert keys[2].as_py() != expected


def test_keys_are_the_same_everywhere():
    keys = text_keys(pa.array(["GREAT!", "とても良い", "ﬁne  Straße"]))

    # Texts that were once in test hang on these.
    assert [key.hex() for key in keys.to_pylist()] == [
        "b07a8acf17c425fc64d5fef4ede2b890",
        "b63854ec9e3adc2caff8ea4c753765e7",
        "fe4f722f1a3acaf15b3b48db012533fc",
    ]


def test_a_null_has_no_hash():
    keys = hashed(["gut", None, ""])

    assert keys.type == KEY_TYPE
    assert keys.to_pylist() == [
        hashlib.blake2b(b"gut", digest_size=16).digest(),
        None,
        hashlib.blake2b(b"", digest_size=16).digest(),
    ]


@given(
    st.lists(st.binary(min_size=16, max_size=16), max_size=20),
    st.integers(0, 20),
)
def test_key_numbers_sort_as_the_bytes_do(keys, start):
    numbers = key_numbers(pa.array(keys, KEY_TYPE))

    assert numbers.shape == (len(keys), 2)
    assert numbers.dtype == np.uint64
    by_number = sorted(range(len(keys)), key=lambda row: tuple(numbers[row]))
    assert [keys[row] for row in by_number] == sorted(keys)
    sliced = key_numbers(pa.array(keys, KEY_TYPE).slice(start))
    assert sliced.tolist() == numbers[start:].tolist()


def test_key_numbers_are_the_bytes_from_the_highest_on():
    (key,) = key_numbers(pa.array([bytes(range(1, 17))], KEY_TYPE)).tolist()

    assert key == [0x0102030405060708, 0x090A0B0C0D0E0F10]


@given(st.binary(max_size=40), st.text(max_size=5))
def test_a_share_is_a_fraction(value, salt):
    assert 0 <= share_of(value, salt) < 1


def test_shares_are_the_same_everywhere():
    assert share_of(b"7", "reviewbeam") == 0.0021852341844465486
    assert share_of(b"7", "other") != share_of(b"7", "reviewbeam")
