"""Columns of a corpus -> the one that holds ids, and those that may."""

import unicodedata

import pytest

from reviewbeam.components.ingestion import guess_words as words
from reviewbeam.components.ingestion.guess_ids import guess_id, repeated_ids
from reviewbeam.components.ingestion.guess_profile import profile

ROWS = 40
CODES = [f"K{10001 + i}" for i in range(ROWS)]
NUMBERS = list(range(ROWS))


def profiles(values):
    rows = [
        {n: v for n, v in zip(values, row, strict=True) if v is not None}
        for row in zip(*values.values(), strict=True)
    ]
    return [profile(name, rows) for name in values]


def cycle(*values):
    return [values[i % len(values)] for i in range(ROWS)]


@pytest.mark.parametrize(
    "values, column",
    [
        ({"id": NUMBERS}, "id"),
        ({"review_id": CODES}, "review_id"),
        ({"user_id": NUMBERS, "review_id": NUMBERS}, "review_id"),
        ({"x": CODES, "ref": CODES, "review_no": CODES, "nr": CODES}, "review_no"),
        ({"nr": CODES, "order_id": CODES}, "order_id"),
        ({"nr": CODES, "ref": CODES}, "nr"),  # the first
        ({"id": cycle(1, 2)}, None),
        ({"id": [f"r{i}" if i % 2 else None for i in range(ROWS)]}, None),
        ({"nr": [None, *CODES[1:]]}, None),
        ({"nr": [CODES[1], *CODES[1:]]}, None),
        ({"nr": [f"{code} {code}" for code in CODES]}, None),
        ({"nr": [code * 13 for code in CODES]}, None),
        ({"nr": [f"評論の本文です{i}" for i in range(ROWS)]}, None),
        ({"nr": [i + 0.5 for i in range(ROWS)]}, None),
        ({"nr": [[i] for i in range(ROWS)]}, None),
    ],
)
def test_an_id(values, column):
    assert guess_id(profiles(values)).column == column


@pytest.mark.parametrize(
    "name",
    [
        "nr", "Nr.", "No.", "S.No", "number", "key", "uuid", "guid", "ref", "code",
        "reviewNo", "Bestellnummer", "Bewertungsnr", "ticketid", "numéro", "N° avis",
        "nº", "№", "numero_avis", "numéro de commande", "número", "código", "номер",
        "编号", "番号", "번호", "data.review_no",
    ],
)  # fmt: skip
def test_names_that_sound_like_ids(name):
    assert guess_id(profiles({"n": CODES, name: CODES})).column == name


@pytest.mark.parametrize(
    "name",
    [
        "x", "product_id", "kundennr", "customer_number", "Artikelnummer", "user_key",
        "ticket",
    ],
)  # fmt: skip
def test_names_of_candidates(name):
    choice = guess_id(profiles({name: CODES}))
    assert (choice.column, choice.others) == (None, (name,))
    assert choice.different == {name: 1.0}


def test_candidates_stand_behind_those_that_fit():
    values = {"a": CODES, "nr": CODES, "b": [CODES[1], *CODES[1:]], "id": CODES}
    found = guess_id(profiles(values | {"id_2": cycle(*CODES[:30])}))
    assert found.column == "id"
    assert found.others == ("nr", "a", "id_2")
    assert found.different == {"nr": 1.0, "a": 1.0, "id_2": 0.75}


@pytest.mark.parametrize(
    "name, values",
    [
        ("price", NUMBERS),
        ("num_votes", NUMBERS),
        ("number of words", NUMBERS),
        ("phone_number", NUMBERS),
        ("created", NUMBERS),
        ("x", [f"{i}.99" for i in range(ROWS)]),
        ("code", [f"{i},99" for i in range(ROWS)]),
        ("x", [f"${i}" for i in range(ROWS)]),
        ("x", [f"{i}%" for i in range(ROWS)]),
        ("x", [-i for i in range(1, ROWS + 1)]),
        ("code", [f"2024-{i % 12 + 1:02}-{i // 12 + 1:02}" for i in range(ROWS)]),
        ("x", [f"{i // 12 + 1}.{i % 12 + 1}.2024" for i in range(ROWS)]),
        ("x", [f"2024-05-01T10:{i:02}:00Z" for i in range(ROWS)]),
        ("nr", [f"2024{i % 12 + 1:02}{i // 12 + 1:02}" for i in range(ROWS)]),
        ("x", [1700000000 + i for i in range(ROWS)]),
        ("x", [f"{1700000000000 + i}" for i in range(ROWS)]),
        ("x", [f"A{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(ROWS)]),
        ("x", cycle("K1", "K2")),
        ("x", cycle(True, False)),
    ],
)
def test_what_is_no_id_and_no_candidate(name, values):
    choice = guess_id(profiles({name: values}))
    assert (choice.column, choice.others) == (None, ())


def test_numbers_of_ten_digits_are_ids_where_the_name_says_so():
    values = [1700000000 + i for i in range(ROWS)]
    assert guess_id(profiles({"order_no": values})).column == "order_no"


def test_few_ids_may_repeat_and_are_counted():
    ids = [f"r{i}" for i in range(200)] + ["r1", "r2", "r2"]
    (found,) = [profile("id", [{"id": value} for value in ids])]
    assert guess_id([found]).column == "id"
    assert repeated_ids(found) == (2, 200)
    assert repeated_ids(profile("id", [{"id": [1]}, {"id": [1]}])) == (1, 1)


def test_words_stand_as_names_are_read():
    every = words.ID | words.NUMBER | words.NO_ID | words.GROUP | words.TEXT
    assert [w for w in every if unicodedata.normalize("NFKC", w.lower()) != w] == []
