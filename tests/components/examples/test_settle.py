from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common.prepare_config import DuplicateRules, SplitRules
from reviewbeam.components.examples.keys import split_of, text_keys
from reviewbeam.components.examples.settle import settle

SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("slice", pa.int64()),
        ("row", pa.int64()),
        ("text", pa.string()),
        ("id", pa.string()),
        ("group", pa.string()),
        ("label_index", pa.int32()),
    ]
)
HALF = SplitRules(validation=0.3, test=0.3)  # so that every split is met often
POLICIES = ["majority", "drop", "keep_all"]


def _reviews(rows):
    """Reviews from dicts; what a row doesn't say follows from its number."""
    plain = {"file": "a", "slice": 0, "group": None, "label_index": 0}
    batch = pa.RecordBatch.from_pylist(
        [plain | {"row": i, "id": f"id{i}"} | row for i, row in enumerate(rows)],
        schema=SCHEMA,
    )
    return batch.from_arrays(
        [*batch.columns, text_keys(batch.column("text"))],
        names=[*SCHEMA.names, "text_key"],
    )


def _settle(rows, on_conflict="majority", splits=HALF):
    examples, outcomes = settle(
        _reviews(rows), DuplicateRules(on_conflict=on_conflict), splits
    )
    return examples.to_pylist(), outcomes


def _labelled(text, *labels, **changes):
    return [{"text": text, "label_index": label} | changes for label in labels]


def _group_in(split, but=()):
    """Name of a group of a split."""
    names = (f"group {number}" for number in range(1000))
    return next(
        name
        for name in names
        if split_of(b"group:" + name.encode(), HALF) == split and name not in but
    )


TRAIN, VALIDATION, TEST = map(_group_in, ("train", "validation", "test"))


# === By hand ===


def test_a_review_without_a_copy():
    reviews = _reviews([{"text": "Gut!", "label_index": 2}])
    (example,), outcomes = _settle([{"text": "Gut!", "label_index": 2}])

    split = split_of(reviews.column("text_key")[0].as_py(), HALF)
    assert example == reviews.to_pylist()[0] | {"split": split, "count": 1}
    assert outcomes == {("a", f"written.{split}"): 1}


def test_examples_are_ordered_by_text_key():
    examples, _ = _settle([{"text": f"text {i}"} for i in range(50)])

    keys = [example["text_key"] for example in examples]
    assert keys == sorted(keys)
    assert len(set(keys)) == 50


def test_copies_of_a_normalised_text_are_one_example():
    rows = [{"text": text} for text in ("Gut gut", "gut  GUT", "ｇｕｔ gut")]
    (example,), outcomes = _settle([*rows[:2], rows[2] | {"file": "b"}])

    assert example["count"] == 3
    assert outcomes[example["file"], f"written.{example['split']}"] == 1
    assert outcomes.total() == 3
    assert sum(n for (_, fate), n in outcomes.items() if fate == "duplicates") == 2


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
    (example,), _ = _settle(rows)
    assert (example["group"], example["split"], example["count"]) == (TEST, "test", 3)

    (example,), _ = _settle([rows[0], rows[2]])
    assert (example["group"], example["split"]) == (VALIDATION, "validation")


def test_keep_all_leaves_out_labels_of_groups_in_other_splits():
    rows = [
        {"text": "t", "group": TEST, "label_index": 0},
        {"text": "t", "group": TRAIN, "label_index": 1},
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


def test_nothing_at_all():
    examples, outcomes = _settle([])

    assert (examples, outcomes) == ([], {})


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


@pytest.mark.parametrize("on_conflict", POLICIES)
@given(rows=REVIEWS, data=st.data())
def test_the_order_of_reading_changes_nothing(on_conflict, rows, data):
    rows = [row | {"row": number} for number, row in enumerate(rows)]
    shuffled = data.draw(st.permutations(rows))

    assert _settle(shuffled, on_conflict) == _settle(rows, on_conflict)


@pytest.mark.parametrize("on_conflict", POLICIES)
@given(rows=REVIEWS)
def test_every_review_is_accounted_for_once(on_conflict, rows):
    examples, outcomes = _settle(rows, on_conflict)

    by_file = Counter()
    for (file, _), count in outcomes.items():
        by_file[file] += count
    assert by_file == Counter(row["file"] for row in rows)
    written = Counter((e["file"], f"written.{e['split']}") for e in examples)
    assert written == Counter(
        {key: n for key, n in outcomes.items() if key[1].startswith("written.")}
    )
    # The counts of the examples and what was left out by a rule are all reviews.
    left_out = sum(
        n for (_, fate), n in outcomes.items() if fate.startswith("left_out")
    )
    assert sum(example["count"] for example in examples) + left_out == len(rows)


@pytest.mark.parametrize("on_conflict", POLICIES)
@given(rows=REVIEWS)
def test_splits_share_no_text_and_no_group(on_conflict, rows):
    examples, _ = _settle(rows, on_conflict)

    texts, groups = {}, {}
    for example in examples:
        key, group = example["text_key"], example["group"]
        texts.setdefault(key, set()).add(example["split"])
        if group is not None:
            groups.setdefault(group, set()).add(example["split"])
        decides = key if group is None else b"group:" + group.encode()
        assert example["split"] == split_of(decides, HALF)
    assert all(len(splits) == 1 for splits in [*texts.values(), *groups.values()])
    labels = Counter((e["text_key"], e["label_index"]) for e in examples)
    assert set(labels.values()) <= {1}
    if on_conflict != "keep_all":
        assert len(texts) == len(examples)


@given(rows=REVIEWS)
def test_majority_is_the_most_frequent_label(rows):
    examples, _ = _settle(rows)

    by_text = {}
    reviews = _reviews(rows).to_pylist()
    for review in reviews:
        by_text.setdefault(review["text_key"], []).append(review["label_index"])
    assert {e["text_key"]: (e["label_index"], e["count"]) for e in examples} == {
        key: (min(labels, key=lambda one: (-labels.count(one), one)), len(labels))
        for key, labels in by_text.items()
    }
    # The survivor is one of the reviews, whole.
    for example in examples:
        assert {
            k: v for k, v in example.items() if k not in ("split", "count")
        } in reviews
