"""Types of labels, copies of texts that disagree on them, and repeated ids."""

import copy
import json
from collections import Counter

import pytest
import tensorflow as tf
import yaml

from tests.pipelines.test_prepare_rules import (
    SPLITS,
    reviews,
    run_command,
    run_prepare,
    settings,
    settled,
    write,
)

TOPICS = ["battery", "price", "service"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("labels")


@pytest.fixture(scope="module")
def multilabel(folder, tiny_encoder):
    """Topics as lists in JSON Lines, as text in CSV: of review n those in n's bits."""
    chosen = [[t for bit, t in enumerate(TOPICS) if n >> bit & 1] for n in range(120)]
    lists = [r | {"topics": c} for r, c in zip(reviews(60), chosen, strict=False)]
    lists += reviews(1, 900, topics=["price", "colour", "smell"])
    lists += reviews(1, 901, topics="price|service|price")
    lists += reviews(1, 902, topics=None)
    lists += reviews(1, 903, topics=[{"a": 1}])
    write(folder / "lists.jsonl", lists)
    rows = [
        f"{r['id']},{r['text']!r},{'| '.join(c) or '|'},{r['lang']}".replace("'", '"')
        for r, c in zip(reviews(60, 60), chosen[60:], strict=True)
    ]
    lines = "\n".join(["id,text,topics,lang", *rows, ""])
    (folder / "texts.csv").write_text(lines)
    data = settings(tiny_encoder, folder / "lists.jsonl", folder / "texts.csv")
    data["columns"]["label"] = "topics"
    data["labels"] = {"type": "multilabel", "names": TOPICS, "delimiter": "|"}
    return run_prepare(folder, data, name="multilabel")


def test_lists_and_delimited_texts_become_a_float_a_class(multilabel):
    assert multilabel.code == 0, multilabel.err
    features = {
        "label": tf.io.FixedLenFeature([3], tf.float32),
        "id": tf.io.FixedLenFeature([], tf.string),
    }
    files = [str(path) for path in multilabel.output.glob("*.tfrecord.gz")]
    found = {}
    for record in tf.data.TFRecordDataset(files, compression_type="GZIP"):
        example = tf.io.parse_single_example(record, features)
        found[example["id"].numpy().decode()] = example["label"].numpy().tolist()
    assert found.pop("r0901") == [0, 1, 1]
    assert found == {f"r{n:04}": [n & 1, n >> 1 & 1, n >> 2 & 1] for n in range(120)}


def test_multilabel_rejects_name_the_labels_that_have_no_class(multilabel):
    rejects = multilabel.rejects.set_index("row")
    assert dict(rejects["rule"]) == {
        61: "label_unknown", 63: "label_missing", 64: "label_wrong_type"
    }  # fmt: skip
    assert rejects["value"][61] == "colour, smell"
    assert multilabel.manifest["label_values"]["unknown"] == {"colour": 1, "smell": 1}
    assert all(settled(e) == e["rows"] for e in multilabel.entries.values())


def test_labels_are_counted_by_split_and_language(multilabel):
    for split in SPLITS:
        told = multilabel.manifest["splits"][split]
        found = Counter(
            (example["language"], name)
            for example in multilabel.examples(split)
            for name, chosen in zip(TOPICS, example["label"], strict=True)
            if chosen
        )
        assert sum(told["labels"].values()) == found.total()
        assert {
            (language, name): n
            for language, counts in told["languages"].items()
            for name, n in counts.items()
        } == found


@pytest.fixture(scope="module")
def ordinal(folder, tiny_encoder):
    data = settings(tiny_encoder, write(folder / "ordinal.jsonl", reviews(60)))
    data["labels"]["type"] = "ordinal"
    return run_prepare(folder, data, name="ordinal")


def test_an_ordinal_label_is_the_place_of_its_name(ordinal):
    assert ordinal.code == 0, ordinal.err
    stars = {r["text"]: r["stars"] for r in reviews(60)}
    place = {1: 0, 2: 0, 3: 1, 4: 2, 5: 2}
    for example in ordinal.examples():
        assert example["label"] == place[stars[example["text"]]]


def test_binary_labels_map_true_and_false(folder, tiny_encoder):
    records = [r | {"stars": r["stars"] > 3} for r in reviews(60)]
    records += reviews(1, 99, stars="maybe")
    data = settings(tiny_encoder, write(folder / "binary.jsonl", records))
    data["labels"] = {
        "type": "binary", "names": ["bad", "good"],
        "mapping": {"false": "bad", "true": "good"},
    }  # fmt: skip
    run = run_prepare(folder, data, "--json", name="binary")
    assert run.code == 0, run.err
    labels = {example["id"]: example["label"] for example in run.examples()}
    assert labels == {r["id"]: int(r["stars"]) for r in records[:-1]}
    assert run.manifest["label_values"] == {
        "mapped": {"false": 36, "true": 24}, "unknown": {"maybe": 1}
    }  # fmt: skip
    assert "labels outside of the mapping: {'maybe': 1}" in run.out
    told = json.loads(run.out.splitlines()[-1])
    assert told == run.manifest | {"report": "report.html"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["multilabel", "ordinal"])
def test_train_learns_them(kind, request, tiny_encoder, tmp_path):
    dataset = request.getfixturevalue(kind).output
    config = tmp_path / "train.yaml"
    settings = {"encoder": str(tiny_encoder), "training": {"epochs": 1}}
    config.write_text(yaml.safe_dump(settings))
    run = run_command(
        "train", "--config", config, "--dataset", dataset, output=tmp_path / "model"
    )
    assert run.code == 0, run.err
    metadata = json.loads((tmp_path / "model" / "model.json").read_text())
    manifest = json.loads((dataset / "manifest.json").read_text())
    assert metadata["labels"] == manifest["labels"]
    assert metadata["labels"]["type"] == kind


def test_a_class_that_no_review_has_is_an_error(tiny_encoder, tmp_path):
    records = [r for r in reviews(40) if r["stars"] != 3]
    records += reviews(2, 90, stars="three")
    data = settings(tiny_encoder, write(tmp_path / "in.jsonl", records))
    run = run_prepare(tmp_path, data)
    assert run.code == 2
    assert "No usable review has the label 'neutral'" in run.err
    assert "would have to hold '3'" in run.err and "'three': 2" in run.err
    assert not list(tmp_path.glob("dataset*/"))


# Texts with copies: the stars of each copy. Case and white space make no difference.
_COPIES = {
    "It broke on day one": [1, 2, 1],  # they agree: both are negative
    "Fine for what it costs": [3, 5, 5],
    "Arrived on Monday": [1, 3, 5, 3],
    "Nothing to add": [5, 1],  # a draw
}


@pytest.fixture(scope="module")
def with_copies(folder, tiny_encoder):
    records = reviews(60)
    for text, stars in _COPIES.items():
        for number, star in enumerate(stars):
            written = (text, text.upper(), f"  {text.replace(' ', '  ')} ", text)
            (record,) = reviews(1, 500 + len(records), stars=star)
            records.append(record | {"text": written[number]})
    # The same id: of other texts, and of a copy, which is no repetition.
    records += [reviews(1, 700)[0] | {"id": "twice"}, reviews(1, 701)[0]]
    records += [reviews(1, 702)[0] | {"id": "twice"}]
    records += [reviews(1, 701)[0]]
    data = settings(tiny_encoder, write(folder / "copies.jsonl", records))
    return copy.deepcopy(data) | {"privacy": {"text": "full"}}


def _of_copies(run):
    assert run.code == 0, run.err
    (entry,) = run.entries.values()
    assert settled(entry) == entry["rows"] == 76
    wanted = {text.casefold() for text in _COPIES}
    found = {}
    for example in run.examples():
        text = " ".join(example["text"].split()).casefold()
        if text in wanted:
            found.setdefault(text, []).append((example["label"], example["count"]))
    return entry, {text: sorted(pairs) for text, pairs in found.items()}


def _conflicts(run):
    told = run.manifest["label_conflicts"]
    assert told["texts"] == len(told["some"])
    return {" ".join(c["text"].split()).casefold(): c["labels"] for c in told["some"]}


@pytest.fixture(scope="module")
def majority(folder, with_copies):
    return run_prepare(folder, with_copies, name="majority")


def test_the_majority_labels_all_copies(majority):
    entry, found = _of_copies(majority)
    assert found == {
        "it broke on day one": [(0, 3)],
        "fine for what it costs": [(2, 3)],
        "arrived on monday": [(1, 4)],
        "nothing to add": [(0, 2)],  # of a draw the first class
    }
    assert (entry["duplicates"], entry["left_out"]) == (9, {})
    assert entry["allowed"] == {"id_repeated": 1}
    assert "allowed, id_repeated: 1" in majority.out


def test_conflicts_are_told_with_a_place_and_the_labels(majority):
    assert _conflicts(majority) == {
        "fine for what it costs": {"neutral": 1, "positive": 2},
        "arrived on monday": {"negative": 1, "neutral": 2, "positive": 1},
        "nothing to add": {"negative": 1, "positive": 1},
    }
    lines = (majority.output.parent / "copies.jsonl").read_text().splitlines()
    for conflict in majority.manifest["label_conflicts"]["some"]:
        record = json.loads(lines[conflict["row"] - 1])
        assert conflict["file"] == "copies.jsonl"
        assert record["text"].strip() == conflict["text"]
    assert "texts whose copies disagree on the label: 3" in majority.out


def test_drop_leaves_out_what_disagrees(folder, with_copies):
    rules = {"actions": {"id_repeated": "reject"}}
    data = with_copies | {"duplicates": {"on_conflict": "drop"}, "rules": rules}
    run = run_prepare(folder, data, name="drop")
    entry, found = _of_copies(run)
    assert found == {"it broke on day one": [(0, 3)]}
    assert (entry["duplicates"], entry["left_out"]) == (3, {"label_conflict": 9})
    assert entry["rejected"] == {"id_repeated": 1}
    assert len(_conflicts(run)) == 3
    ((row, rule),) = run.rejected()
    assert row in (73, 75) and rule == "id_repeated"
    assert sum(example["id"] == "twice" for example in run.examples()) == 1
    assert sum(example["id"] == "r0701" for example in run.examples()) == 1


def test_keep_all_keeps_an_example_of_each_label(folder, with_copies):
    data = with_copies | {"duplicates": {"on_conflict": "keep_all"}}
    run = run_prepare(folder, data, name="keep_all")
    entry, found = _of_copies(run)
    assert found == {
        "it broke on day one": [(0, 3)],
        "fine for what it costs": [(1, 1), (2, 2)],
        "arrived on monday": [(0, 1), (1, 2), (2, 1)],
        "nothing to add": [(0, 1), (2, 1)],
    }
    assert (entry["duplicates"], entry["left_out"]) == (5, {})
    in_splits = [set(map(str.casefold, run.texts(split))) for split in SPLITS]
    assert not in_splits[0] & in_splits[1] and not in_splits[0] & in_splits[2]
