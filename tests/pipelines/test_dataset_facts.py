import dataclasses

import pytest

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.prepare_config import PrepareConfig
from reviewbeam.components.examples.shards import read_shard
from reviewbeam.components.examples.write import ShardInfo
from reviewbeam.components.ingestion.files import CorpusFile
from reviewbeam.components.ingestion.read import SliceSummary
from reviewbeam.pipelines.dataset_facts import (
    DatasetFacts,
    account,
    check_classes,
    describe_labels,
    refuse_all,
    refuse_damaged,
)

A = CorpusFile("/in/a.jsonl", "a.jsonl", "jsonl", "none", 100, "aa")
B = CorpusFile("/in/b.jsonl", "b.jsonl", "jsonl", "none", 50, "bb")
PRESENT = ("stars", "text")


def _config(**changes):
    data = {
        "encoder": "e",
        "columns": {"text": "text", "label": "stars"},
        "labels": {
            "type": "multiclass",
            "names": ["bad", "fair", "good"],
            "mapping": {"1": "bad", "2": "bad", "3": "fair", "5": "good"},
        },
    }
    return PrepareConfig.model_validate(data | changes)


def _summary(file, index, rows, lines=None, **changes):
    lines = rows if lines is None else lines
    return SliceSummary(file, index, lines, rows, present=PRESENT, **changes)


def _shard(split, partition, labels, **changes):
    name = f"{split}-0000{partition}-of-00002.tfrecord.gz"
    examples = sum(sum(counts.values()) for counts in labels.values())
    shard = ShardInfo(split, name, "00", examples, 10 * examples, 12, 1, labels)
    return dataclasses.replace(shard, **changes)


def _told(**changes):
    """What workers tell of ten rows of `a` in two slices."""
    told = {
        "summaries": [_summary("a.jsonl", 1, 4), _summary("a.jsonl", 0, 6, lines=8)],
        "outcomes": [
            [["a.jsonl", "written.train"], 5],
            [["a.jsonl", "written.test"], 1],
            [["a.jsonl", "rejected.text_empty"], 1],
            [["a.jsonl", "left_out.excluded_id"], 1],
            [["a.jsonl", "duplicates"], 2],
            [["a.jsonl", "repaired.id_missing"], 8],
            [["a.jsonl", "allowed.not_nfc"], 3],
        ],
        "labels": [["1", 4], ["5", 3], ["great", 1]],
        "conflicts": [],
        "places": [],
        "histograms": [],
        "shards": [],
    } | changes
    told["summaries"] = [dataclasses.asdict(s) for s in told["summaries"]]
    told["shards"] = [dataclasses.asdict(s) for s in told["shards"]]
    return told


def _facts(config=None, **changes):
    return DatasetFacts(config or _config(), [A], _told(**changes))


# === Of each file ===


def test_each_row_has_one_fate_and_notes_are_beside_it():
    facts = _facts()
    assert facts.inputs == [
        {
            "file": "a.jsonl",
            "format": "jsonl",
            "sha256": "aa",
            "bytes": 100,
            "damaged": None,
            "rows": 10,
            "duplicates": 2,
            "written": {"test": 1, "train": 5},
            "rejected": {"text_empty": 1},
            "left_out": {"excluded_id": 1},
            "repaired": {"id_missing": 8},
            "allowed": {"not_nfc": 3},
        }
    ]
    assert facts.written == 6


@pytest.mark.parametrize("written", [4, 6])
def test_a_lost_or_doubled_row_is_a_fault(written):
    outcomes = {("a.jsonl", "written.train"): written}
    with pytest.raises(RuntimeError, match=f"5 rows were read, {written} came out"):
        account([A], [_summary("a.jsonl", 0, 5)], outcomes)


def test_a_loss_in_one_file_is_not_made_up_by_another():
    summaries = [_summary("a.jsonl", 0, 5), _summary("b.jsonl", 0, 5)]
    outcomes = {("a.jsonl", "written.train"): 6, ("b.jsonl", "written.train"): 4}
    with pytest.raises(RuntimeError, match="a.jsonl: 5 rows"):
        account([A, B], summaries, outcomes)


def test_an_empty_file_is_fine_beside_another_but_not_alone():
    summaries = [_summary("a.jsonl", 0, 1), _summary("b.jsonl", 0, 0)]
    _, empty = account([A, B], summaries, {("a.jsonl", "written.train"): 1})
    assert (empty["rows"], empty["written"]) == (0, {})
    with pytest.raises(UserError, match="no record at all"):
        account([B], summaries[1:], {})


def test_a_salvaged_file_tells_its_damage():
    summaries = [
        _summary("a.jsonl", 0, 1, damaged="it ends"),
        _summary("b.jsonl", 0, 0),
    ]
    found = account([A, B], summaries, {("a.jsonl", "rejected.damaged_file"): 1})
    assert [entry["damaged"] for entry in found] == ["it ends", None]


def test_a_damaged_file_is_refused_unless_it_is_salvaged():
    damaged = [_summary("a.jsonl", 0, 10, damaged="its gzip data is broken")]
    with pytest.raises(UserError, match=r"/in/a.jsonl is damaged: its gzip.* after 10"):
        refuse_damaged([A], damaged)
    with pytest.raises(UserError, match="is damaged"):
        _facts(summaries=damaged)
    salvage = _config(on_damaged_file="salvage")
    facts = _facts(salvage, summaries=damaged)
    assert facts.inputs[0]["damaged"] == "its gzip data is broken"


# === Labels ===


def test_label_values_are_those_of_the_mapping_and_others():
    assert describe_labels(_config(), [("5", 3), ("great", 1), ("1", 2)]) == {
        "mapped": {"1": 2, "2": 0, "3": 0, "5": 3},
        "unknown": {"great": 1},
    }


@pytest.mark.parametrize(
    "values",
    [
        {f"v{n}": 2 for n in range(21)},
        {"a": 21, "Never again, it broke on day one": 21},
    ],
)
def test_values_that_may_be_texts_are_only_numbered(values):
    unknown = describe_labels(_config(), values.items())["unknown"]
    assert unknown == {f"({len(values)} different values or more)": 42}


def test_personal_data_in_the_label_column_is_masked():
    values = [("a@b.example", 2), ("c@d.example", 3), ("0170 5550101", 1)]
    unknown = describe_labels(_config(), values)["unknown"]
    assert unknown == {"[mail]": 5, "[number]": 1}


def test_a_class_without_reviews_is_refused():
    labels = {"bad": 4, "fair": 0, "good": 3}
    facts = {
        "splits": {"train": {"labels": labels}, "test": {"labels": labels}},
        "label_values": {"mapped": {"1": 4, "5": 3, "3": 0}, "unknown": {"three": 2}},
    }
    with pytest.raises(UserError) as caught:
        check_classes(facts, _config())
    message = str(caught.value)
    assert "the label 'fair'" in message and "hold '3'" in message
    assert "{'1': 4, '5': 3, 'three': 2}" in message
    labels["fair"] = 1
    check_classes(facts, _config())


def test_a_corpus_without_examples_is_refused_by_what_became_of_it():
    outcomes = [
        [["a.jsonl", "rejected.label_unknown"], 9],
        [["a.jsonl", "left_out.excluded_id"], 1],
    ]
    facts = _facts(outcomes=outcomes, labels=[["great", 9]])
    assert facts.written == 0
    with pytest.raises(UserError) as caught:
        refuse_all(facts, _config())
    message = str(caught.value)
    assert "None of the 10 rows" in message
    assert "label_unknown 9, excluded_id 1." in message
    assert "'stars' held {'great': 9}" in message


# === Splits ===


def test_splits_add_up_their_shards():
    train = [
        _shard("train", 0, {"en": {"bad": 2}, "": {"good": 1}}),
        _shard("train", 1, {"en": {"bad": 1, "good": 1}}, longest=40),
    ]
    histograms = {"rows": 5, "squares": 5, "counts": {"truncated": {"no": 5}}}
    facts = _facts(histograms=[["train", histograms]])
    described = facts.describe([*train, _shard("test", 0, {"de": {"fair": 1}})])
    assert described["augmented"] is None
    assert described["splits"]["train"] == {
        "examples": 5,
        "tokens": 50,
        "longest": 40,
        "truncated": 2,
        "labels": {"bad": 3, "fair": 0, "good": 2},
        "languages": {"": {"good": 1}, "en": {"bad": 3, "good": 1}},
        "histograms": histograms,
        "shards": [{"name": s.name, "examples": s.examples} for s in train],
    }
    assert described["splits"]["validation"]["examples"] == 0
    assert described["splits"]["validation"]["histograms"] is None


def test_augmented_examples_are_told_beside_the_splits():
    config = _config(augment={"copies": 1, "swap_words": 0.1})
    shards = [_shard("train", 0, {"en": {"bad": 1}})]
    shards += [_shard("augmented", 0, {"en": {"bad": 7}})]
    described = _facts(config).describe(shards)
    assert described["augmented"]["labels"]["bad"] == 7
    assert described["splits"].keys() == {"train", "validation", "test"}
    assert described["splits"]["train"]["examples"] == 1


def test_partitions_that_no_text_fell_into_get_an_empty_shard(tmp_path):
    facts = _facts(shards=[_shard("train", 1, {"en": {"bad": 6}})])
    shards = facts.complete_shards(tmp_path, 2)
    assert [(s.split, s.examples) for s in shards] == [
        ("train", 0), ("train", 6), ("validation", 0), ("validation", 0), ("test", 0),
        ("test", 0),
    ]  # fmt: skip
    written = sorted(tmp_path.iterdir())
    assert {path.name for path in written} == {s.name for s in shards if not s.examples}
    assert all(read_shard(str(path)) == [] for path in written)


# === Places ===


def _conflict(key, piece, row):
    return {
        "text_key": key, "file": "a.jsonl", "slice": piece, "row": row,
        "labels": {"bad": 1, "good": 1}, "text": None,
    }  # fmt: skip


def test_conflicts_are_told_by_their_row_in_the_file():
    some = [_conflict("02", 1, 3), _conflict("01", 0, 5)]
    told = _facts(conflicts=[[1, some[:1]], [2, some[1:]]]).describe([])
    assert told["label_conflicts"]["texts"] == 3
    places = [(c["file"], c["row"]) for c in told["label_conflicts"]["some"]]
    assert places == [("a.jsonl", 5), ("a.jsonl", 11)]  # behind the 8 lines before


def test_twenty_conflicts_are_told_the_first_by_key():
    some = [_conflict(f"{n:02}", 0, n + 1) for n in range(30)]
    conflicts = [[15, some[15:]], [15, some[:15]]]
    told = _facts(conflicts=conflicts).describe([])["label_conflicts"]
    assert [c["row"] for c in told["some"]] == list(range(1, 21))
    assert told["texts"] == 30


def test_values_are_told_by_their_row_in_the_file():
    places = [[["language", "en"], [0, "a.jsonl", 1, 2]]]
    assert _facts(places=places).places() == {("language", "en"): "a.jsonl row 10"}
