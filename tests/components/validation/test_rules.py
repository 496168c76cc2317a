"""Which rule a row breaks, and what becomes of it."""

import pytest

from reviewbeam.components.common.corpus_config import RecordRules
from reviewbeam.components.common.prepare_config import LabelRules, SplitRules
from reviewbeam.components.validation.rules import ReviewRules
from tests.components.validation.rows import GOOD, as_read, broken_rule

LABELS = LabelRules(
    type="multiclass",
    names=("negative", "neutral", "positive"),
    mapping={"1": "negative", "3": "neutral", "5": "positive"},
)
RULES = ReviewRules(
    RecordRules(min_characters=3, max_characters=8, languages=("de", "fr")), LABELS
)


def _texts(rows, **actions):
    """The texts that come out, and what became of the rows."""
    rules = RecordRules(min_characters=2, max_characters=8, actions=actions)
    checked = ReviewRules(rules).apply(as_read([GOOD | row for row in rows]))
    return checked.reviews.column("text").to_pylist(), checked.outcomes()


# === Rules that reject ===


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, None),
        ({"text": None}, "text_missing"),
        ({"text": ""}, "text_empty"),
        ({"text": " \t\u3000\n"}, "text_empty"),
        ({"text": "\u200b\u200d\ufeff\x00\ue000\u00ad"}, "text_empty"),  # nothing shows
        ({"text": "\x00\x01"}, "text_empty"),  # nothing is left
        ({"text": "\ufffd\ufffd\ufffd"}, "text_empty"),  # nothing could be decoded
        ({"text": "ok"}, "text_too_short"),
        ({"text": "  ok  "}, "text_too_short"),  # counted when trimmed
        ({"text": "o\x00\x00k"}, "text_too_short"),  # and mended
        ({"text": "日本語"}, None),  # characters, not bytes
        ({"text": "👍👍👍"}, None),
        ({"text": "12345678"}, None),
        ({"text": "\u30001234 678 "}, None),
        ({"text": "12345678\x00"}, None),
        ({"text": "123456789"}, "text_too_long"),
        ({"language": None}, "language_missing"),
        ({"language": "en"}, "language_not_allowed"),
        ({"language": "DE"}, "language_not_allowed"),
        ({"language": ""}, "language_not_allowed"),
        ({"label": None}, "label_missing"),
        ({"label": ""}, "label_missing"),
        ({"label": "2"}, "label_unknown"),
        ({"label": "6"}, "label_out_of_range"),
        ({"label": "positive"}, "label_unknown"),  # with a mapping, only its values
        ({"id": None}, None),
        ({"time": None, "given_split": "?"}, None),  # nobody asked for them
        ({"problem": "malformed_json", "text": None}, "malformed_json"),
        ({"problem": "label_wrong_type", "label": None}, "label_wrong_type"),
    ],
)
def test_each_rule(changes, rule):
    assert broken_rule(RULES, **changes) == rule


@pytest.mark.parametrize(
    ("split", "changes", "rule"),
    [
        ({"time_column": "t", "test_days": 1}, {}, "time_missing"),
        ({"time_column": "t", "test_days": 1}, {"time": "2024-05-01T00:00:00"}, None),
        ({"column": "s"}, {}, "split_missing"),
        ({"column": "s"}, {"given_split": ""}, "split_missing"),
        ({"column": "s"}, {"given_split": "holdout"}, "split_unknown"),
        ({"column": "s"}, {"given_split": "Train"}, "split_unknown"),
        ({"column": "s"}, {"given_split": "dev"}, None),
        ({"column": "s", "values": {"1": "train"}}, {"given_split": "1"}, None),
        (
            {"column": "s", "values": {"1": "train"}},
            {"given_split": "train"},
            "split_unknown",
        ),
        ({"group_by": "g"}, {}, None),
    ],
)
def test_what_a_split_needs(split, changes, rule):
    rules = ReviewRules(RecordRules(), split=SplitRules(**split))

    assert broken_rule(rules, **changes) == rule


def test_rules_have_an_order():
    strict = RecordRules(
        min_characters=3,
        max_characters=8,
        languages=("de",),
        actions={
            "nul_characters": "reject",
            "control_characters": "reject",
            "not_nfc": "reject",
            "id_missing": "reject",
        },
    )
    split = SplitRules(time_column="t", test_days=1)
    rules = ReviewRules(strict, LABELS, split)
    row = {"problem": "id_wrong_type", "text": None, "id": None, "label": None}
    row |= {"language": None}
    order = [broken_rule(rules, **row)]
    for repair in (
        {"problem": None},
        {"text": "\x00\x01e\u0301 too long"},
        {"text": "\x01e\u0301 too long"},
        {"text": "e\u0301 too long"},
        {"text": "far too long"},
        {"text": " "},
        {"text": "ok"},
        {"text": "gut"},
        {"language": "en"},
        {"language": "de"},
        {"label": "9"},
        {"label": "2"},
        {"label": "5"},
        {"id": "r1"},
        {"time": "2024-05-01T00:00:00"},
    ):
        row |= repair
        order.append(broken_rule(rules, **row))

    assert order == [
        "id_wrong_type",
        "text_missing",
        "nul_characters",
        "control_characters",
        "not_nfc",
        "text_too_long",
        "text_empty",
        "text_too_short",
        "language_missing",
        "language_not_allowed",
        "label_missing",
        "label_out_of_range",
        "label_unknown",
        "id_missing",
        "time_missing",
        None,
    ]


def test_without_label_rules_labels_are_left_alone():
    rules = ReviewRules(RecordRules())
    checked = rules.apply(as_read([GOOD | {"label": "?"}, GOOD | {"label": None}]))

    assert checked.rejects.num_rows == 0
    assert checked.reviews.column("label").to_pylist() == ["?", None]
    assert "label_index" not in checked.reviews.schema.names


def test_without_a_list_of_languages_all_are_welcome():
    rules = ReviewRules(RecordRules(), LABELS)

    assert broken_rule(rules, language=None) is None
    assert broken_rule(rules, language="tlh") is None


# === Repairs ===


def test_only_texts_that_break_a_rule_are_mended():
    rows = [{"text": text} for text in ("a\x01b", "e\u0301e\u0301", "a\x00b", "cd")]
    texts, outcomes = _texts(rows, not_nfc="repair")

    assert texts == ["ab", "éé", "ab", "cd"]
    assert outcomes == {
        "repaired.control_characters": 1,
        "repaired.not_nfc": 1,
        "repaired.nul_characters": 1,
    }
    # What one rule leaves alone is no business of another one's repair.
    texts, outcomes = _texts(
        [{"text": "a\x00\x01e\u0301"}], nul_characters="allow", not_nfc="repair"
    )
    assert texts == ["a\x00é"]
    assert outcomes == {
        "allowed.nul_characters": 1,
        "repaired.control_characters": 1,
        "repaired.not_nfc": 1,
    }


def test_a_repair_may_bring_another_ones_work():
    # Without the control character the letters would compose.
    texts, outcomes = _texts([{"text": "ae\x01\u0301"}], not_nfc="repair")

    assert texts == ["aé"]
    assert outcomes == {"repaired.control_characters": 1, "repaired.not_nfc": 1}


@pytest.mark.parametrize(
    ("text", "cut", "rule"),
    [
        ("123456789", "12345678", None),
        ("123456 89", "123456 8", None),
        ("1234567 9", "1234567", None),  # trimmed again
        ("1       9", None, "text_too_short"),  # of what is left
        ("\u200b" * 8 + "word", None, "text_empty"),
        ("日本語日本語日本語", "日本語日本語日本", None),
    ],
)
def test_a_cut_text_is_checked_as_any_other(text, cut, rule):
    texts, outcomes = _texts([{"text": text}], text_too_long="repair")

    assert texts == [cut] * (cut is not None)
    expected = f"rejected.{rule}" if rule else "repaired.text_too_long"
    assert outcomes == {expected: 1}


def test_what_a_reject_broke_before_is_not_noted():
    row = {"text": "a\x00\x01e\u0301", "repairs": "invalid_utf8", "label": "?"}
    checked = RULES.apply(as_read([GOOD | row]))

    assert checked.outcomes() == {"rejected.label_unknown": 1}


def test_what_the_reader_mended_is_noted_once_a_row():
    repairs = ["invalid_utf8", "invalid_utf8,text_wrong_type", None, "a,a", ""]
    rows = [GOOD | {"repairs": repair} for repair in repairs[:4]]
    checked = RULES.apply(as_read(rows))

    assert checked.notes == {
        "repaired.invalid_utf8": 2,
        "repaired.text_wrong_type": 1,
        "repaired.a": 1,
    }


# === Languages told from the text ===


GERMAN = "Die Kaffeemaschine brüht schnell und der Kaffee schmeckt wirklich sehr gut"


def _detect(rows, **rules):
    rules = ReviewRules(RecordRules(**rules), detect_language=True)
    return rules.apply(as_read([GOOD | row for row in rows]))


def test_a_missing_language_is_told_from_the_text():
    pytest.importorskip("pycld2")
    rows = [
        {"text": GERMAN, "language": None},
        {"text": GERMAN, "language": "tlh"},  # a given one stays
        {"text": "12 34", "language": None},
        {"text": None, "language": None},
    ]
    checked = _detect(rows)

    assert checked.reviews.column("language").to_pylist() == ["de", "tlh", None]
    assert checked.outcomes() == {
        "repaired.language_missing": 1,
        "allowed.language_missing": 1,
        "rejected.text_missing": 1,
    }


def test_a_told_language_has_to_be_allowed_too():
    pytest.importorskip("pycld2")
    checked = _detect([{"text": GERMAN, "language": None}], languages=("fr",))

    assert checked.outcomes() == {"rejected.language_not_allowed": 1}
    assert checked.rejects.column("value").to_pylist() == ["de"]


def test_an_id_does_not_follow_from_a_language_that_was_told():
    pytest.importorskip("pycld2")
    row = {"text": GERMAN, "language": None, "id": None}
    given = ReviewRules(RecordRules()).apply(as_read([GOOD | row])).reviews

    assert _detect([row]).reviews.column("id").equals(given.column("id"))
