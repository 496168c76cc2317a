"""Columns of a corpus -> the roles that they have."""

import pytest

from reviewbeam.components.ingestion import guess_columns as columns
from reviewbeam.components.ingestion.guess_profile import profile

PROSE = [f"It came late and number {i} was broken, again" for i in range(40)]


def profiles(**values):
    names = list(values)
    rows = [
        {n: v for n, v in zip(names, row, strict=True) if v is not None}
        for row in zip(*values.values(), strict=True)
    ]
    return [profile(name, rows) for name in names]


def cycle(*values, rows=40):
    return [values[i % len(values)] for i in range(rows)]


@pytest.mark.parametrize(
    "values, column, sure",
    [
        ({"text": PROSE, "n": list(range(40))}, "text", "sure"),
        ({"x": PROSE}, "x", "sure"),
        ({"title": [f"Great {i} things" for i in range(40)], "x": PROSE}, "x", "sure"),
        (
            {"reviewText": [f"So so {i}" for i in range(40)], "y": PROSE},
            "reviewText",
            "sure",
        ),
        ({"commentaire": PROSE, "titre": PROSE}, "commentaire", "sure"),
        ({"본문": PROSE, "설명": PROSE}, "본문", "sure"),
        ({"a": PROSE, "b": PROSE}, "a", "unsure"),
        ({"x": [f"とても良い商品です{i}" for i in range(40)]}, "x", "likely"),
        ({"text": cycle("same old words", "other words")}, None, "sure"),
        ({"link": [f"https://a.example/{i}" for i in range(40)]}, None, "sure"),
        ({"text": [f"id-{i}" for i in range(40)]}, None, "sure"),
        ({"text": list(range(40))}, None, "sure"),
    ],
)
def test_text(values, column, sure):
    choice = columns.guess_text(profiles(**values))
    assert (choice.column, choice.sure) == (column, sure)


@pytest.mark.parametrize(
    "values, column",
    [
        ({"label": cycle("a", "b")}, "label"),
        ({"product": cycle("a", "b"), "stars": cycle(1, 5, 3)}, "stars"),
        ({"x": cycle("positive", "negative")}, "x"),
        ({"x": cycle("lamp", "chair")}, None),
        ({"score": cycle(1, 2), "sentiment": cycle("good", "bad")}, "sentiment"),
        ({"helpful_votes": cycle(1, 2), "rating": cycle(1, 5)}, "rating"),
        ({"average_rating": cycle(1, 5)}, None),
        ({"label": cycle("a", "a")}, None),
    ],
)
def test_label(values, column):
    choice, guess = columns.guess_label(profiles(**values))
    assert choice.column == column
    assert (guess is None) == (column is None)


def test_labels_that_no_name_tells_are_candidates():
    choice, _ = columns.guess_label(profiles(x=cycle("lamp", "chair"), y=PROSE))
    assert choice.others == ("x",)


@pytest.mark.parametrize(
    "values, column",
    [
        ({"language": cycle("en", "fr")}, "language"),
        ({"x": cycle("en", "pt-BR", "zh_CN")}, "x"),
        ({"lang": cycle("English", "French")}, "lang"),
        ({"country": cycle("US", "GB")}, None),
        ({"stars": cycle(1, 2)}, None),
        ({"size": cycle("xl", "xs")}, None),
    ],
)
def test_language(values, column):
    assert columns.guess_language(profiles(**values)).column == column


@pytest.mark.parametrize(
    "values, column",
    [
        ({"id": list(range(40))}, "id"),
        ({"product_id": [f"p{i}" for i in range(40)]}, None),
        ({"review_id": [f"r{i}" for i in range(40)]}, "review_id"),
        ({"user_id": list(range(40)), "review_id": list(range(40))}, "review_id"),
        ({"id": cycle(1, 2)}, None),
        ({"id": [f"r{i}" if i % 2 else None for i in range(40)]}, None),
        ({"number": list(range(40))}, None),
    ],
)
def test_id(values, column):
    assert columns.guess_id(profiles(**values)).column == column


def test_group_time_and_split():
    many = cycle(*(f"p{i}" for i in range(12)))
    found = profiles(
        product_id=many,
        date=cycle("2024-01-02", "2023-12-31T10:00:00"),
        day=cycle("2024-01-02", "tomorrow"),
        split=cycle("train", "test", "dev"),
    )
    assert columns.guess_group(found).column == "product_id"
    assert columns.guess_time(found).column == "date"
    assert columns.guess_split(found).column == "split"
    assert columns.guess_split(profiles(split=cycle("a", "b"))).column is None
    assert columns.guess_split(profiles(split=cycle("train", "dev"))).column is None


def test_values_without_a_hash_have_no_role():
    found = profiles(id=cycle([1], [2]), product=cycle({"a": 1}, {"b": 2}))
    assert columns.guess_id(found).column is None
    assert columns.guess_group(found).column is None
    assert columns.guess_language(found).column is None
