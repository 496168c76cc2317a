"""Every action of every rule, from a line of a file to what became of it."""

import dataclasses
import hashlib
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common.corpus_config import (
    CorpusConfig,
    RecordRules,
    RuleActions,
)
from reviewbeam.components.common.prepare_config import LabelRules, SplitRules
from reviewbeam.components.ingestion.files import find_files, slice_file
from reviewbeam.components.ingestion.read import SliceReader
from reviewbeam.components.validation.rules import ReviewRules
from tests.components.validation.rows import as_read

DONE = {"reject": "rejected", "repair": "repaired", "allow": "allowed"}
ELSEWHERE = {"id_repeated"}  # what no row shows by itself
GIVEN = {"text": "gut so", "id": "r1", "language": "de"}
DERIVED = hashlib.sha256(b'{"language":"de","text":"gut so"}').hexdigest()[:20]


@dataclasses.dataclass
class Case:
    """A line that breaks one rule; what comes out of it when it isn't rejected."""

    line: bytes
    repair: dict = dataclasses.field(default_factory=dict)
    allow: dict = dataclasses.field(default_factory=dict)
    also: tuple = ()  # other outcomes of the repaired row


def _line(**changes):
    values = {"text": b'"gut so"', "id": b'"r1"', "language": b'"de"'} | changes
    pairs = [b'"%s": %s' % (k.encode(), v) for k, v in values.items() if v]
    return b"{" + b", ".join(pairs) + b"}"


CASES = {
    "text_wrong_type": Case(_line(text=b"1234.5"), repair={"text": "1234.5"}),
    "text_too_short": Case(_line(text=b'" ab "'), allow={"text": "ab"}),
    "text_too_long": Case(
        _line(text=b'"1234567 90"'),
        repair={"text": "1234567"},
        allow={"text": "1234567 90"},
    ),
    "invalid_utf8": Case(_line(text=b'"caf\xe9!"'), repair={"text": "caf\ufffd!"}),
    "lone_surrogates": Case(
        _line(text=rb'"ab \ud83d!"'), repair={"text": "ab \ufffd!"}
    ),
    "nul_characters": Case(
        _line(text=rb'"a\u0000bc"'), repair={"text": "abc"}, allow={"text": "a\x00bc"}
    ),
    "control_characters": Case(
        _line(text=rb'"a\u001b\tbc\u0085\u009fd"'),
        repair={"text": "a\tbc\x85d"},
        allow={"text": "a\x1b\tbc\x85\x9fd"},
    ),
    "not_nfc": Case(
        _line(text='"cafe\u0301 \u212b"'.encode()),
        repair={"text": "café Å"},
        allow={"text": "cafe\u0301 \u212b"},
    ),
    "language_wrong_type": Case(
        _line(language=b"33"),
        repair={"language": None},
        also=("allowed.language_missing",),
    ),
    "language_missing": Case(_line(language=b'" "'), allow={"language": None}),
    "language_not_allowed": Case(_line(language=b'"en"'), allow={"language": "en"}),
    "id_wrong_type": Case(
        _line(id=b'["r1"]'),
        repair={"id": DERIVED},
        also=("repaired.id_missing",),
    ),
    "id_missing": Case(_line(id=None), repair={"id": DERIVED}),
}
POSSIBLE = {
    rule: [
        action
        for choice in (get_args(field.annotation) or ())
        for action in (get_args(choice) or (choice,))
        if action in DONE
    ]
    for rule, field in RuleActions.model_fields.items()
}


def _apply(path, line, **actions):
    path.write_bytes(line + b"\n")
    config = CorpusConfig(
        input=(str(path),),
        columns={"text": "text", "language": "language", "id": "id"},
        rules={
            "min_characters": 3,
            "max_characters": 8,
            "languages": ["de"],
            "actions": {"language_missing": "allow"} | actions,
        },
    )
    (file,) = find_files(config)
    (piece,) = slice_file(file, config.slice_bytes)
    (batch,) = SliceReader(piece, config, 100).batches()
    return ReviewRules(config.rules).apply(batch)


def test_every_rule_with_actions_is_tried():
    assert set(CASES) == set(POSSIBLE) - ELSEWHERE
    assert all(2 <= len(actions) <= 3 for actions in POSSIBLE.values())
    for rule, case in CASES.items():
        mended = {name for name in ("repair", "allow") if getattr(case, name)}
        assert mended == set(POSSIBLE[rule]) - {"reject"}


@pytest.mark.parametrize(
    ("rule", "action"),
    [(rule, action) for rule in CASES for action in POSSIBLE[rule]],
)
def test_each_action_of_each_rule(tmp_path, rule, action):
    case = CASES[rule]
    checked = _apply(tmp_path / "a.jsonl", case.line, **{rule: action})

    outcomes = {f"{DONE[action]}.{rule}": 1}
    if action == "reject":
        assert checked.reviews.num_rows == 0
        (reject,) = checked.rejects.to_pylist()
        assert (reject["rule"], reject["raw"]) == (rule, case.line)
    else:
        assert checked.rejects.num_rows == 0
        (review,) = checked.reviews.to_pylist()
        expected = GIVEN | getattr(case, action)
        assert {name: review[name] for name in GIVEN} == expected
        outcomes |= dict.fromkeys(case.also, 1)
    assert checked.outcomes() == outcomes


def test_a_missing_language_is_missed_where_languages_are_listed():
    assert RecordRules().action("language_missing") == "allow"
    assert RecordRules(languages=("de",)).action("language_missing") == "reject"
    for action in ("allow", "reject"):
        for languages in (None, ("de",)):
            rules = RecordRules(
                languages=languages, actions={"language_missing": action}
            )
            assert rules.action("language_missing") == action


def test_a_rule_without_actions_rejects():
    for rule in ("text_missing", "label_unknown", "malformed_json", "of the future"):
        assert RecordRules().action(rule) == "reject"


# === Properties ===

TEXT = st.text(max_size=6) | st.sampled_from(
    ["gut so", " ab ", "a\x00b", "\x01abc", "e\u0301", "\u200b", "x" * 20, "\u200b" * 9]
)
VALUES = st.none() | st.sampled_from(["", "de", "en", "1", "9", "?", "a b"])
USABLE = {
    **{"text": "gut so", "id": "r1", "label": "1", "language": "de"},
    **{"time": "2024-05-01T00:00:00", "given_split": "train"},
    **dict.fromkeys(["group", "keep.shop", "problem", "repairs", "raw"]),
}
OTHER_VALUES = {
    "text": st.none() | TEXT,
    **dict.fromkeys(["id", "language", "group", "time", "keep.shop"], VALUES),
    "label": VALUES | st.sampled_from(["\x1f1", "\x1f1\x1f?", "\x1f2\x1f1"]),
    "given_split": st.sampled_from([None, "", "?"]),
    "problem": st.just("malformed_json"),
    "repairs": st.just("text_wrong_type,invalid_utf8"),
    "raw": st.binary(max_size=5),
}
# Most values are good ones, so that no rule hides the others.
ROWS = st.lists(
    st.builds(
        lambda values, names: USABLE | {name: values[name] for name in names},
        st.fixed_dictionaries(OTHER_VALUES),
        st.sets(st.sampled_from(list(OTHER_VALUES)), max_size=3),
    ),
    max_size=12,
)
RECORDS = st.builds(
    RecordRules,
    min_characters=st.integers(1, 3),
    max_characters=st.integers(5, 8),
    languages=st.none() | st.just(("de", "fr")),
    actions=st.fixed_dictionaries(
        {rule: st.sampled_from(actions) for rule, actions in POSSIBLE.items()}
    ),
)
RULES = st.builds(
    ReviewRules,
    records=RECORDS,
    labels=st.none()
    | st.sampled_from(["binary", "multilabel", "ordinal"]).map(
        lambda kind: LabelRules(type=kind, names=("1", "2"))
    ),
    split=st.none()
    | st.just(SplitRules(column="s"))
    | st.just(SplitRules(time_column="t", test_days=1)),
    excluded_ids=st.sampled_from([(), ("r1",), ("1", "de", "?", "a b")]).map(frozenset),
    keep_raw=st.booleans(),
)


@given(rows=ROWS, rules=RULES)
def test_every_row_has_one_fate(rows, rules):
    checked = rules.apply(as_read(rows, keep=("shop",)))

    reviewed = checked.reviews.column("row").to_pylist()
    rejected = checked.rejects.column("row").to_pylist()
    out = [i for i, row in enumerate(rows, 1) if row["id"] in rules.excluded_ids]
    assert checked.excluded == len(out)
    assert sorted(reviewed + rejected + out) == list(range(1, len(rows) + 1))
    assert reviewed == sorted(reviewed) and rejected == sorted(rejected)
    assert sum(checked.rejected().values()) == len(rejected)
    for reject in checked.rejects.to_pylist():
        row = rows[reject["row"] - 1]
        assert row["problem"] in (None, reject["rule"])
        if not rules.keep_raw:
            assert reject["raw"] is None and reject["value"] is None
        elif rules.excluded_ids and row["id"] is None:  # it may be one of these
            assert reject["raw"] is None
        else:
            assert reject["raw"] == row["raw"] or row["raw"] is None
            assert reject["raw"] is not None


@given(rows=ROWS, rules=RULES)
def test_a_rule_has_the_outcome_of_its_action(rows, rules):
    checked = rules.apply(as_read(rows, keep=("shop",)))

    of_the_reader = {"malformed_json", "text_wrong_type", "invalid_utf8"}
    for outcome, count in checked.outcomes().items():
        done, rule = outcome.split(".")
        if rule in of_the_reader or done == "left_out":
            continue
        assert done == DONE[rules.records.action(rule)]
        most = checked.rejects if done == "rejected" else checked.reviews
        assert 1 <= count <= most.num_rows


@given(rows=ROWS, rules=RULES)
def test_a_review_keeps_the_rules(rows, rules):
    records, reviews = rules.records, rules.apply(as_read(rows, ("shop",))).reviews

    for review in reviews.to_pylist():
        row, text = rows[review["row"] - 1], review["text"]
        assert text == text.strip() and text
        if records.action("text_too_short") == "reject":
            assert len(text) >= records.min_characters
        if records.action("text_too_long") != "allow":
            assert len(text) <= records.max_characters
        if records.action("nul_characters") != "allow":
            assert "\x00" not in text
        assert review["id"] == row["id"] or len(review["id"]) == 20
        assert review["language"] == row["language"]
        if records.languages and records.action("language_not_allowed") == "reject":
            assert review["language"] in ("de", "fr", None)
        if rules.labels and rules.labels.type != "multilabel":
            assert review["label_index"] == int(row["label"]) - 1
        if rules.split:
            needed = "given_split" if rules.split.column else "time"
            assert row[needed] is not None


@given(rows=ROWS, rules=RULES, data=st.data())
def test_a_row_is_judged_alike_in_any_batch(rows, rules, data):
    cut = data.draw(st.integers(0, len(rows)))
    batch = as_read(rows, keep=("shop",))
    whole, *parts = map(rules.apply, (batch, batch.slice(0, cut), batch.slice(cut)))

    for name in ("reviews", "rejects"):
        several = [getattr(part, name).to_pylist() for part in parts]
        assert getattr(whole, name).to_pylist() == sum(several, [])
    assert whole.outcomes() == parts[0].outcomes() + parts[1].outcomes()


@given(text=st.text(max_size=6))
def test_a_text_with_a_letter_or_digit_is_not_empty(text):
    checked = ReviewRules(RecordRules()).apply(as_read([{"text": text}]))
    rejected = checked.rejected()

    fillers = set("\u115f\u1160\u3164\uffa0")  # letters to Unicode
    if any(character.isalnum() for character in set(text) - fillers):
        assert rejected == {}
    if not text or text.isspace():
        assert rejected == {"text_empty": 1}
    assert rejected in ({}, {"text_empty": 1})
