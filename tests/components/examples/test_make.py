import datetime
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from reviewbeam.components.common.columns import REJECTS, from_bytes
from reviewbeam.components.common.prepare_config import SPLITS
from reviewbeam.components.common.text_hashes import normalized_text
from reviewbeam.components.examples import make
from tests.components.examples.corpora import (
    DIVISIONS,
    as_batch,
    as_batches,
    corpora,
    corpus_rows,
    make_in_memory,
    make_in_pipeline,
)
from tests.components.examples.reviews import (
    keyed,
    prepare_config,
    split_by_hash,
)

RESERVED = {split: rank for rank, split in enumerate(SPLITS)}


def _without_partitions(made):
    examples = [row | {"partition": None} for row in made["examples"]]
    return made | {"examples": examples}


def _by_text(examples):
    splits = {}
    for example in examples:
        splits.setdefault(normalized_text(example["text"]), set()).add(example["split"])
    return splits


# === What holds for every corpus ===


@given(corpora(), st.integers(1, 5), st.integers(1, 16))
def test_every_review_is_accounted_for_once(corpus, partitions, size):
    rows, config = corpus
    made = make_in_memory(as_batches(rows, config, size), config, partitions)

    by_file, by_fate = Counter(), Counter()
    for (file, outcome), number in made["outcomes"].items():
        kind = outcome.split(".")[0]
        assert kind in ("written", "duplicates", "left_out", "rejected", "allowed")
        event(outcome)
        if kind != "allowed":
            by_file[file] += number
            by_fate[kind] += number
    assert by_file == Counter(row["file"] for row in rows)
    written = Counter((e["file"], f"written.{e['split']}") for e in made["examples"])
    assert written == Counter(
        {key: n for key, n in made["outcomes"].items() if key[1].startswith("written.")}
    )
    # An example stands for its copies.
    copies = sum(example["count"] for example in made["examples"])
    assert copies == by_fate["written"] + by_fate["duplicates"]


@given(corpora(), st.integers(1, 5))
def test_splits_share_no_text_and_no_group(corpus, partitions):
    rows, config = corpus
    made = make_in_memory([as_batch(rows, config)], config, partitions)

    assert all(len(splits) == 1 for splits in _by_text(made["examples"]).values())
    groups = {}
    for example in made["examples"]:
        if example["group"]:
            groups.setdefault(example["group"], set()).add(example["split"])
    assert all(len(splits) == 1 for splits in groups.values())
    # Copies are one example, unless their labels tell them apart.
    if not config.split.column:
        labels = Counter(
            (normalized_text(e["text"]), repr(e["label_index"]))
            for e in made["examples"]
        )
        assert set(labels.values()) <= {1}
        if config.duplicates.on_conflict != "keep_all":
            assert len(_by_text(made["examples"])) == len(made["examples"])


@given(corpora(), st.data())
def test_neither_order_nor_batches_nor_partitions_change_anything(corpus, data):
    rows, config = corpus
    sizes, numbers = st.integers(1, 16), st.integers(1, 9)
    first = make_in_memory(as_batches(rows, config, data.draw(sizes)), config, 3)
    shuffled = data.draw(st.permutations(rows))

    again = make_in_memory(as_batches(shuffled, config, data.draw(sizes)), config, 3)
    assert again == first
    other = make_in_memory(as_batches(shuffled, config, 4), config, data.draw(numbers))
    assert _without_partitions(other) == _without_partitions(first)


@given(corpora(), st.integers(1, 5))
def test_of_one_id_one_text_stays(corpus, partitions):
    rows, config = corpus
    made = make_in_memory([as_batch(rows, config)], config, partitions)

    texts, keys = {}, keyed(rows, as_batch(rows, config).schema).column("text_key")
    for row, key in zip(rows, keys.to_pylist(), strict=True):
        texts.setdefault(row["id"], {}).setdefault(key, []).append(row)
    others = [
        row
        for of_id in texts.values()
        for key in sorted(of_id)[1:]
        for row in of_id[key]
        if config.columns.id
    ]
    others.sort(key=lambda row: row["row"])
    by_file = Counter(row["file"] for row in others)
    rejected = config.rules.actions.id_repeated == "reject"
    outcome = "rejected.id_repeated" if rejected else "allowed.id_repeated"
    assert by_file == Counter(
        {f: n for (f, o), n in made["outcomes"].items() if o == outcome}
    )
    if not rejected:
        assert made["rejects"] == []
        return
    for reject, row in zip(made["rejects"], others, strict=True):
        assert list(reject) == REJECTS.names
        assert (reject["file"], reject["row"]) == (row["file"], row["row"])
        assert (reject["rule"], reject["value"]) == ("id_repeated", None)
        assert reject["byte_offset"] == row["byte_offset"]
        assert json.loads(reject["raw"])["text"] == row["text"]


def _usable(rows, made):
    rejected = {row["row"] for row in made["rejects"]}
    return [row for row in rows if row["row"] not in rejected]


# === What holds for a way to divide ===


@given(corpora(["hash"]), st.integers(1, 5))
def test_by_hash_the_most_reserved_review_of_a_text_decides(corpus, partitions):
    rows, config = corpus
    made = make_in_memory([as_batch(rows, config)], config, partitions)

    usable = _usable(rows, made)
    schema = as_batch(rows, config).schema
    wanted = {}
    for review in keyed(usable, schema).to_pylist():
        decides = review["text_key"]
        if review["group"]:
            decides = b"group:" + review["group"].encode()
        text = normalized_text(review["text"])
        split = split_by_hash(decides, config.split)
        wanted[text] = max(split, wanted.get(text, "train"), key=RESERVED.get)
    for text, splits in _by_text(made["examples"]).items():
        assert splits == {wanted[text]}
    if config.duplicates.on_conflict != "drop":
        assert set(_by_text(made["examples"])) == set(wanted)


@given(corpora(["hash"]), st.integers(1, 15))
def test_a_text_in_test_stays_there_when_the_corpus_grows(corpus, before):
    rows, config = corpus
    if config.rules.actions.id_repeated == "reject" and config.split.group_by:
        return  # the review that brought its group's split may be rejected later
    early = _by_text(
        make_in_memory([as_batch(rows[:before], config)], config, 2)["examples"]
    )
    late = _by_text(make_in_memory([as_batch(rows, config)], config, 3)["examples"])

    in_test = {text for text, splits in early.items() if splits == {"test"}}
    for text in in_test:  # it may go, as a conflict or a reject, but nowhere else
        assert late.get(text, {"test"}) == {"test"}
    if (
        config.duplicates.on_conflict != "drop"
        and config.rules.actions.id_repeated == "allow"
    ):
        assert in_test <= set(late)


@given(corpora(["column", "column without validation"]), st.integers(1, 5))
def test_a_given_test_split_has_all_of_its_reviews(corpus, partitions):
    rows, config = corpus
    made = make_in_memory([as_batch(rows, config)], config, partitions)

    given_test = [r for r in _usable(rows, made) if r["given_split"] == "test"]
    test = [e for e in made["examples"] if e["split"] == "test"]
    assert [(e["row"], e["label_index"], e["count"]) for e in test] == [
        (row["row"], row["label_index"], 1) for row in given_test
    ]


@given(corpora(["time"]), st.integers(1, 5))
def test_by_time_the_last_days_are_the_test(corpus, partitions):
    rows, config = corpus
    made = make_in_memory([as_batch(rows, config)], config, partitions)

    times = {r["row"]: datetime.datetime.fromisoformat(r["time"]) for r in rows}
    cut = max(times.values()) - datetime.timedelta(days=1.5)
    late = [r for r in _usable(rows, made) if times[r["row"]] > cut]
    test = [e for e in made["examples"] if e["split"] == "test"]
    assert {e["row"] for e in test} <= {r["row"] for r in late}
    # Neither a copy of a test text nor another review of its group is in training.
    texts = {normalized_text(r["text"]) for r in late}
    groups = {r["group"] for r in late if r["group"]}
    for example in made["examples"]:
        if example["split"] != "test":
            assert normalized_text(example["text"]) not in texts
            assert example["group"] not in groups
    if config.duplicates.on_conflict != "drop":
        assert {normalized_text(e["text"]) for e in test} == texts


# === With a runner ===


def test_batches_are_gathered_before_they_are_divided(monkeypatch):
    config = prepare_config()
    rows = [{"text": f"t{i}"} for i in range(60)]
    batches = [make._with_keys(batch, True) for batch in as_batches(rows, config, 3)]

    def divided(gathered_bytes):
        """Rows of each message, by partition; those behind the bundle's end apart."""
        monkeypatch.setattr(make, "_GATHERED_BYTES", gathered_bytes)
        divide = make._Divide(make._by_text, 4)
        divide.start_bundle()
        early = [item for batch in batches for item in divide.process(batch)]
        late = [item.value for item in divide.finish_bundle()]
        assert list(divide.finish_bundle()) == []
        for part in (early, late):
            yield [(n, from_bytes(data).column("row").to_pylist()) for n, data in part]

    early, late = divided(2**26)
    assert early == []
    assert [number for number, _ in late] == [0, 1, 2, 3]
    assert sorted(row for _, rows in late for row in rows) == list(range(60))
    size = sum(batch.nbytes for batch in batches)
    early, late = divided(size // 3)
    assert [number for number, _ in early] == [0, 1, 2, 3] * (len(early) // 4)
    both = early + late
    assert sorted(row for _, rows in both for row in rows) == list(range(60))
    assert 2 <= len(both) / 4 <= 4
    early, late = divided(0)
    assert (len(early) > 20, late) == (True, [])


@pytest.mark.parametrize(
    ("kind", "division", "action"),
    [("multiclass", "hash", "allow"), ("multilabel", "time", "reject")],
)
def test_a_pipeline_does_the_same(tmp_path, kind, division, action):
    random = np.random.default_rng(4)
    config = prepare_config(
        kind,
        split=DIVISIONS[division] | {"group_by": "author"},
        rules={"actions": {"id_repeated": action}},
    )
    drawn = [
        {
            "text": f"Review {random.integers(40)}",
            "file": f"f{i % 3}",
            "id": f"id{random.integers(90)}",
            "group": f"g{random.integers(30)}" if i % 4 else None,
            "hours": int(random.integers(96)),
            "classes": set(random.integers(0, 3, 2).tolist()),
        }
        for i in range(120)
    ]
    rows = corpus_rows(drawn, config)
    ran = make_in_pipeline(as_batches(rows, config, 25), config, 4, tmp_path)

    assert ran == make_in_memory(as_batches(rows, config, 7), config, 4)
    outcomes = {outcome for _, outcome in ran["outcomes"]}
    assert {"written.test", "duplicates", "left_out.split_conflict"} <= outcomes
    assert f"{action}ed.id_repeated" in outcomes
    assert ran["conflicts"] > 3


def test_nothing_at_all(tmp_path):
    config = prepare_config(split=DIVISIONS["time"] | {"group_by": "author"})

    assert make_in_pipeline([], config, 3, tmp_path) == {
        "examples": [],
        "outcomes": {},
        "rejects": [],
        "conflicts": 0,
    }
