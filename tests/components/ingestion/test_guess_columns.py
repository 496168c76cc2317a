"""Columns of a corpus -> the roles that they have."""

import pytest

from reviewbeam.components.ingestion import guess_columns as columns
from reviewbeam.components.ingestion.guess_ids import guess_id
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


@pytest.mark.parametrize(
    "values, column",
    [
        ({"x": PROSE, "n": list(range(40)), "shop": cycle("a", "b")}, "shop"),
        ({"one": cycle("a"), "half": cycle("a", None, None), "shop": cycle(1, 2)},
         "shop"),
        ({"x": PROSE, "n": list(range(40)), "tags": cycle(["a"], ["b"])}, None),
    ],
)  # fmt: skip
def test_a_column_for_slices(values, column):
    assert columns.guess_slice(profiles(**values)) == column


def test_values_without_a_hash_have_no_role():
    found = profiles(id=cycle([1], [2]), product=cycle({"a": 1}, {"b": 2}))
    assert guess_id(found).column is None
    assert columns.guess_group(found).column is None
    assert columns.guess_language(found).column is None


AMAZON = {
    "overall": cycle(5.0, 4.0, 1.0),
    "verified": cycle(True, False),
    "reviewTime": cycle("09 1, 2016", "11 14, 2013"),
    "reviewerID": [f"A{i}" for i in range(40)],
    "asin": cycle(*(f"B0{i}" for i in range(12))),
    "helpful": cycle([0, 1], [2, 2]),
    "reviewerName": [f"Mr {i} Smith" for i in range(40)],
    "reviewText": PROSE,
    "summary": [p[:26] for p in PROSE],
    "unixReviewTime": [1472688000 + i for i in range(40)],
}
AMAZON_MULTI = {
    "review_id": [f"en_{i}" for i in range(40)],
    "product_id": [f"product_{i}" for i in range(40)],
    "reviewer_id": [f"reviewer_{i}" for i in range(40)],
    "stars": cycle(1, 2, 3, 4, 5),
    "review_body": PROSE,
    "review_title": [p[:30] for p in PROSE],
    "language": cycle("en", "de"),
    "product_category": cycle("book", "shoes"),
}
YELP = {
    "review_id": [f"r{i}" for i in range(40)],
    "user_id": [f"u{i}" for i in range(40)],
    "business_id": cycle(*(f"b{i}" for i in range(15))),
    "stars": cycle(1.0, 5.0, 4.0),
    "useful": cycle(0, 1, 2),
    "funny": cycle(0, 1),
    "cool": cycle(0, 1),
    "text": PROSE,
    "date": cycle("2018-07-07 22:09:11", "2012-01-03 15:28:18"),
}
PLAY_STORE = {
    "reviewId": [f"g{i}" for i in range(40)],
    "userName": [f"User {i} Name" for i in range(40)],
    "userImage": [f"https://example.com/{i}" for i in range(40)],
    "content": PROSE,
    "score": cycle(1, 5, 3),
    "thumbsUpCount": cycle(0, 1, 2),
    "reviewCreatedVersion": cycle("1.0", "1.1"),
    "at": cycle("2020-02-26 16:46:34", "2020-02-27 10:00:00"),
    "replyContent": [p if i % 2 else None for i, p in enumerate(PROSE)],
}
TWEETS = {
    "": list(range(40)),
    "target": cycle(0, 4),
    "ids": list(range(1000, 1040)),
    "user": [f"user{i}" for i in range(40)],
    "text": PROSE,
}


@pytest.mark.parametrize(
    "corpus, text, label, language, identity, group, time",
    [
        (AMAZON, "reviewText", "overall", None, None, "asin", "unixReviewTime"),
        (AMAZON_MULTI, "review_body", "stars", "language", "review_id", None, None),
        (YELP, "text", "stars", None, "review_id", "business_id", "date"),
        (PLAY_STORE, "content", "score", None, "reviewId", None, None),
        (TWEETS, "text", "target", None, "ids", None, None),
        ({"review": PROSE, "sentiment": cycle("positive", "negative")},
         "review", "sentiment", None, None, None, None),
        ({"label": cycle(0, 1, 2, 3), "text": PROSE},
         "text", "label", None, None, None, None),
        ({"Bewertung": cycle(1, 5, 3), "Kommentar": PROSE, "Sprache": cycle("de")},
         "Kommentar", "Bewertung", "Sprache", None, None, None),
    ],
    ids=["amazon", "amazon multi", "yelp", "play", "tweets", "imdb", "news", "german"],
)  # fmt: skip
def test_the_columns_of_well_known_corpora(
    corpus, text, label, language, identity, group, time
):
    found = profiles(**corpus)
    assert columns.guess_text(found).column == text
    rest = [p for p in found if p.name != text]
    assert columns.guess_language(rest).column == language
    assert columns.guess_label(rest)[0].column == label
    rest = [p for p in rest if p.name not in (language, label)]
    assert guess_id(rest).column == identity
    assert columns.guess_group(rest).column == group
    assert columns.guess_time(rest).column == time
