from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common.columns import with_columns
from reviewbeam.components.common.prepare_config import SplitRules
from reviewbeam.components.examples.keys import KEY_TYPE
from reviewbeam.components.examples.settle import SHOWN_CONFLICTS, settle
from tests.components.examples.reviews import (
    MULTILABEL,
    SCHEMA,
    keyed,
    prepare_config,
    split_by_hash,
)

# So that every split is met often.
HALF = {"validation": 0.3, "test": 0.3, "group_by": "author"}
RULES = SplitRules(**HALF)
BY_TIME = {"time_column": "at", "test_days": 1, "validation": 0}
POLICIES = ["majority", "drop", "keep_all"]


def _settled(rows, on_conflict="majority", split=HALF, latest=None, **settings):
    kind = settings.pop("kind", "multiclass")
    config = prepare_config(
        kind, duplicates={"on_conflict": on_conflict}, split=split, **settings
    )
    schema = MULTILABEL if kind == "multilabel" else SCHEMA
    return settle(keyed(rows, schema), config, latest)


def _settle(rows, *arguments, **settings):
    settled = _settled(rows, *arguments, **settings)
    return settled.examples.to_pylist(), settled.outcomes


def _labelled(text, *labels, **changes):
    return [{"text": text, "label_index": label} | changes for label in labels]


def _group_in(split):
    """Name of a group of a split."""
    names = (f"group {number}" for number in range(1000))
    return next(
        name
        for name in names
        if split_by_hash(b"group:" + name.encode(), RULES) == split
    )


TRAIN, VALIDATION, TEST = map(_group_in, ("train", "validation", "test"))


# === By hand ===


def test_a_review_without_a_copy():
    reviews = keyed([{"text": "Gut!", "label_index": 2}])
    (example,), outcomes = _settle([{"text": "Gut!", "label_index": 2}])

    split = split_by_hash(reviews.column("text_key")[0].as_py(), RULES)
    assert example == reviews.to_pylist()[0] | {"split": split, "count": 1}
    assert outcomes == {("a", f"written.{split}"): 1}


def test_examples_are_ordered_by_split_and_text_key():
    examples, _ = _settle([{"text": f"text {i}"} for i in range(50)])

    places = [
        (["train", "validation", "test"].index(e["split"]), e["text_key"])
        for e in examples
    ]
    assert places == sorted(places)
    assert len(set(places)) == 50
    assert {place for place, _ in places} == {0, 1, 2}


def test_copies_of_a_normalised_text_are_one_example():
    rows = [{"text": text} for text in ("Gut gut", "gut  GUT", "ｇｕｔ gut")]
    (example,), outcomes = _settle([*rows[:2], rows[2] | {"file": "b"}])

    assert example["count"] == 3
    assert outcomes[example["file"], f"written.{example['split']}"] == 1
    assert outcomes.total() == 3
    assert sum(n for (_, fate), n in outcomes.items() if fate == "duplicates") == 2


def test_keys_that_share_their_first_half_are_different_texts():
    keys = [b"12345678" + last for last in (b"abcdefgh", b"ABCDEFGH", b"abcdefgh")]
    batch = with_columns(
        keyed(_labelled("t", 0, 1, 1)), text_key=pa.array(keys, KEY_TYPE)
    )
    settled = settle(batch, prepare_config(), None)

    found = settled.examples.to_pylist()
    assert {e["text_key"]: (e["label_index"], e["count"]) for e in found} == {
        keys[0]: (0, 2),
        keys[1]: (1, 1),
    }


@pytest.mark.parametrize(
    ("labels", "winner"),
    [
        ([1, 1], 1),
        ([0, 2, 2], 2),
        ([2, 0, 2, 0, 1], 0),  # of equals the first class
        ([2, 1], 1),
        ([0, 1, 1, 2, 2, 2], 2),
    ],
)
def test_majority(labels, winner):
    (example,), outcomes = _settle(_labelled("t", *labels))

    assert (example["label_index"], example["count"]) == (winner, len(labels))
    assert outcomes["a", "duplicates"] == len(labels) - 1


def test_drop_leaves_conflicting_labels_out():
    rows = _labelled("t", 0, 1, 1) + _labelled("u", 2, 2)
    (example,), outcomes = _settle(rows, "drop")

    assert (example["text"], example["label_index"], example["count"]) == ("u", 2, 2)
    assert outcomes == {
        ("a", "left_out.label_conflict"): 3,
        ("a", f"written.{example['split']}"): 1,
        ("a", "duplicates"): 1,
    }


def test_keep_all_keeps_one_example_of_each_label():
    examples, outcomes = _settle(_labelled("t", 2, 0, 2, 2), "keep_all")

    assert [(e["label_index"], e["count"]) for e in examples] == [(0, 1), (2, 3)]
    (split,) = {example["split"] for example in examples}
    assert outcomes == {("a", f"written.{split}"): 2, ("a", "duplicates"): 2}


def test_a_group_decides_the_split():
    for group, split in ((TRAIN, "train"), (VALIDATION, "validation"), (TEST, "test")):
        examples, _ = _settle([{"text": f"t{i}", "group": group} for i in range(20)])
        assert {example["split"] for example in examples} == {split}


def test_the_most_reserved_group_has_the_text():
    rows = [{"text": "t", "group": group} for group in (TRAIN, TEST, VALIDATION)]
    (example,), outcomes = _settle(rows)
    assert (example["group"], example["split"], example["count"]) == (TEST, "test", 1)
    assert outcomes == {("a", "written.test"): 1, ("a", "left_out.split_conflict"): 2}

    (example,), _ = _settle([rows[0], rows[2]])
    assert (example["group"], example["split"]) == (VALIDATION, "validation")


def test_labels_of_other_splits_have_no_vote():
    rows = _labelled("t", 2, 2, 2, group=TRAIN) + _labelled("t", 1, group=TEST)
    for policy in POLICIES:
        (example,), outcomes = _settle(rows, policy)
        assert (example["label_index"], example["split"]) == (1, "test")
        assert outcomes["a", "left_out.split_conflict"] == 3


def test_a_later_copy_takes_a_text_out_of_training():
    old, new = "2024-01-01T00:00:00", "2024-03-01T00:00:00"
    rows = _labelled("t", 0, 0, time=old) + _labelled("t", 1, 1, time=new)
    rows += _labelled("u", 2, time=old)
    examples, outcomes = _settle(rows, split=BY_TIME, latest=new)

    assert [
        (e["text"], e["label_index"], e["split"], e["count"]) for e in examples
    ] == [
        ("u", 2, "train", 1),
        ("t", 1, "test", 2),
    ]
    assert outcomes == {
        ("a", "written.train"): 1,
        ("a", "written.test"): 1,
        ("a", "duplicates"): 1,
        ("a", "left_out.split_conflict"): 2,
    }


@pytest.mark.parametrize("policy", POLICIES)
def test_a_test_split_that_is_given_is_taken_as_it_is(policy):
    rows = _labelled("t", 1, 0, 1, given_split="test", file="b")
    rows += _labelled("t", 1, 1, given_split="train")
    rows += _labelled("u", 2, 2, given_split="dev")
    settled = _settled(rows, policy, {"column": "part"})

    validation, *test = settled.examples.to_pylist()
    assert (validation["text"], validation["count"]) == ("u", 2)
    assert validation["split"] == "validation"
    assert {e["row"]: (e["label_index"], e["count"], e["split"]) for e in test} == {
        0: (1, 1, "test"),
        1: (0, 1, "test"),
        2: (1, 1, "test"),
    }
    assert settled.outcomes == {
        ("b", "written.test"): 3,
        ("a", "written.validation"): 1,
        ("a", "duplicates"): 1,
        ("a", "left_out.split_conflict"): 2,
    }
    assert settled.conflicts == 0


def test_keep_all_leaves_out_reviews_of_groups_in_other_splits():
    rows = [
        {"text": "t", "group": TEST, "label_index": 0},
        {"text": "t", "group": TEST, "label_index": 0},
        {"text": "t", "group": TRAIN, "label_index": 1},
        {"text": "t", "group": TRAIN, "label_index": 0},
    ]
    (example,), outcomes = _settle(rows, "keep_all")

    assert (example["group"], example["label_index"], example["count"]) == (TEST, 0, 2)
    assert outcomes == {
        ("a", "written.test"): 1,
        ("a", "left_out.split_conflict"): 2,
        ("a", "duplicates"): 1,
    }


def test_several_labels_are_one_when_all_agree():
    rows = _labelled("t", [0, 2], [0, 2], [1]) + _labelled("u", [], [])
    settled = _settled(rows, kind="multilabel")

    found = {
        e["text"]: (e["label_index"], e["count"]) for e in settled.examples.to_pylist()
    }
    assert found == {"t": ([0, 2], 3), "u": ([], 2)}
    assert settled.conflicts == 1
    assert settled.shown_conflicts[0].labels == {"bad + good": 2, "fair": 1}


def test_no_label_is_a_label_of_its_own():
    rows = _labelled("t", [], [1], [1], [0])
    settled = _settled(rows, "keep_all", kind="multilabel")

    found = [(e["label_index"], e["count"]) for e in settled.examples.to_pylist()]
    assert found == [([], 1), ([0], 1), ([1], 2)]
    (conflict,) = settled.shown_conflicts
    assert conflict.labels == {"none": 1, "bad": 1, "fair": 2}


@pytest.mark.parametrize(
    ("kind", "labels"), [("multiclass", (0, 1)), ("multilabel", ([0], []))]
)
def test_nothing_to_write(kind, labels):
    rows = _labelled("t", *labels)
    schema = _settled(rows[:1], kind=kind).examples.schema
    for some in ([], rows):
        settled = _settled(some, "drop", kind=kind)
        assert settled.examples.num_rows == 0
        assert settled.examples.schema == schema
        assert settled.outcomes == Counter(
            ("a", "left_out.label_conflict") for _ in some
        )


# === Conflicts that are told ===


@pytest.mark.parametrize(
    ("privacy", "shown"),
    [
        ("none", None),
        ("redacted", "call [number]"),
        ("full", "call 555-1234"),
    ],
)
def test_a_conflict_says_where_and_what(privacy, shown):
    rows = _labelled("call 555-1234", 2, 0, 2, id="x")
    rows = [
        row | {"file": "f", "slice": 7, "row": 40 + i} for i, row in enumerate(rows)
    ]
    settled = _settled(rows, privacy={"text": privacy})

    (conflict,) = settled.shown_conflicts
    assert settled.conflicts == 1
    assert bytes.fromhex(conflict.text_key) == keyed(rows).column("text_key")[0].as_py()
    assert (conflict.file, conflict.slice, conflict.row) == ("f", 7, 40)
    assert conflict.labels == {"bad": 1, "good": 2}
    assert conflict.text == shown


def test_all_conflicts_are_counted_and_the_first_are_shown():
    rows = [row for i in range(30) for row in _labelled(f"text {i}", 0, 1)]
    settled = _settled(rows + [{"text": "alone"}], "drop")

    assert settled.conflicts == 30
    shown = [conflict.text_key for conflict in settled.shown_conflicts]
    texts = [f"text {i}" for i in range(30)]
    keys = keyed([{"text": text} for text in texts]).column("text_key").to_pylist()
    assert shown == sorted(key.hex() for key in keys)[:SHOWN_CONFLICTS]


# === Properties ===

REVIEWS = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.sampled_from(["a", "A ", "b", "b!", "ｂ", "c", "d"]),
            "label_index": st.integers(0, 2),
            "group": st.sampled_from([None, TRAIN, TEST, VALIDATION, "g1", "g2"]),
            "file": st.sampled_from(["f1", "f2"]),
            # Ids repeat, as they do where rows were pasted twice.
            "id": st.sampled_from(["x", "y", "z"]),
        }
    ),
    max_size=25,
)


@given(rows=REVIEWS)
def test_majority_is_the_most_frequent_label_within_the_split(rows):
    examples, _ = _settle(rows)

    by_text = {}
    reviews = keyed(rows).to_pylist()
    for review in reviews:
        key, group = review["text_key"], review["group"]
        decides = key if group is None else b"group:" + group.encode()
        split = split_by_hash(decides, RULES)
        by_text.setdefault(key, {}).setdefault(split, []).append(review["label_index"])
    expected = {}
    for key, splits in by_text.items():
        split = next(s for s in ("test", "validation", "train") if s in splits)
        labels = splits[split]
        winner = min(labels, key=lambda one: (-labels.count(one), one))
        expected[key] = (split, winner, len(labels))
    assert expected == {
        e["text_key"]: (e["split"], e["label_index"], e["count"]) for e in examples
    }
    # The survivor is one of the reviews, whole.
    for example in examples:
        assert {
            k: v for k, v in example.items() if k not in ("split", "count")
        } in reviews
