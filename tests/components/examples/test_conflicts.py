from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common.columns import from_bytes, select_columns
from reviewbeam.components.common.prepare_config import SplitRules
from reviewbeam.components.examples.conflicts import (
    GROUP_CONFLICT,
    ID_REPEATED,
    apply_notices,
    count_files,
    facts,
    group_conflicts,
    is_notice,
    notices,
    partitioned,
    repeated_ids,
)
from reviewbeam.components.examples.keys import key_numbers
from tests.components.examples.reviews import keyed, split_by_hash

GIVEN = SplitRules(column="part", group_by="author", validation=0.3)
BY_TIME = SplitRules(time_column="at", test_days=1, group_by="author", validation=0.5)


def _meet(rows, column, partitions=3, batch_rows=2):
    """Facts by partition, from batches of some rows."""
    batch = keyed(rows)
    met = {}
    for start in range(0, len(rows), batch_rows):
        for number, data in facts(batch.slice(start, batch_rows), column, partitions):
            met.setdefault(number, []).append(data)
    return met


def _found(rows, column, find, **bounds):
    """Row numbers that are found, over all partitions."""
    met = _meet(rows, column, **bounds)
    return sorted(
        number
        for compressed in met.values()
        for number in find(compressed).column("row").to_pylist()
    )


# === Partitions ===


@given(
    numbers=st.lists(st.integers(0, 2**64 - 1), max_size=20),
    partitions=st.integers(1, 2**31),
)
def test_rows_go_where_their_number_says(numbers, partitions):
    partitions = partitions % 50 + 1
    batch = pa.RecordBatch.from_pydict({"n": pa.array(numbers, pa.uint64())})
    found = {
        number: from_bytes(data).column("n").to_pylist()
        for number, data in partitioned(batch, np.array(numbers, np.uint64), partitions)
    }

    expected = {}
    for number in numbers:
        expected.setdefault(number % partitions, []).append(number)
    assert found == expected


def test_a_partition_brings_its_own_rows_only():
    batch = keyed([{"text": f"a long text of a review {i} " * 50} for i in range(200)])
    numbers = key_numbers(batch.column("text_key"))[:, 0]
    sizes = [len(data) for _, data in partitioned(batch, numbers, 100)]

    assert max(sizes) < 10_000


# === Ids ===


def test_one_text_has_an_id_with_its_copies():
    rows = [{"text": text, "id": "x"} for text in ("a", "b", "A ", "c")]
    rows += [{"text": "a", "id": "y"}, {"text": "b", "id": None}]
    keys = keyed(rows).column("text_key").to_pylist()
    owner = min(keys[:4])

    assert _found(rows, "id", repeated_ids) == [
        row for row in range(4) if keys[row] != owner
    ]


@given(
    ids=st.lists(
        st.tuples(st.sampled_from(["x", "y", "z", "", None]), st.sampled_from("abAcd")),
        max_size=15,
    ),
    partitions=st.integers(1, 4),
    batch_rows=st.integers(1, 9),
)
def test_repeated_ids_in_any_batches(ids, partitions, batch_rows):
    rows = [{"text": text, "id": identity} for identity, text in ids]
    keys = keyed(rows).column("text_key").to_pylist()
    owner = {}
    for (identity, _), key in zip(ids, keys, strict=True):
        owner[identity] = min(key, owner.get(identity, key))

    found = _found(
        rows, "id", repeated_ids, partitions=partitions, batch_rows=batch_rows
    )
    assert found == [
        row
        for row, (identity, _) in enumerate(ids)
        if identity is not None and keys[row] != owner[identity]
    ]


# === Groups ===


def test_a_group_is_where_its_most_reserved_review_is():
    rows = [
        {"text": f"t{i}", "group": group, "given_split": split}
        for i, (group, split) in enumerate(
            [
                ("g", "train"),
                ("g", "test"),
                ("g", "validation"),
                ("h", "train"),
                ("h", "dev"),
                ("k", "train"),
                (None, "train"),
                (None, "test"),
            ]
        )
    ]

    assert _found(rows, "group", lambda data: group_conflicts(data, GIVEN, None)) == [
        0,
        2,
        3,
    ]


def test_groups_by_time():
    latest = "2024-01-10T00:00:00"
    times = ["2024-01-09T00:00:00", "2024-01-09T00:00:01", latest]
    rows = [
        {"text": f"t{i}", "group": group, "time": times[time]}
        for i, (group, time) in enumerate([("g", 0), ("g", 1), ("h", 2), ("k", 0)])
    ]

    assert _found(
        rows, "group", lambda data: group_conflicts(data, BY_TIME, latest)
    ) == [0]
    # What is left of a group has one split, by the hash of the group.
    assert {split_by_hash(f"group:{g}".encode(), BY_TIME) for g in "abcdefgh"} == {
        "train",
        "validation",
    }


# === Notices ===


def _notices(rows, chosen, fate, partitions):
    batch = keyed(rows)
    text = pa.array(key_numbers(batch.column("text_key"))[:, 0])
    found = pa.RecordBatch.from_arrays(
        [*select_columns(batch, ["file", "slice", "row"]).columns, text],
        names=["file", "slice", "row", "text"],
    ).take(pa.array(chosen, pa.int64()))
    return {
        number: from_bytes(data) for number, data in notices(found, fate, partitions)
    }


def test_a_notice_goes_where_its_review_goes():
    rows = [{"text": f"t{i}", "slice": i % 2, "row": i // 2} for i in range(40)]
    batch = keyed(rows)
    numbers = key_numbers(batch.column("text_key"))[:, 0]
    told = _notices(rows, list(range(0, 40, 3)), ID_REPEATED, 7)

    taken = set()
    for number, data in partitioned(batch, numbers, 7):
        mine = from_bytes(data)
        assert not is_notice(mine)
        notes = [told.pop(number)] if number in told else []
        assert all(map(is_notice, notes))
        kept, found = apply_notices(mine, notes)
        lost = found[ID_REPEATED].column("text").to_pylist() if found else []
        assert sorted(kept.column("text").to_pylist() + lost) == sorted(
            mine.column("text").to_pylist()
        )
        taken.update(lost)
    assert told == {}
    assert taken == {f"t{i}" for i in range(0, 40, 3)}


def test_no_notices_for_nothing():
    assert _notices([{"text": "t"}], [], ID_REPEATED, 3) == {}


def test_a_rejection_goes_before_all():
    rows = [{"text": "t", "row": i} for i in range(5)]
    told = [
        *_notices(rows, [1, 2], GROUP_CONFLICT, 1).values(),
        *_notices(rows, [2, 3], ID_REPEATED, 1).values(),
        *_notices(rows, [0], GROUP_CONFLICT, 1).values(),
    ]
    for order in (told, told[::-1]):
        kept, taken = apply_notices(keyed(rows), order)
        assert kept.column("row").to_pylist() == [4]
        assert {fate: r.column("row").to_pylist() for fate, r in taken.items()} == {
            ID_REPEATED: [2, 3],
            GROUP_CONFLICT: [0, 1],
        }


def test_places_of_odd_file_names_are_told_apart():
    places = [("a", 1, 23), ("a/1", 2, 3), ("a", 12, 3), ("a/1/2", 3, 3), ("", 1, 23)]
    rows = [{"text": "t", "file": f, "slice": s, "row": r} for f, s, r in places]

    for chosen in range(len(rows)):
        told = list(_notices(rows, [chosen], ID_REPEATED, 1).values())
        kept, taken = apply_notices(keyed(rows), told)
        assert kept.num_rows == len(rows) - 1
        assert taken[ID_REPEATED].column("file").to_pylist() == [places[chosen][0]]


@pytest.mark.parametrize("files", [[], ["a"], ["b", "a", "b"]])
def test_reviews_are_counted_by_file(files):
    batch = keyed([{"text": "t", "file": file} for file in files])

    assert count_files(batch, "left_out.x") == Counter(
        (file, "left_out.x") for file in files
    )
