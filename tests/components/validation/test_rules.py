import hashlib

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common.columns import REJECTS, review_schema
from reviewbeam.components.common.corpus_config import RecordRules
from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.validation.rules import (
    ReviewRules,
    class_indices,
    count_labels,
    count_rules,
)

LABELS = LabelRules(
    type="multiclass",
    names=("negative", "neutral", "positive"),
    mapping={"1": "negative", "3": "neutral", "5": "positive"},
)
RULES = ReviewRules(
    RecordRules(min_characters=3, max_characters=8, languages=("de", "fr")), LABELS
)
GOOD = {"text": "gut so", "id": "r1", "label": "5", "language": "de"}


def _batch(rows, keep=()):
    """Rows as the reader gives them; what a row doesn't say is null."""
    schema = review_schema(keep)
    origin = {"file": "a.jsonl", "slice": 2, "byte_offset": 0, "raw": b"{}"}
    columns = [
        pa.array(
            [
                (origin | {"row": i} | row).get(field.name)
                for i, row in enumerate(rows, 1)
            ],
            field.type,
        )
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _rule(rules, **changes):
    """The rule that one row breaks, or None."""
    reviews, rejects = rules.apply(_batch([GOOD | changes]))
    assert reviews.num_rows + rejects.num_rows == 1
    return rejects.column("rule")[0].as_py() if rejects.num_rows else None


# === Rules ===


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, None),
        ({"text": None}, "text_missing"),
        ({"text": ""}, "text_empty"),
        ({"text": " \t\u3000\n"}, "text_empty"),
        ({"text": "\u200b\u200d\ufeff\x00\ue000\u00ad"}, "text_empty"),  # nothing shows
        ({"text": "ok"}, "text_too_short"),
        ({"text": "  ok  "}, "text_too_short"),  # counted when trimmed
        ({"text": "日本語"}, None),  # characters, not bytes
        ({"text": "👍👍👍"}, None),
        ({"text": "12345678"}, None),
        ({"text": "\u30001234 678 "}, None),
        ({"text": "123456789"}, "text_too_long"),
        ({"language": None}, "language_missing"),
        ({"language": "en"}, "language_not_allowed"),
        ({"language": "DE"}, "language_not_allowed"),
        ({"language": ""}, "language_not_allowed"),
        ({"label": None}, "label_missing"),
        ({"label": ""}, "label_missing"),
        ({"label": "2"}, "label_unknown"),
        ({"label": "positive"}, "label_unknown"),  # with a mapping, only its values
        ({"problem": "malformed_json", "text": None}, "malformed_json"),
        ({"problem": "label_wrong_type", "label": None}, "label_wrong_type"),
    ],
)
def test_each_rule(changes, rule):
    assert _rule(RULES, **changes) == rule


def test_rules_have_an_order():
    row = {"problem": "id_wrong_type", "text": "", "language": "en", "label": "9"}
    order = [_rule(RULES, **row)]
    for repair in (
        {"problem": None},
        {"text": "ok"},
        {"text": "gut"},
        {"language": "de"},
    ):
        row |= repair
        order.append(_rule(RULES, **row))

    assert order == [
        "id_wrong_type",
        "text_empty",
        "text_too_short",
        "language_not_allowed",
        "label_unknown",
    ]


def test_without_label_rules_labels_are_left_alone():
    rules = ReviewRules(RecordRules())
    reviews, rejects = rules.apply(
        _batch([GOOD | {"label": "?"}, GOOD | {"label": None}])
    )

    assert rejects.num_rows == 0
    assert reviews.column("label").to_pylist() == ["?", None]
    assert "label_index" not in reviews.schema.names


def test_without_a_list_of_languages_all_are_welcome():
    rules = ReviewRules(RecordRules(), LABELS)

    assert _rule(rules, language=None) is None
    assert _rule(rules, language="tlh") is None


def test_class_indices():
    labels = pa.array(["5", None, "1", "", "3", "5 "])

    indices = class_indices(labels, LABELS)
    assert indices.type == pa.int32()
    assert indices.to_pylist() == [2, None, 0, None, 1, None]
    plain = LabelRules(type="binary", names=("no", "yes"))
    assert class_indices(pa.array(["yes", "no", "1"]), plain).to_pylist() == [
        1,
        0,
        None,
    ]


# === What comes out ===


def test_reviews():
    rows = [
        GOOD | {"text": "\u00a0gut so \n", "keep.shop": "s1"},
        GOOD | {"text": None},
        GOOD | {"id": "r3", "label": "1", "group": "g"},
    ]
    reviews, _ = RULES.apply(_batch(rows, keep=("shop",)))

    assert reviews.schema.names == [
        *("file", "slice", "row", "byte_offset"),
        *("text", "id", "label", "language", "group", "keep.shop", "label_index"),
    ]
    assert reviews.to_pylist() == [
        {"file": "a.jsonl", "slice": 2, "row": 1, "byte_offset": 0}
        | {"text": "gut so", "id": "r1", "label": "5", "language": "de"}
        | {"group": None, "keep.shop": "s1", "label_index": 2},
        {"file": "a.jsonl", "slice": 2, "row": 3, "byte_offset": 0}
        | {"text": "gut so", "id": "r3", "label": "1", "language": "de"}
        | {"group": "g", "keep.shop": None, "label_index": 0},
    ]


def test_rejects():
    rows = [
        GOOD,
        GOOD | {"label": "9" * 300, "raw": b"\xff raw", "byte_offset": 77},
        GOOD | {"language": "en", "label": "?"},
        GOOD | {"text": "no"},
    ]
    _, rejects = RULES.apply(_batch(rows))

    assert rejects.schema == REJECTS
    place = {"file": "a.jsonl", "slice": 2, "byte_offset": 0, "raw": b"{}"}
    assert rejects.to_pylist() == [
        place
        | {"row": 2, "rule": "label_unknown", "value": "9" * 200}
        | {"raw": b"\xff raw", "byte_offset": 77},
        place | {"row": 3, "rule": "language_not_allowed", "value": "en"},
        # The text is in the raw record only.
        place | {"row": 4, "rule": "text_too_short", "value": None},
    ]
    assert count_rules(rejects) == {
        "label_unknown": 1,
        "language_not_allowed": 1,
        "text_too_short": 1,
    }


def test_a_reject_without_a_line_keeps_its_values():
    row = GOOD | {"text": " no ", "raw": None, "byte_offset": None, "keep.shop": "é"}
    _, rejects = RULES.apply(_batch([row], keep=("shop",)))

    (reject,) = rejects.to_pylist()
    assert reject["byte_offset"] is None
    assert orjson.loads(reject["raw"]) == GOOD | {
        "text": " no ",
        "group": None,
        "keep.shop": "é",
    }


def test_a_reject_keeps_the_start_of_a_giant_record():
    raw = bytes(range(256)) * 1000
    _, rejects = RULES.apply(_batch([GOOD | {"text": None, "raw": raw}]))

    assert rejects.column("raw").to_pylist() == [raw[: 2**16]]


def test_label_values_are_counted():
    labels = ["5", "1", "5", "2", "2", "", None, "great"]
    rows = [GOOD | {"label": label} for label in labels]
    rows += [GOOD | {"label": "5", "text": None}]  # another rule is broken first

    assert count_labels(*RULES.apply(_batch(rows))) == {
        "5": 2,
        "1": 1,
        "2": 2,
        "great": 1,
    }


def test_free_text_in_the_label_column_does_not_flood_the_counts():
    rows = [GOOD | {"label": f"review {i}"} for i in range(100)]
    rows += [GOOD | {"label": "4"}] * 2
    counts = count_labels(*RULES.apply(_batch(rows)))

    assert len(counts) == 30
    assert counts["4"] == 2  # the commonest are among them


def test_without_label_rules_labels_are_counted_too():
    rules = ReviewRules(RecordRules())
    rows = [GOOD, GOOD | {"label": None}, GOOD | {"label": "?"}]

    assert count_labels(*rules.apply(_batch(rows))) == {"5": 1, "?": 1}


def test_no_rows():
    reviews, rejects = RULES.apply(_batch([]))

    assert (reviews.num_rows, rejects.num_rows) == (0, 0)
    assert rejects.schema == REJECTS
    assert reviews.schema.names[-1] == "label_index"
    assert count_rules(rejects) == {}


# === Ids ===


def _ids(rows, keep=()):
    reviews, _ = ReviewRules(RecordRules()).apply(_batch(rows, keep))
    return reviews.column("id").to_pylist()


def test_given_ids_stay():
    assert _ids([{"text": "a", "id": "r1"}, {"text": "a", "id": " 7 "}]) == [
        "r1",
        " 7 ",
    ]


def test_missing_ids_follow_from_the_content():
    rows = [{"text": "a", "id": ""}, {"text": "a", "id": "r1"}, {"text": "b"}]
    ids = _ids(rows)

    content = b'{"group":null,"id":null,"label":null,"language":null,"text":"b"}'
    assert ids[1:] == ["r1", hashlib.sha256(content).hexdigest()[:20]]
    # Neither the place in the corpus nor the neighbours matter.
    elsewhere = {"text": " b ", "file": "z", "slice": 9, "row": 8, "raw": b"other"}
    assert _ids([elsewhere]) == ids[2:]
    assert _ids([{"text": "b"}, {"text": "b"}]) == [ids[2], ids[2]]


@pytest.mark.parametrize("column", ["text", "label", "language", "group", "keep.shop"])
def test_another_content_has_another_id(column):
    rows = [{"text": "a"}, {"text": "a", column: "b"}]

    first, second = _ids(rows, keep=("shop",))
    assert first != second


# === Properties ===

VALUES = st.none() | st.text(max_size=10) | st.sampled_from(["de", "1", "5", " a b "])


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                **{name: VALUES for name in ("text", "id", "label", "language")},
                "problem": st.sampled_from([None, None, None, "malformed_json"]),
                "raw": st.none() | st.binary(max_size=5),
            }
        ),
        max_size=20,
    )
)
def test_every_row_is_a_review_or_a_reject(rows):
    reviews, rejects = RULES.apply(_batch(rows))

    reviewed = reviews.column("row").to_pylist()
    rejected = rejects.column("row").to_pylist()
    assert sorted(reviewed + rejected) == list(range(1, len(rows) + 1))
    assert reviewed == sorted(reviewed) and rejected == sorted(rejected)
    assert sum(count_rules(rejects).values()) == len(rejected)
    for review in reviews.to_pylist():
        given_row = rows[review["row"] - 1]
        assert review["text"] in given_row["text"]
        assert 3 <= len(review["text"]) <= 8
        assert review["text"] == review["text"].strip()
        assert review["language"] in ("de", "fr")
        assert review["label_index"] == LABELS.class_index()[given_row["label"]]
        assert review["id"] == given_row["id"] or len(review["id"]) == 20
    for reject in rejects.to_pylist():
        given_row = rows[reject["row"] - 1]
        assert reject["raw"] == given_row["raw"] or given_row["raw"] is None
        assert given_row["problem"] is None or reject["rule"] == given_row["problem"]


@given(text=st.text(max_size=6))
def test_a_text_with_a_letter_or_digit_is_not_empty(text):
    rule = _rule(ReviewRules(RecordRules()), text=text)

    if any(character.isalnum() for character in text):
        assert rule is None
    if not text or text.isspace():
        assert rule == "text_empty"
    assert rule in (None, "text_empty")
