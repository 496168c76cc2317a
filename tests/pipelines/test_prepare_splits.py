"""Splits by time, by a column and by hash; what is added to train; told languages."""

import datetime
import json
from collections import Counter

import pytest
import yaml

from reviewbeam.components.common import language_detector
from tests.pipelines.conftest import SAMPLE
from tests.pipelines.fake_models import write_model
from tests.pipelines.test_prepare_rules import (
    SPLITS,
    reviews,
    run_command,
    run_prepare,
    settings,
    settled,
    shards,
    write,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("splits")


def _grouped(encoder, path, **changes):
    data = settings(encoder, path, **changes)
    data["columns"]["keep"] = ["user", "at"]
    return data


def _by_split(run, what):
    return {split: {e[what] for e in run.examples(split)} - {None} for split in SPLITS}


def _overlap(values):
    return any(
        values[one] & values[other]
        for one, other in (
            ("train", "validation"),
            ("train", "test"),
            ("validation", "test"),
        )
    )


def _same(text):
    return " ".join(text.split()).casefold()


@pytest.fixture(scope="module")
def by_time(folder, tiny_encoder):
    """A review an hour, of a user each ten; the last two days are the test."""
    start = datetime.datetime(2024, 3, 1, tzinfo=datetime.UTC)
    records = []
    for number, record in enumerate(reviews(200)):
        at = start + datetime.timedelta(hours=number)
        zone = datetime.timezone(datetime.timedelta(hours=9))
        given = (at.isoformat(), int(at.timestamp()), at.astimezone(zone).isoformat())
        user = f"u{number // 10}" if number % 4 else None
        records.append(record | {"at": given[number % 3], "user": user})
    for number in (3, 50, 100):  # earlier reviews of a user in the test
        records[number]["user"] = "u19"
    old_copy = {"text": records[199]["text"].upper(), "id": "copy", "user": None}
    records.append(records[8] | old_copy)
    records += [r | {"at": "yesterday"} for r in reviews(1, 900)]
    records += [r | {"at": None} for r in reviews(1, 901)]
    path = write(folder / "time.jsonl", records)
    split = {"time_column": "at", "test_days": 2, "group_by": "user", "validation": 0.2}
    data = _grouped(tiny_encoder, path, split=split, slice_bytes=4096)
    return run_prepare(folder, data, name="by_time"), records


def test_the_last_days_are_the_test(by_time):
    run, records = by_time
    assert run.code == 0, run.err
    number = {_same(r["text"]): n for n, r in enumerate(records[:200])}
    test = {number[_same(text)] for text in run.texts("test")}
    assert test == set(range(152, 200))
    before = {number[_same(t)] for t in run.texts("train", "validation")}
    # What u15 wrote before the test begins is left out as well.
    assert before == set(range(152)) - {3, 50, 100, 150, 151}
    assert run.manifest["splits"]["validation"]["examples"] > 0


def test_no_user_and_no_text_is_in_two_splits_by_time(by_time):
    run, _ = by_time
    assert not _overlap(
        {s: {_same(e["text"]) for e in run.examples(s)} for s in SPLITS}
    )
    assert not _overlap(_by_split(run, "user"))


def test_each_review_that_time_leaves_out_is_counted(by_time):
    run, _ = by_time
    (entry,) = run.entries.values()
    assert entry["rows"] == settled(entry) == 203
    assert entry["left_out"] == {"group_conflict": 5, "split_conflict": 1}
    assert entry["rejected"] == {"time_invalid": 1, "time_missing": 1}
    assert run.rejected() == [(202, "time_invalid"), (203, "time_missing")]
    assert run.manifest["split"]["test_days"] == 2


@pytest.fixture(scope="module")
def by_column(folder, tiny_encoder):
    names = ["train", "train", "train", "valid", "test"]
    records = [
        r | {"part": names[n % 5], "user": f"u{n}", "at": None}
        for n, r in enumerate(reviews(100))
    ]
    records[0]["user"] = records[4]["user"]  # train and test
    records += [reviews(1, 900, part=p, user=None)[0] for p in ("holdout", "", None)]
    records += [records[9] | {"id": "again", "text": records[9]["text"].lower()}]
    records += [records[9] | {"id": "leak", "part": "train", "user": "v"}]
    for record in records:
        record.setdefault("at", None)
    path = write(folder / "column.jsonl", records)
    split = {"column": "part", "group_by": "user"}
    data = _grouped(tiny_encoder, path, split=split)
    return run_prepare(folder, data, name="by_column"), records


def test_a_column_names_the_split(by_column):
    run, records = by_column
    assert run.code == 0, run.err
    given = {r["id"]: r["part"] for r in records}
    names = {"train": {"train"}, "validation": {"valid"}, "test": {"test"}}
    for split in SPLITS:
        ids = [example["id"] for example in run.examples(split)]
        assert {given[i] for i in ids} == names[split]
        assert len(ids) == {"train": 59, "validation": 20, "test": 21}[split]
    assert not _overlap(_by_split(run, "user"))


def test_a_given_test_split_keeps_its_copies(by_column):
    run, _ = by_column
    ids = {example["id"] for example in run.examples("test")}
    assert {"r0009", "again"} <= ids
    assert "leak" not in {example["id"] for example in run.examples()}


def test_wrong_names_of_splits_are_rejects(by_column):
    run, _ = by_column
    (entry,) = run.entries.values()
    assert entry["rows"] == settled(entry) == 105
    assert entry["rejected"] == {"split_missing": 2, "split_unknown": 1}
    assert entry["left_out"] == {"group_conflict": 1, "split_conflict": 1}
    assert run.rejected() == [
        (101, "split_unknown"), (102, "split_missing"), (103, "split_missing")
    ]  # fmt: skip


def test_what_was_in_test_stays_there_when_the_corpus_grows(folder, tiny_encoder):
    write(folder / "small.jsonl", reviews(150))
    write(folder / "large.jsonl", reviews(150, 150))
    small = settings(tiny_encoder, folder / "small.jsonl")
    large = settings(tiny_encoder, folder / "*l*.jsonl")
    large["input"] = [str(folder / name) for name in ("large.jsonl", "small.jsonl")]
    large["split"]["validation"] = 0.4  # moves only between train and validation
    first = run_prepare(folder, small, name="small")
    second = run_prepare(folder, large, name="large")
    assert (first.code, second.code) == (0, 0)
    known = {r["text"] for r in reviews(150)}
    test = set(second.texts("test"))
    assert set(first.texts("test")) == test & known
    assert 30 < len(test & known) < 60 and len(test - known) > 30


@pytest.fixture(scope="module")
def sample():
    """The sample corpus, every third language missing; and the languages by id."""
    lines = (SAMPLE / "reviews.jsonl").read_text(encoding="utf-8").splitlines()
    records = list(map(json.loads, lines))
    languages = {record["id"]: record["language"] for record in records}
    for record in records[::3]:
        del record["language"]
    return records, languages


@pytest.fixture(scope="module")
def enriched(folder, tiny_encoder, sample):
    """A dataset with told languages and two copies of each training example."""
    write(folder / "told.jsonl", sample[0])
    data = {
        "encoder": str(tiny_encoder),
        "input": [str(folder / "told.jsonl")],
        "columns": {"text": "text", "label": "label", "language": "language",
                    "id": "id"},
        "labels": {"type": "multiclass", "names": ["negative", "neutral", "positive"]},
        "text": {"max_tokens": 64, "language": "detect"},
        "augment": {"copies": 2, "delete_words": 0.2, "subword_alpha": 0.3},
    }  # fmt: skip
    return run_prepare(folder, data, name="enriched"), data


def test_missing_languages_are_told_from_the_text(enriched, sample):
    run, _ = enriched
    assert run.code == 0, run.err
    records, languages = sample
    missing = {r["id"] for r in records if "language" not in r}
    told = {e["id"]: e["language"] for e in run.examples() if e["id"] in missing}
    known = {i: language for i, language in told.items() if language}
    assert sum(languages[i] == told[i] for i in known) > 0.95 * len(known)
    (entry,) = run.entries.values()
    repaired = entry["repaired"]["language_missing"]
    assert 0.7 * len(missing) < repaired < len(missing)
    assert entry["allowed"]["language_missing"] == len(missing) - repaired
    assert run.manifest["language_detector"] == language_detector.describe_detector()
    for example in run.examples():  # what was given stays
        if example["id"] not in missing:
            assert example["language"] == languages[example["id"]]


def test_copies_are_made_of_train_and_counted_apart(enriched):
    run, _ = enriched
    originals = {example["id"]: example for example in run.examples("train")}
    copies = run.examples("augmented")
    assert {copy["id"].rpartition("#")[2] for copy in copies} == {"aug1", "aug2"}
    assert len({copy["id"] for copy in copies}) == len(copies)
    for copy in copies:
        original = originals[copy["id"].rpartition("#")[0]]
        assert copy["label"] == original["label"]
        assert copy["token_ids"] != original["token_ids"]
    manifest = run.manifest
    told = manifest["augmented"]
    assert told["examples"] == len(copies) > 1.5 * len(originals)
    assert sum(told["labels"].values()) == len(copies)
    assert sum(s["examples"] for s in manifest["splits"].values()) == 480
    (entry,) = run.entries.values()
    assert sum(entry["written"].values()) == 480
    assert f"augmented {len(copies)}" in " ".join(run.out.split())


def test_copies_have_the_same_bytes_however_the_corpus_is_read(enriched, folder):
    run, data = enriched
    lines = (folder / "told.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "turned.jsonl").write_bytes(b"".join(lines[::-1]))
    data = data | {"input": [str(folder / "turned.jsonl")], "slice_bytes": 2048}
    again = run_prepare(folder, data, name="turned")
    assert again.code == 0
    assert shards(again) == shards(run)


@pytest.mark.slow
def test_train_learns_from_the_copies_too(enriched, folder, tiny_encoder):
    config = folder / "train.yaml"
    training = {"epochs": 1, "batch_tokens": 8192, "early_stopping_metric": "none"}
    config.write_text(
        yaml.safe_dump({"encoder": str(tiny_encoder), "training": training})
    )
    arguments = ["train", "--config", config, "--dataset", enriched[0].output]
    trained = run_command(*arguments, output=folder / "trained")
    assert trained.code == 0, trained.err
    told = json.loads((trained.output / "model.json").read_text())
    assert json.dumps(enriched[0].manifest["augmented"]["labels"]) in json.dumps(told)
    assert told["language_detector"] == language_detector.describe_detector()


@pytest.fixture(scope="module")
def model(enriched, folder, tiny_encoder):
    """A model that is a formula, of the dataset with told languages."""
    return write_model(folder / "model", enriched[0].output, tiny_encoder)


def test_score_refuses_another_language_detector(model, folder, monkeypatch, tmp_path):
    config = tmp_path / "score.yaml"
    data = {"columns": {"text": "text", "id": "id", "language": "language"}}
    config.write_text(yaml.safe_dump(data | {"input": [str(folder / "told.jsonl")]}))
    monkeypatch.setattr(language_detector, "_installed_version", lambda: "9.9")
    run = run_command(
        "score", "--config", config, "--model", model,
        output=tmp_path / "scores",
    )  # fmt: skip
    assert run.code == 2
    assert "pycld2 9.9 is installed" in run.err and "pip install" in run.err
    assert not (tmp_path / "scores").exists()


def test_score_tells_languages_as_prepare_did(model, enriched, folder, tmp_path):
    import pandas as pd

    config = tmp_path / "score.yaml"
    data = {"columns": {"text": "text", "id": "id", "language": "language"}}
    data["inference"] = {"engine": "tensorflow", "batch_tokens": 4096}  # unmeasured
    config.write_text(yaml.safe_dump(data | {"input": [str(folder / "told.jsonl")]}))
    run = run_command(
        "score", "--config", config, "--model", model,
        output=tmp_path / "scores",
    )  # fmt: skip
    assert run.code == 0, run.err
    scored = Counter(
        pd.read_parquet(run.output)[["id", "language"]]
        .astype(object)
        .where(lambda frame: frame.notna(), None)
        .itertuples(index=False, name=None)
    )
    for example in enriched[0].examples():
        assert scored[example["id"], example["language"]] == 1
