"""Evaluate, score and predict for every type of labels, by models of a formula.

What they publish is computed again from the examples' token ids, by SciPy.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import yaml
from scipy.special import expit, softmax
from sklearn.metrics import cohen_kappa_score, f1_score

from tests.pipelines.fake_models import formula, write_model
from tests.pipelines.test_prepare_rules import (
    reviews,
    run_command,
    run_prepare,
    settings,
    write,
)

TOPICS = ["battery", "price", "service"]
SCALE = ["1", "2", "3", "4", "5"]
LABELS = {
    "binary": {
        "names": ["bad", "good"],
        "mapping": {"1": "bad", "2": "bad", "3": "bad", "4": "good", "5": "good"},
    },
    "ordinal": {"names": SCALE},
    "multilabel": {"names": TOPICS},
}
CALIBRATIONS = {
    "binary": {
        "temperature": 2.0,
        "thresholds": [0.3],
        "languages": {"de": {"temperature": 4.0, "thresholds": [0.55]}},
    },
    "ordinal": {"temperature": 3.0, "languages": {"ja": {"temperature": 0.5}}},
    "multilabel": {
        "temperature": 1.5,
        "thresholds": [0.5, 0.8, 0.2],
        "languages": {"de": {"temperature": 1.0, "thresholds": [0.9, 0.9, 0.9]}},
    },
}

INFERENCE = {"engine": "tensorflow", "batch_tokens": 4096}  # not to be measured


@dataclasses.dataclass(frozen=True)
class Made:
    """One type of labels: its corpus, dataset, model, evaluation and scores."""

    kind: str
    folder: Path
    records: list[dict]

    @property
    def names(self):
        return LABELS[self.kind]["names"]

    def expected(self, token_ids, language):
        """Probabilities and labels of a text."""
        own = CALIBRATIONS[self.kind]
        own = own["languages"].get(language, own)
        values = formula(token_ids, len(self.names)) / own["temperature"]
        if self.kind == "multilabel":
            found = expit(values)
            given = zip(self.names, found, own["thresholds"], strict=True)
            return found, [name for name, p, threshold in given if p >= threshold]
        found = softmax(values)
        if self.kind == "binary":
            return found, self.names[int(found[1] >= own["thresholds"][0])]
        return found, self.names[int((found.cumsum() >= 0.5 - 1e-7).argmax())]


@pytest.fixture(scope="module", params=list(LABELS))
def made(request, tmp_path_factory, tiny_encoder):
    kind = request.param
    folder = tmp_path_factory.mktemp(kind)
    records = [
        r | {"topics": [t for bit, t in enumerate(TOPICS) if n >> bit & 1]}
        for n, r in enumerate(reviews(120))
    ]
    data = settings(tiny_encoder, write(folder / "corpus.jsonl", records))
    data["labels"] = {"type": kind} | LABELS[kind]
    data["split"] = {"validation": 0.2, "test": 0.5}
    if kind == "multilabel":
        data["columns"]["label"] = "topics"
    prepared = run_prepare(folder, data)
    assert prepared.code == 0, prepared.err
    encoder, calibration = Path(tiny_encoder), CALIBRATIONS[kind]
    write_model(folder / "model", prepared.output, encoder, calibration)
    return Made(kind, folder, records)


def _run(made, job, config, *arguments):
    path = made.folder / f"{job}.yaml"
    path.write_text(yaml.safe_dump(config))
    options = ["--config", path, "--model", made.folder / "model", *arguments]
    found = run_command(job, *options, output=made.folder / job)
    assert found.code == 0, found.err
    return found


@pytest.fixture(scope="module")
def evaluation(made):
    config = {"inference": INFERENCE}
    return _run(made, "evaluate", config, "--dataset", made.folder / "dataset")


@pytest.fixture(scope="module")
def scores(made):
    # Two chunks hold no usable row.
    blank = {"id": "blank", "text": " ", "lang": "de"}
    more = [r | {"id": f"n{r['id']}"} for r in made.records[:20]]
    write(made.folder / "new.jsonl", [blank, blank, *more])
    columns = {"text": "text", "id": "id", "language": "lang"}
    config = {"columns": columns, "inference": INFERENCE | {"chunk_rows": 1}}
    config["rules"] = {"max_reject_fraction": 1}
    return _run(made, "score", config, "--input", made.folder / "new.jsonl")


def _tokens(made):
    """Review's id -> token ids, of all examples."""
    files = [str(path) for path in (made.folder / "dataset").glob("*.tfrecord.gz")]
    features = {
        "token_ids": tf.io.RaggedFeature(tf.int64),
        "id": tf.io.FixedLenFeature([], tf.string),
    }
    found = {}
    for record in tf.data.TFRecordDataset(files, compression_type="GZIP"):
        example = tf.io.parse_single_example(record, features)
        found[example["id"].numpy().decode()] = example["token_ids"].numpy()
    return found


def _check_rows(made, frame, ids):
    tokens = _tokens(made)
    assert len(frame) == len(ids)
    for row, review in zip(frame.itertuples(), ids, strict=True):
        probabilities, label = made.expected(tokens[review], row.language)
        np.testing.assert_allclose(row.probabilities, probabilities, atol=1e-6)
        by_name = dict(zip(made.names, row.probabilities, strict=True))
        if made.kind == "multilabel":
            assert row.label.tolist() == label
            assert row.score.tolist() == [by_name[name] for name in label]
        else:
            assert row.label == label
            assert row.score == by_name[label]


def test_predictions_of_evaluate(made, evaluation):
    frame = pd.read_parquet(evaluation.output / "predictions")
    columns = ["id", "language", "true_label", "label", "score", "probabilities"]
    assert list(frame.columns) == [*columns, "tokens", "truncated", "count"]
    _check_rows(made, frame, frame["id"].tolist())

    by_id = {record["id"]: record for record in made.records}
    for row in frame.itertuples():
        record, true = by_id[row.id], row.true_label
        if made.kind == "multilabel":
            assert true.tolist() == record["topics"]
        elif made.kind == "ordinal":
            assert true == str(record["stars"])
        else:
            assert true == ("good" if record["stars"] > 3 else "bad")
    if made.kind == "multilabel":  # reviews with none, and with several
        assert {0, 3} < set(frame["true_label"].map(len))
        assert {0, 1, 2} <= set(frame["label"].map(len))
    else:
        assert set(frame["label"]) == set(made.names)


def test_figures_of_evaluate(made, evaluation):
    frame = pd.read_parquet(evaluation.output / "predictions")
    metrics = json.loads((evaluation.output / "metrics.json").read_text())
    overall, truth, given = metrics["overall"], frame["true_label"], frame["label"]

    assert (metrics["type"], metrics["label_names"]) == (made.kind, made.names)
    assert overall["rows"] == len(frame)
    assert set(metrics["languages"]) == {"de", "en", "ja"}
    if made.kind == "multilabel":
        pairs = [(set(t), set(g)) for t, g in zip(truth, given, strict=True)]
        assert overall["accuracy"] == pytest.approx(np.mean([t == g for t, g in pairs]))
        wrong = np.mean([len(t ^ g) / 3 for t, g in pairs])
        assert overall["hamming_loss"] == pytest.approx(wrong)
        for topic in TOPICS:
            arrays = zip(*[(topic in t, topic in g) for t, g in pairs], strict=True)
            found = overall["classes"][topic]
            assert found["f1"] == pytest.approx(f1_score(*map(list, arrays)))
            assert found["support"] == sum(topic in t for t, _ in pairs)
    else:
        assert overall["accuracy"] == pytest.approx((truth == given).mean())
        assert overall["macro"]["f1"] == pytest.approx(
            f1_score(truth, given, average="macro")
        )
    if made.kind == "ordinal":
        steps = (truth.astype(int) - given.astype(int)).abs()
        assert overall["mean_absolute_error"] == pytest.approx(steps.mean())
        assert overall["within_one"] == pytest.approx((steps <= 1).mean())
        kappa = cohen_kappa_score(truth, given, labels=SCALE, weights="quadratic")
        assert overall["quadratic_weighted_kappa"] == pytest.approx(kappa)
    assert 0 < overall["calibration"]["expected_calibration_error"] < 1
    report = (evaluation.output / "report.txt").read_text()
    figure = f"{overall['accuracy']:.3f}"
    assert figure in report and figure in evaluation.out


def test_scores(made, scores):
    frame = pd.read_parquet(scores.output).sort_values("id")
    assert frame["id"].tolist() == [f"n{r['id']}" for r in made.records[:20]]
    _check_rows(made, frame, [i.removeprefix("n") for i in frame["id"]])
    assert "2 rejected" in scores.out


def test_predict(made, command):
    tokens = _tokens(made)
    records = made.records[:12]
    texts = [record["text"] for record in records] + [" "]
    model = ("--model", made.folder / "model")
    code, out, _ = command("predict", *model, "--json", *texts)
    answers = json.loads(out)
    assert code == 0
    *answers, rejected = answers
    assert (rejected["label"], rejected["reject"]) == (None, "text_empty")
    for record, answer in zip(records, answers, strict=True):
        probabilities, label = made.expected(tokens[record["id"]], None)
        assert answer["label"] == label
        found = [answer["probabilities"][name] for name in made.names]
        np.testing.assert_allclose(found, probabilities, atol=1e-6)
        many = made.kind == "multilabel"
        scores = answer["score"] if many else [answer["score"]]
        labels = label if many else [label]
        assert scores == [answer["probabilities"][name] for name in labels]

    code, out, _ = command("predict", *model, *texts)
    *lines, rejected = out.splitlines()
    assert code == 0 and "rejected: text_empty" in rejected
    for line, answer in zip(lines, answers, strict=True):
        label, score = answer["label"], answer["score"]
        if made.kind == "multilabel":
            label = ", ".join(label) or "(none)"
            score = ", ".join(f"{one:.3f}" for one in score)
        else:
            score = f"{score:.3f}"
        assert line == f"{score:<5}  {label:<20}  {answer['text']}"


def test_predict_detects_languages_as_score_does(made, tmp_path, command, tiny_encoder):
    """By the calibration of a text's language, where the model detects it."""
    pytest.importorskip("pycld2")
    from reviewbeam.components.common.language_detector import describe_detector

    dataset = tmp_path / "dataset"
    dataset.mkdir()
    told = json.loads((made.folder / "dataset" / "manifest.json").read_text())
    told["language_detector"] = describe_detector()
    (dataset / "manifest.json").write_text(json.dumps(told))
    calibration = dict(CALIBRATIONS[made.kind])
    del calibration["languages"]
    calibration["languages"] = {"de": calibration | {"temperature": 50.0}}
    model = write_model(tmp_path / "m", dataset, Path(tiny_encoder), calibration)
    texts = [
        "Die Lampe ist leider schon nach einer Woche kaputt gegangen, sehr schade.",
        "The lamp broke after a week already, which is a great shame, sadly.",
    ]
    rows = [{"id": f"n{i}", "text": text} for i, text in enumerate(texts)]
    write(tmp_path / "new.jsonl", rows)
    config = tmp_path / "score.yaml"
    columns = {"text": "text", "id": "id"}
    config.write_text(yaml.safe_dump({"columns": columns, "inference": INFERENCE}))
    scored = run_command(
        "score", "--config", config, "--model", model,
        "--input", tmp_path / "new.jsonl", output=tmp_path / "scores",
    )  # fmt: skip
    assert scored.code == 0, scored.err

    code, out, _ = command("predict", "--model", model, "--json", *texts)
    frame = pd.read_parquet(tmp_path / "scores")
    assert code == 0 and frame["language"].tolist() == ["de", "en"]
    found = [list(answer["probabilities"].values()) for answer in json.loads(out)]
    assert found == [row.tolist() for row in frame["probabilities"]]
    assert np.ptp(found[0]) < 0.1 < np.ptp(found[1])
