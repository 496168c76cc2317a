import hashlib
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common.prepare_config import SplitRules
from reviewbeam.components.examples.keys import (
    KEY_TYPE,
    SPLITS,
    key_numbers,
    normalized_text,
    split_of,
    text_keys,
)

KEYS = [hashlib.blake2b(b"%d" % i, digest_size=16).digest() for i in range(20_000)]


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


def test_keys_are_hashes_of_the_normalised_text():
    keys = text_keys(pa.array([" Gut \n", "gut", "schlecht"]))

    assert keys.type == KEY_TYPE
    expected = hashlib.blake2b(b"gut", digest_size=16).digest()
    assert keys.to_pylist()[:2] == [expected, expected]
    assert keys[2].as_py() != expected


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=20))
def test_key_numbers_sort_as_the_bytes_do(keys):
    numbers = key_numbers(pa.array(keys, KEY_TYPE))

    assert numbers.shape == (len(keys), 2)
    assert numbers.dtype == np.uint64
    by_number = sorted(range(len(keys)), key=lambda row: tuple(numbers[row]))
    assert [keys[row] for row in by_number] == sorted(keys)


def test_shares_are_about_right():
    rules = SplitRules(validation=0.15, test=0.25)
    counts = Counter(split_of(key, rules) for key in KEYS)

    assert set(counts) == set(SPLITS)
    # Three standard deviations of 20,000 draws are at most 0.011.
    assert counts["test"] / 20_000 == pytest.approx(0.25, abs=0.011)
    assert counts["validation"] / 20_000 == pytest.approx(0.15, abs=0.011)


def test_a_text_in_test_stays_there_when_validation_changes():
    small, large = (SplitRules(validation=v, test=0.1) for v in (0.1, 0.4))
    moves = Counter((split_of(k, small), split_of(k, large)) for k in KEYS[:5000])

    assert set(moves) == {
        ("test", "test"),
        ("validation", "validation"),
        ("train", "validation"),
        ("train", "train"),
    }


def test_a_larger_test_share_keeps_what_was_in_test():
    small, large = (SplitRules(validation=0.1, test=t) for t in (0.1, 0.2))

    for key in KEYS[:5000]:
        if split_of(key, small) == "test":
            assert split_of(key, large) == "test"


def test_another_salt_is_another_division():
    first, second = (SplitRules(salt=salt, test=0.5) for salt in ("a", "b"))
    same = sum(split_of(k, first) == split_of(k, second) for k in KEYS[:2000])

    assert same / 2000 == pytest.approx(0.5**2 + 0.4**2 + 0.1**2, abs=0.05)


def test_shares_of_nothing():
    rules = SplitRules(validation=0, test=0)

    assert {split_of(key, rules) for key in KEYS[:200]} == {"train"}


def test_the_division_is_the_same_everywhere():
    splits = [split_of(b"%d" % i, SplitRules()) for i in range(40)]
    places = {name: [i for i, s in enumerate(splits) if s == name] for name in SPLITS}

    # Texts that were once in test hang on these.
    assert places["test"] == [7, 11, 19, 32]
    assert places["validation"] == [0, 3, 6, 16, 24, 31, 34]
