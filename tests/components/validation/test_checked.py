"""What the rules make of a batch: reviews, rejects and ids."""

import hashlib

import orjson
import pyarrow as pa
import pytest

from reviewbeam.components.common.columns import REJECTS
from reviewbeam.components.common.corpus_config import RecordRules
from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.validation.rules import ReviewRules
from tests.components.validation.rows import GOOD, as_read

LABELS = LabelRules(
    type="multiclass",
    names=("negative", "neutral", "positive"),
    mapping={"1": "negative", "3": "neutral", "5": "positive"},
)
RULES = ReviewRules(
    RecordRules(min_characters=3, max_characters=8, languages=("de", "fr")), LABELS
)


# === What comes out ===


def test_reviews():
    rows = [
        GOOD | {"text": "\u00a0gut so \n", "keep.shop": "s1"},
        GOOD | {"text": None},
        GOOD | {"id": "r3", "label": "1", "group": "g"},
    ]
    reviews = RULES.apply(as_read(rows, keep=("shop",))).reviews

    assert reviews.schema.names == [
        *("file", "slice", "row", "byte_offset"),
        *("text", "id", "label", "language", "group", "time", "given_split"),
        *("keep.shop", "label_index"),
    ]
    unused = {"time": None, "given_split": None}
    assert reviews.to_pylist() == [
        {"file": "a.jsonl", "slice": 2, "row": 1, "byte_offset": 0}
        | {"text": "gut so", "id": "r1", "label": "5", "language": "de"}
        | {"group": None, "keep.shop": "s1", "label_index": 2}
        | unused,
        {"file": "a.jsonl", "slice": 2, "row": 3, "byte_offset": 0}
        | {"text": "gut so", "id": "r3", "label": "1", "language": "de"}
        | {"group": "g", "keep.shop": None, "label_index": 0}
        | unused,
    ]
    assert reviews.schema.field("label_index").type == pa.int32()


def test_rejects():
    rows = [
        GOOD,
        GOOD | {"label": "?" * 300, "raw": b"\xff raw", "byte_offset": 77},
        GOOD | {"language": "en", "label": "?"},
        GOOD | {"text": "no"},
        GOOD | {"label": "77"},
    ]
    checked = RULES.apply(as_read(rows))

    assert checked.rejects.schema == REJECTS
    place = {"file": "a.jsonl", "slice": 2, "byte_offset": 0, "raw": b"{}"}
    assert checked.rejects.to_pylist() == [
        place
        | {"row": 2, "rule": "label_unknown", "value": "?" * 200}
        | {"raw": b"\xff raw", "byte_offset": 77},
        place | {"row": 3, "rule": "language_not_allowed", "value": "en"},
        # The text is in the raw record only.
        place | {"row": 4, "rule": "text_too_short", "value": None},
        place | {"row": 5, "rule": "label_out_of_range", "value": "77"},
    ]
    assert checked.rejected() == {
        "label_unknown": 1,
        "language_not_allowed": 1,
        "text_too_short": 1,
        "label_out_of_range": 1,
    }


def test_a_reject_without_a_line_keeps_its_values():
    row = GOOD | {"text": " no ", "raw": None, "byte_offset": None, "keep.shop": "é"}
    rows = [GOOD | {"text": None}, row]
    rejects = RULES.apply(as_read(rows, keep=("shop",))).rejects

    first, reject = rejects.to_pylist()
    assert first["raw"] == b"{}"
    assert reject["byte_offset"] is None
    assert orjson.loads(reject["raw"]) == GOOD | {
        "text": " no ",
        "group": None,
        "time": None,
        "given_split": None,
        "keep.shop": "é",
    }


def test_a_reject_keeps_the_start_of_a_giant_record():
    raw = bytes(range(256)) * 1000
    rejects = RULES.apply(as_read([GOOD | {"text": None, "raw": raw}])).rejects

    assert rejects.column("raw").to_pylist() == [raw[: 2**16]]


def test_rejects_may_keep_nothing_of_their_rows():
    rules = ReviewRules(RULES.records, LABELS, keep_raw=False)
    broken = [{"label": "?"}, {"language": "en"}, {"text": None, "raw": None}]
    rejects = rules.apply(as_read([GOOD | row for row in broken])).rejects

    place = {"file": "a.jsonl", "slice": 2, "byte_offset": 0}
    assert rejects.schema == REJECTS
    assert rejects.to_pylist() == [
        place | {"row": row, "rule": rule, "value": None, "raw": None}
        for row, rule in enumerate(
            ["label_unknown", "language_not_allowed", "text_missing"], 1
        )
    ]


def test_no_rows():
    for keep_raw in (True, False):
        rules = ReviewRules(RULES.records, LABELS, keep_raw=keep_raw)
        checked = rules.apply(as_read([]))
        assert (checked.reviews.num_rows, checked.rejects.num_rows) == (0, 0)
        assert checked.rejects.schema == REJECTS
        assert checked.reviews.schema.names[-1] == "label_index"
        assert checked.rejected() == {}
        assert checked.excluded == 0
        assert checked.outcomes() == {}


# === Ids ===


def _ids(rows, keep=()):
    checked = ReviewRules(RecordRules()).apply(as_read(rows, keep))
    return checked.reviews.column("id").to_pylist()


def test_given_ids_stay():
    assert _ids([{"text": "a", "id": "r1"}, {"text": "a", "id": " 7 "}]) == [
        "r1",
        " 7 ",
    ]


def test_missing_ids_follow_from_the_content():
    rows = [{"text": "a", "id": ""}, {"text": "a", "id": "r1"}, {"text": "b"}]
    ids = _ids(rows)

    # What is not given is no content: more columns in a later version change no id.
    content = b'{"text":"b"}'
    assert ids[1:] == ["r1", hashlib.sha256(content).hexdigest()[:20]]
    # Neither the place in the corpus nor the neighbours matter.
    elsewhere = {"text": " b ", "file": "z", "slice": 9, "row": 8, "raw": b"other"}
    assert _ids([elsewhere]) == ids[2:]
    assert _ids([{"text": "b"}, {"text": "b"}]) == [ids[2], ids[2]]
    several = {"text": "b", "label": "5", "language": "de"}
    content = b'{"label":"5","language":"de","text":"b"}'
    assert _ids([several]) == [hashlib.sha256(content).hexdigest()[:20]]


@pytest.mark.parametrize(
    "column",
    ["text", "label", "language", "group", "time", "given_split", "keep.shop"],
)
def test_another_content_has_another_id(column):
    rows = [{"text": "a"}, {"text": "a", column: "b"}]

    first, second = _ids(rows, keep=("shop",))
    assert first != second
