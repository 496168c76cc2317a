import hashlib
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from reviewbeam.components.common.prepare_config import SPLITS, SplitRules
from reviewbeam.components.examples.keys import KEY_TYPE
from reviewbeam.components.examples.splits import needs_groups, own_ranks
from tests.components.examples.reviews import keyed, split_by_hash

KEYS = [hashlib.blake2b(b"%d" % i, digest_size=16).digest() for i in range(20_000)]
LATEST = "2024-03-10T12:00:00"
BY_TIME = SplitRules(time_column="at", test_days=2, validation=0.3)


def _splits_of_keys(keys, rules):
    batch = pa.RecordBatch.from_pydict(
        {"text_key": pa.array(keys, KEY_TYPE), "group": pa.nulls(len(keys), "string")}
    )
    ranks = own_ranks(batch, rules, None)
    assert ranks.dtype == np.int8
    return [SPLITS[rank] for rank in ranks]


def _splits(rows, rules, latest=None):
    ranks = own_ranks(keyed(rows), rules, latest)
    assert ranks.dtype == np.int8
    return [SPLITS[rank] for rank in ranks]


# === By hash ===


def test_shares_are_about_right():
    counts = Counter(_splits_of_keys(KEYS, SplitRules(validation=0.15, test=0.25)))

    assert set(counts) == set(SPLITS)
    # Three standard deviations of 20,000 draws are at most 0.011.
    assert counts["test"] / 20_000 == pytest.approx(0.25, abs=0.011)
    assert counts["validation"] / 20_000 == pytest.approx(0.15, abs=0.011)


def test_a_text_in_test_stays_there_when_validation_changes():
    small, large = (
        _splits_of_keys(KEYS[:5000], SplitRules(validation=share, test=0.1))
        for share in (0.1, 0.4)
    )

    assert set(zip(small, large, strict=True)) == {
        ("test", "test"),
        ("validation", "validation"),
        ("train", "validation"),
        ("train", "train"),
    }


def test_a_larger_test_share_keeps_what_was_in_test():
    small, large = (
        _splits_of_keys(KEYS[:5000], SplitRules(validation=0.1, test=share))
        for share in (0.1, 0.2)
    )

    assert {b for a, b in zip(small, large, strict=True) if a == "test"} == {"test"}


def test_another_salt_is_another_division():
    first, second = (
        _splits_of_keys(KEYS[:2000], SplitRules(salt=salt, test=0.5)) for salt in "ab"
    )
    same = sum(a == b for a, b in zip(first, second, strict=True))

    assert same / 2000 == pytest.approx(0.5**2 + 0.4**2 + 0.1**2, abs=0.05)


def test_shares_of_nothing():
    assert set(_splits_of_keys(KEYS[:200], SplitRules(validation=0, test=0))) == {
        "train"
    }
    assert _splits_of_keys([], SplitRules()) == []


def test_the_division_is_the_same_everywhere():
    texts = ["Great!", "great!", "Schlecht", "Excelente producto, 10/10"]
    texts += ["とても良い", "ﬁne  Straße", ""] + [f"Review {i}" for i in range(30)]
    rows = [{"text": text} for text in texts]
    places = {}
    for salt, rules in (
        ("reviewbeam", SplitRules()),
        ("other", SplitRules(salt="other", validation=0.2, test=0.3)),
    ):
        splits = _splits(rows, rules)
        for name in ("test", "validation"):
            places[salt, name] = [i for i, s in enumerate(splits) if s == name]

    # Texts that were once in test hang on these.
    assert places == {
        ("reviewbeam", "test"): [7, 17, 25, 30],
        ("reviewbeam", "validation"): [9, 10],
        ("other", "test"): [0, 1, 2, 10, 11, 12, 13, 14, 24, 28, 29, 30],
        ("other", "validation"): [3, 8, 9, 18, 27, 31],
    }


def test_a_group_is_in_one_split_wherever_its_texts_would_be():
    rules = SplitRules(salt="other", validation=0.2, test=0.3, group_by="author")
    rows = [{"text": f"Review {i}", "group": "author 1"} for i in range(20)]
    assert set(_splits(rows, rules)) == {"test"}
    assert set(_splits([row | {"group": "shop ä"} for row in rows], rules)) == {
        "validation"
    }

    alone = [row | {"group": None} for row in rows]
    assert len(set(_splits(alone, rules))) == 3


# === By time ===


def test_the_last_days_are_the_test():
    times = {
        LATEST: True,
        "2024-03-09T00:00:00": True,
        "2024-03-08T12:00:01": True,
        "2024-03-08T12:00:00": False,
        "2024-03-08T11:59:59": False,
        "2023-12-31T23:59:59": False,
        "0999-01-01T00:00:00": False,
    }
    splits = _splits([{"text": t, "time": t} for t in times], BY_TIME, LATEST)

    assert [split == "test" for split in splits] == list(times.values())


def test_parts_of_a_day():
    rules = BY_TIME.model_copy(update={"test_days": 1.5 / 86_400})
    times = ["2024-03-10T11:59:59", "2024-03-10T11:59:58", LATEST]
    splits = _splits([{"text": "t", "time": time} for time in times], rules, LATEST)

    assert [split == "test" for split in splits] == [True, False, True]


@pytest.mark.parametrize("days", [800_000, 1e12, float("inf")])
def test_more_days_than_there_are_dates(days):
    rules = BY_TIME.model_copy(update={"test_days": days})
    rows = [{"text": "t", "time": time} for time in ("0001-01-01T00:00:00", LATEST)]

    assert _splits(rows, rules, LATEST) == ["test", "test"]


def test_what_is_not_in_the_last_days_goes_by_hash():
    rows = [{"text": f"t{i}", "time": "2024-01-01T00:00:00"} for i in range(60)]
    batch = keyed(rows)

    assert _splits(rows, BY_TIME, LATEST) == [
        split_by_hash(key, BY_TIME) for key in batch.column("text_key").to_pylist()
    ]
    assert set(_splits(rows, BY_TIME, LATEST)) == {"train", "validation"}


# === As given ===


def test_the_column_tells():
    rules = SplitRules(column="part", validation=0.9)
    given = ["train", "dev", "valid", "validation", "test"]
    rows = [{"text": f"t{i}", "given_split": name} for i, name in enumerate(given)]

    assert _splits(rows, rules) == ["train"] + ["validation"] * 3 + ["test"]


def test_training_rows_give_a_validation_split_that_the_column_lacks():
    values = {"fit": "train", "hold": "test"}
    rules = SplitRules(column="part", values=values, validation=0.3)
    rows = [{"text": f"t{i}", "given_split": "fit"} for i in range(60)]
    hashes = [
        split_by_hash(k, rules) for k in keyed(rows).column("text_key").to_pylist()
    ]

    assert _splits(rows, rules) == hashes
    assert set(hashes) == {"train", "validation"}
    held = [row | {"given_split": "hold"} for row in rows]
    assert set(_splits(held, rules)) == {"test"}


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({}, False),
        ({"group_by": "g"}, False),  # a group's hash is one
        ({"column": "s"}, False),
        ({"group_by": "g", "column": "s"}, True),
        ({"group_by": "g", "time_column": "t", "test_days": 1}, True),
    ],
)
def test_groups_have_to_meet_where_reviews_tell_their_own_split(settings, needed):
    assert needs_groups(SplitRules(**settings)) is needed
