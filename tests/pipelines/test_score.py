"""Scores: every row once, the same whatever surrounds it, and only what is new."""

import gzip
import json
import os
import shutil

import keras
import keras_hub  # noqa: F401  (the layers of model.keras)
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from reviewbeam.components.common.model_directory import open_model
from reviewbeam.components.inference.handler import ClassifierHandler
from reviewbeam.components.tokenization.tokenizer import Tokenizer
from reviewbeam.pipelines import score as score_job
from reviewbeam.pipelines import score_graph
from reviewbeam.pipelines.predict import predict
from tests.pipelines.conftest import SAMPLE
from tests.pipelines.test_prepare import _examples

IN_CHUNKS = {"engine": "tensorflow", "chunk_rows": 10, "batch_tokens": 4096}


def _read(scores):
    return pd.read_parquet(scores).set_index("id").sort_index()


def _probabilities(frame):
    return np.stack(frame["probabilities"].to_list())


def _manifest(scores):
    ((_, version),) = json.loads((scores / "_manifest.json").read_text())[
        "versions"
    ].items()
    return version


def _write(path, records):
    path.parent.mkdir(exist_ok=True)
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    data = lines.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture
def run_score(command, write_config, configs, model, tmp_path):
    """Returns a function that scores a glob into a folder: code, stdout, stderr."""

    def run(glob, output="scores", **changes):
        config = write_config(configs["score"] | changes)
        return command(
            "score", "--config", config, "--model", model, "--input", glob,
            "--output", tmp_path / output,
        )  # fmt: skip

    return run


def test_every_new_arrival_has_a_score(scores, arrivals):
    frame = _read(scores)
    assert sorted(frame.index) == sorted(record["id"] for record in arrivals)
    by_id = {record["id"]: record for record in arrivals}
    for row in frame.itertuples():
        assert row.product == by_id[row.Index]["product"]
        assert row.language == by_id[row.Index]["language"]
        best = int(np.argmax(row.probabilities))
        assert row.label == ["negative", "neutral", "positive"][best]
        assert row.score == row.probabilities[best]
    np.testing.assert_allclose(_probabilities(frame).sum(1), 1, atol=1e-6)
    (entry,) = _manifest(scores)["files"]
    assert (entry["rows"], entry["written"], entry["rejected"]) == (100, 100, {})
    assert not (scores / "_staged").exists()


def test_scores_differ_between_texts(scores):
    assert _probabilities(_read(scores)).std(axis=0).min() > 1e-4


def test_another_folder_gets_the_same_bytes(run_score, scores, tmp_path):
    assert run_score(SAMPLE / "new_arrivals.jsonl", "again")[0] == 0
    for path in scores.rglob("*"):
        if path.is_file() and path.name not in ("_run.json", "_report.html"):
            other = tmp_path / "again" / path.relative_to(scores)
            assert other.read_bytes() == path.read_bytes(), path


def test_a_score_depends_on_nothing_but_the_text(
    run_score, scores, arrivals, model, tmp_path
):
    expected = _read(scores)
    _write(tmp_path / "in" / "reversed.jsonl", arrivals[::-1])
    settings = {
        "inference": {"batch_tokens": 150, "chunk_rows": 7},  # the fastest engine
        "slice_bytes": 1500,
    }
    assert run_score(tmp_path / "in" / "*.jsonl", **settings)[0] == 0
    frame = _read(tmp_path / "scores")
    np.testing.assert_allclose(
        _probabilities(frame), _probabilities(expected), atol=1e-5, rtol=0
    )
    assert (frame["label"] == expected["label"]).all()

    texts = [record["text"] for record in arrivals]
    answers = predict(model, texts) + predict(model, texts[:1])
    for record, answer in zip([*arrivals, arrivals[0]], answers, strict=True):
        row = expected.loc[record["id"]]
        assert answer.label == row["label"]
        np.testing.assert_allclose(
            list(answer.probabilities.values()), row["probabilities"], atol=1e-5
        )


def test_keras_file_and_saved_model_agree_at_any_padding(scores, arrivals, model):
    directory = open_model(str(model))
    texts = pa.array([record["text"] for record in arrivals])
    tokens = Tokenizer(directory.vocabulary, directory.metadata.text).encode(texts)
    keras_model = keras.models.load_model(model / "model.keras")
    signature = tf.saved_model.load(directory.saved_model).signatures["serving_default"]
    expected = _read(scores)
    token_ids = tokens["token_ids"].to_pylist()
    for record, ids in zip(arrivals[:30], token_ids[:30], strict=True):
        for padding in (0, 9):
            padded = np.array([ids + [1] * padding], np.int32)
            mask = (np.arange(padded.shape[1]) < len(ids)).astype(np.int32)[None]
            of_signature = signature(
                token_ids=tf.constant(padded), padding_mask=tf.constant(mask)
            )["probabilities"].numpy()
            of_keras = keras_model({"token_ids": padded, "padding_mask": mask}).numpy()
            wanted = expected.loc[record["id"]]["probabilities"]
            np.testing.assert_allclose(of_signature[0], wanted, atol=1e-5)
            np.testing.assert_allclose(of_keras[0], wanted, atol=1e-5)


def test_prepare_score_and_predict_give_the_same_token_ids(
    run_score, dataset, model, monkeypatch
):
    seen = []
    infer = ClassifierHandler._infer

    def listens(self, chunk, loaded):
        ids = chunk.column("id").to_pylist()
        seen.append(dict(zip(ids, chunk.column("token_ids").to_pylist(), strict=True)))
        return infer(self, chunk, loaded)

    monkeypatch.setattr(ClassifierHandler, "_infer", listens)
    prepared = {}
    for split in ("train", "validation", "test"):
        for example in _examples(dataset, split):
            token_ids = example["token_ids"].numpy().tolist()
            prepared[example["id"].numpy().decode()] = token_ids
    assert run_score(SAMPLE / "reviews.jsonl")[0] == 0
    (scored,) = seen
    assert {i: scored[i] for i in prepared if i in scored} == {
        i: ids for i, ids in prepared.items() if i.startswith("r")
    }

    lines = (SAMPLE / "reviews.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    for record in records[:5]:
        predict(model, [record["text"]])
        assert list(seen[-1].values()) == [scored[record["id"]]]


def test_only_new_and_changed_files_are_scored(run_score, arrivals, tmp_path):
    folder = tmp_path / "in"
    _write(folder / "a.jsonl", arrivals[:40])
    assert run_score(folder / "*.jsonl")[0] == 0
    first = {p: p.stat().st_mtime_ns for p in tmp_path.glob("scores/model_version=*/*")}

    code, out, _ = run_score(folder / "*.jsonl")
    assert code == 0
    assert "0 rows read from 0 new files" in out and "earlier run" not in out
    after = {p: p.stat().st_mtime_ns for p in tmp_path.glob("scores/model_version=*/*")}
    assert after == first

    _write(folder / "b.jsonl.gz", arrivals[40:])
    _write(folder / "a.jsonl", arrivals[:30])
    assert run_score(folder / "*.jsonl*")[0] == 0
    ids = pd.read_parquet(tmp_path / "scores")["id"]
    expected = [r["id"] for r in arrivals[:30] + arrivals[40:]]
    assert sorted(ids) == sorted(expected)
    parts_on_disk = {p.name for p in tmp_path.glob("scores/model_version=*/*")}
    listed = [chunk["part"] for chunk in _manifest(tmp_path / "scores")["chunks"]]
    assert sorted(parts_on_disk) == sorted(listed)


def test_broken_rows_leave_as_rejects(run_score, arrivals, tmp_path):
    shutil.copy(SAMPLE / "broken.jsonl", tmp_path / "broken.jsonl")
    code, out, _ = run_score(tmp_path / "broken.jsonl", slice_bytes=1024)
    assert code == 0
    rejects = pd.read_parquet(next(tmp_path.glob("scores/_rejects/*")))
    (entry,) = _manifest(tmp_path / "scores")["files"]
    assert entry["rows"] == 35 == len(rejects) + entry["written"]
    assert sum(entry["rejected"].values()) == len(rejects)
    raw = (SAMPLE / "broken.jsonl").read_bytes().split(b"\n")
    for row in rejects.itertuples():
        assert row.raw == raw[row.row - 1].removesuffix(b"\r")
    assert "rejected, malformed_json" in out


def test_a_damaged_file_is_left_out_and_named(run_score, arrivals, tmp_path):
    _write(tmp_path / "in" / "good.jsonl", arrivals[:20])
    _write(tmp_path / "in" / "cut.jsonl.gz", arrivals[20:])
    whole = (tmp_path / "in" / "cut.jsonl.gz").read_bytes()
    (tmp_path / "in" / "cut.jsonl.gz").write_bytes(whole[:-20])
    code, _, err = run_score(tmp_path / "in" / "*")
    assert code == 1
    assert "cut.jsonl.gz is damaged" in err and "Traceback" not in err
    assert len(pd.read_parquet(tmp_path / "scores")) == 20

    (tmp_path / "in" / "cut.jsonl.gz").write_bytes(whole)
    assert run_score(tmp_path / "in" / "*")[0] == 0
    assert len(pd.read_parquet(tmp_path / "scores")) == 100


def test_a_rerun_takes_over_what_was_staged(run_score, tmp_path, monkeypatch):
    """A run that dies has lost nothing of the chunks that it had finished."""
    written = []
    real = score_graph.write_record

    def dies_at_the_fourth(directory, record):
        if len(written) == 3:
            raise OSError("the machine went away")
        written.append(record.name)
        real(directory, record)

    settings = {"inference": IN_CHUNKS}
    monkeypatch.setattr(score_graph, "write_record", dies_at_the_fourth)
    code, _, err = run_score(SAMPLE / "new_arrivals.jsonl", **settings)
    assert code == 1 and "the machine went away" in err
    assert not list(tmp_path.glob("scores/model_version=*"))

    again = []

    def counts(directory, record):
        again.append(record.name)
        real(directory, record)

    monkeypatch.setattr(score_graph, "write_record", counts)
    code, out, _ = run_score(SAMPLE / "new_arrivals.jsonl", **settings)
    assert code == 0 and "  30 of these rows were finished by an earlier run\n" in out
    assert len(again) == 7 + 1 and not set(again) & set(written)  # and the unit
    assert len(pd.read_parquet(tmp_path / "scores")) == 100


def test_too_many_rejects_publish_nothing(run_score, tmp_path):
    rules = {"max_reject_fraction": 0.1}
    code, _, err = run_score(SAMPLE / "broken.jsonl", rules=rules)
    assert code == 3
    assert "of 35 rows are rejects" in err
    assert not list(tmp_path.glob("scores/model_version=*"))


def test_a_header_is_looked_at_before_the_model_runs(run_score, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for name in ("a.csv", "b.csv"):
        (tmp_path / "in" / name).write_text("review;language\nFine;en\n")
    with monkeypatch.context() as patch:
        patch.setattr(score_job, "resolve_for_output", None)  # would be called
        code, _, err = run_score(tmp_path / "in" / "*.csv")
        assert code == 2 and "a.csv has no column" in err and "csv_delimiter" in err
    pq.write_table(
        pa.table({name: ["en"] for name in ("id", "text", "language", "product")}),
        tmp_path / "in" / "c.parquet",
    )
    code, _, err = run_score(tmp_path / "in" / "*")  # those that are wrong are skipped
    assert code == 1 and "a.csv has no column" in err
    assert len(pd.read_parquet(tmp_path / "scores")) == 1


def test_a_foreign_folder_is_left_alone(run_score, tmp_path):
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "thesis.txt").write_text("mine")
    code, _, err = run_score(SAMPLE / "new_arrivals.jsonl")
    assert code == 2
    assert "was not made by reviewbeam" in err
    assert [p.name for p in (tmp_path / "scores").iterdir()] == ["thesis.txt"]


def test_a_kill_while_publishing_is_made_good(run_score, tmp_path, monkeypatch):
    settings = {"inference": IN_CHUNKS}
    move, moved = os.replace, []

    def dies_at_the_fourth(source, target):
        if "model_version=" in str(target):
            if len(moved) == 3:
                raise OSError("the machine went away")
            moved.append(target)
        move(source, target)

    monkeypatch.setattr(os, "replace", dies_at_the_fourth)
    assert run_score(SAMPLE / "new_arrivals.jsonl", **settings)[0] == 1
    manifest = json.loads((tmp_path / "scores" / "_manifest.json").read_text())
    assert manifest["versions"] == {}
    monkeypatch.undo()
    assert run_score(SAMPLE / "new_arrivals.jsonl", **settings)[0] == 0
    assert len(pd.read_parquet(tmp_path / "scores")) == 100


def test_parts_that_the_manifest_does_not_list_are_removed(run_score, tmp_path):
    """Such as those of a changed file, where a run was killed before it was done."""
    assert run_score(SAMPLE / "new_arrivals.jsonl")[0] == 0
    (part,) = tmp_path.glob("scores/model_version=*/*")
    shutil.copy(part, part.with_name("part-0000.parquet"))
    assert run_score(SAMPLE / "new_arrivals.jsonl")[0] == 0
    assert list(tmp_path.glob("scores/model_version=*/*")) == [part]


def test_files_of_two_days_may_have_the_same_name(run_score, arrivals, tmp_path):
    _write(tmp_path / "monday" / "a.jsonl", arrivals[:30])
    _write(tmp_path / "tuesday" / "a.jsonl", arrivals[30:])
    assert run_score(tmp_path / "monday" / "*.jsonl")[0] == 0
    assert run_score(tmp_path / "tuesday" / "*.jsonl")[0] == 0
    assert len(_read(tmp_path / "scores")) == 100
    code, out, _ = run_score(tmp_path / "*" / "a.jsonl")
    assert code == 0 and "0 rows read from 0 new files" in out


def test_a_gate_that_is_opened_takes_over_the_staged_work(
    run_score, tmp_path, monkeypatch
):
    rules = {"max_reject_fraction": 0.1}
    code, _, err = run_score(SAMPLE / "broken.jsonl", rules=rules)
    assert code == 3 and "Rejected rows: " in err and "Report: " in err
    staged = [p.name for p in tmp_path.glob("scores/_staged/*/part-*")]
    assert staged
    modes = {
        p.stat().st_mode & 0o77 for p in tmp_path.glob("scores/_staged/*/rejects-*")
    }
    assert modes == {0}

    def never(*arguments):
        raise AssertionError("nothing was left to infer")

    monkeypatch.setattr(ClassifierHandler, "_infer", never)
    assert run_score(SAMPLE / "broken.jsonl", rules={"max_reject_fraction": 1})[0] == 0
    published = [p.name for p in tmp_path.glob("scores/model_version=*/*")]
    assert published == staged


def test_a_cut_parquet_file_is_left_out_and_named(run_score, arrivals, tmp_path):
    _write(tmp_path / "in" / "good.jsonl", arrivals[:20])
    path = tmp_path / "in" / "cut.parquet"
    pq.write_table(pa.Table.from_pylist(arrivals[20:]), path)
    path.write_bytes(path.read_bytes()[:-10])
    code, _, err = run_score(tmp_path / "in" / "*")
    assert code == 1
    assert "cut.parquet is damaged" in err
    assert len(pd.read_parquet(tmp_path / "scores")) == 20


def test_a_mistake_leaves_no_output(run_score, configs, arrivals, tmp_path):
    columns = configs["score"]["columns"] | {"text": "txt"}
    code, _, err = run_score(SAMPLE / "new_arrivals.jsonl", columns=columns)
    assert code == 2
    assert "no column 'txt'" in err and "did you mean 'text'" in err
    assert not (tmp_path / "scores").exists()

    _write(tmp_path / "in" / "a.jsonl", arrivals[:10])
    assert run_score(tmp_path / "in" / "a.jsonl")[0] == 0
    assert run_score(SAMPLE / "new_arrivals.jsonl", columns=columns)[0] == 2
    assert len(pd.read_parquet(tmp_path / "scores")) == 10
    assert not (tmp_path / "scores" / "_staged").exists()
