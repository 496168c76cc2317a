"""Figures of `evaluate`, recomputed from its folder by pandas and scikit-learn alone.

The models are formulas whose logits are whole numbers, so that many scores are equal.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sentencepiece
import yaml

from tests.components.evaluation.oracle import by_scikit_learn
from tests.pipelines.fake_models import write_model
from tests.pipelines.test_prepare_rules import (
    Run,
    reviews,
    run_command,
    run_prepare,
    settings,
    write,
)

NAMES = {
    "binary": ["bad", "good"],
    "multiclass": ["negative", "neutral", "positive"],
    "multilabel": ["battery", "price", "service"],
    "ordinal": ["1", "2", "3", "4", "5"],
}
MAPPINGS = {
    "binary": {"1": "bad", "2": "bad", "3": "bad", "4": "good", "5": "good"},
    "multiclass": {
        "1": "negative",
        "2": "negative",
        "3": "neutral",
        "4": "positive",
        "5": "positive",
    },
}
THRESHOLDS = {"binary": [0.4], "multilabel": [0.3, 0.5, 0.7]}
LENGTHS = [0, 16, 32, 64, 128, 256, 512, np.inf]
CONFIG = {
    "slices": ["language", "length", "truncated", "shop", "keep.score"],
    "min_slice_rows": 20,
    "bootstrap": {"resamples": 60, "seed": 3},
    "inference": {"engine": "tensorflow", "batch_tokens": 4096},  # not to be measured
}


def corpus():
    """Reviews of 15 to 100 tokens, some of them more than once."""
    records = []
    for n, record in enumerate(reviews(240)):
        record["text"] += " fits" * (n % 80)
        topics = [t for bit, t in enumerate(NAMES["multilabel"]) if n >> bit & 1]
        shop = ("north", "south", "west", None)[n // 8 % 4]
        lang = record["lang"] if n % 11 else None
        more = {"topics": topics, "shop": shop, "score": f"s{n % 2}", "lang": lang}
        copies = 1 + (n % 4 == 0) * 2
        records += [
            record | more | {"id": f"{record['id']}-{i}"} for i in range(copies)
        ]
    return records


@dataclasses.dataclass(frozen=True)
class Case:
    """A type of labels: its dataset, model and evaluation."""

    kind: str
    folder: Path
    encoder: Path
    evaluation: Run

    @property
    def frame(self):
        return pd.read_parquet(self.evaluation.output / "predictions")

    @property
    def metrics(self):
        return json.loads((self.evaluation.output / "metrics.json").read_text())

    def evaluate(self, name, config, *arguments):
        """Evaluates the model into a folder of that name."""
        if "--gold" not in arguments:
            arguments = (*arguments, "--dataset", self.folder / "dataset")
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(config))
        command = ["evaluate", "--config", path, "--model", self.folder / "model"]
        return run_command(*command, *arguments, output=self.folder / name)


@pytest.fixture(scope="module", params=list(NAMES))
def case(request, tmp_path_factory, tiny_encoder):
    kind = request.param
    folder = tmp_path_factory.mktemp(kind)
    data = settings(tiny_encoder, write(folder / "corpus.jsonl", corpus()))
    data["labels"] = {
        "type": kind,
        "names": NAMES[kind],
        "mapping": MAPPINGS.get(kind, {}),
    }
    data["split"] = {"validation": 0.1, "test": 0.7}
    data["columns"]["keep"] = ["shop", "score"]
    if kind == "multilabel":
        data["columns"]["label"] = "topics"
    prepared = run_prepare(folder, data)
    assert prepared.code == 0, prepared.err
    calibration = {"temperature": 2.0, "thresholds": THRESHOLDS.get(kind, [])}
    write_model(folder / "model", prepared.output, Path(tiny_encoder), calibration)
    made = Case(kind, folder, Path(tiny_encoder), None)
    evaluation = made.evaluate("evaluation", CONFIG)
    assert evaluation.code == 0, evaluation.err
    return dataclasses.replace(made, evaluation=evaluation)


def recomputed(frame, kind, weights=None):
    """The figures of some predictions, by scikit-learn."""
    names = NAMES[kind]

    def decisions(column):
        if kind != "multilabel":
            return column.map(names.index).to_numpy()
        return np.array([[int(name in row) for name in names] for row in column])

    true, predicted = decisions(frame["true_label"]), decisions(frame["label"])
    probabilities = np.array(frame["probabilities"].tolist(), np.float64)
    return by_scikit_learn(true, predicted, probabilities, kind, names, weights)


def assert_equal(measured, frame, kind, weights=None):
    expected = recomputed(frame, kind, weights)
    found = {n: f["value"] for n, f in measured["figures"].items()}
    ece = found.pop("ece")
    assert 0 <= ece <= 1
    assert {n for n, value in found.items() if value is not None} == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name
    assert measured["rows"] == len(frame)
    for name, figure in measured["figures"].items():
        assert figure["value"] is not None or figure["reason"], name
        if figure["interval"] is not None:
            low, high = figure["interval"]
            assert low <= high, name


def by_slice(frame, name):
    """Rows of each slice, as pandas cuts them."""
    if name == "length":
        labels = ["1-16", "17-32", "33-64", "65-128", "129-256", "257-512"]
        labels = [f"{label} tokens" for label in labels] + ["513 tokens or more"]
        keys = pd.cut(frame["tokens"], LENGTHS, labels=labels).astype(str)
    elif name == "truncated":
        keys = frame["truncated"].map({True: "yes", False: "no"})
    else:
        missing = "(unknown)" if name == "language" else "(missing)"
        keys = frame[name].fillna(missing)
    return dict(list(frame.groupby(keys)))


def test_all_rows_equal_scikit_learn(case):
    assert_equal(case.metrics["overall"], case.frame, case.kind)
    assert case.metrics["overall"]["figures"]["accuracy"]["interval"] is not None


@pytest.mark.parametrize("name", CONFIG["slices"])
def test_slices_equal_scikit_learn(case, name):
    expected, found = by_slice(case.frame, name), case.metrics["slices"][name]
    assert found.keys() == expected.keys()
    assert len(found) > 1
    for value, rows in expected.items():
        assert_equal(found[value], rows, case.kind)
        assert found[value]["too_small"] == (len(rows) < 20)
    if name == "language":
        assert case.metrics["languages"] == found


def test_weighted_figures_equal_scikit_learn(case):
    config = CONFIG | {"weight_by": "count", "slices": ["shop"]}
    evaluation = case.evaluate("weighted", config)
    assert evaluation.code == 0, evaluation.err
    frame = pd.read_parquet(evaluation.output / "predictions")
    metrics = json.loads((evaluation.output / "metrics.json").read_text())

    assert set(frame["count"]) == {1, 3}
    assert_equal(metrics["overall"], frame, case.kind, frame["count"].to_numpy())
    for value, rows in by_slice(frame, "shop").items():
        count = rows["count"].to_numpy()
        assert_equal(metrics["slices"]["shop"][value], rows, case.kind, count)
    plain = case.metrics["overall"]["figures"]
    assert metrics["overall"]["figures"]["accuracy"]["value"] != pytest.approx(
        plain["accuracy"]["value"]
    )


def test_predictions_hold_what_slices_need(case):
    """Tokens are those of the whole text, which the encoder's own library counts."""
    path = str(case.encoder / "sentencepiece.bpe.model")
    pieces = sentencepiece.SentencePieceProcessor(model_file=path)
    records = {record["id"]: record for record in corpus()}
    for row in case.frame.itertuples(index=False):
        record = records[row.id]
        tokens = len(pieces.encode(record["text"])) + 2
        assert (row.tokens, row.truncated) == (tokens, tokens > 64)
        assert row.shop == record["shop"]
        assert row.count == 1 + (int(row.id[1:5]) % 4 == 0) * 2
    # Some texts fill the model's length exactly, and lost nothing.
    assert ((case.frame["tokens"] == 64) & ~case.frame["truncated"]).any()
    assert case.frame["truncated"].any()
    kept = case.frame["keep.score"]  # "score" is a column of the predictions' own
    assert kept.tolist() == [records[i]["score"] for i in case.frame["id"]]


def test_calibration_is_judged_by_language(case):
    judged = case.metrics["calibration"]
    rows = case.frame["language"].fillna("(unknown)").value_counts().to_dict()

    assert (judged["max_ece"], judged["min_rows"]) == (0.05, 1000)
    found = judged["languages"]
    assert {name: entry["rows"] for name, entry in found.items()} == rows
    for entry in found.values():
        limit = entry["if_calibrated"][1]
        expected = "not distinguishable from calibrated"
        if entry["p_value"] < 0.05:
            expected = "not calibrated"
            assert entry["expected_calibration_error"] > 0.9 * limit
        assert entry["verdict"] == expected
        assert len(entry["interval"]) == 2


def test_mistakes_are_told_by_id_and_texts_by_the_privacy_rule(case):
    records = {record["id"]: record for record in corpus()}
    frame = case.frame.set_index("id")
    mistakes = case.metrics["mistakes"]
    assert len(mistakes) == 20
    assert all("text" not in mistake for mistake in mistakes)
    for mistake in mistakes:
        row = frame.loc[mistake["id"]]
        assert list(np.atleast_1d(row["true_label"])) != list(
            np.atleast_1d(row["label"])
        )
    confidence = [mistake["confidence"] for mistake in mistakes]
    assert confidence == sorted(confidence, reverse=True)
    report = (case.evaluation.output / "report.txt").read_text()
    assert mistakes[0]["id"] in report and "shines" not in report

    config = {"privacy": {"text": "full"}, "mistakes": 5, "bootstrap": {"resamples": 0}}
    config["inference"] = CONFIG["inference"]
    shown = case.evaluate(f"shown-{case.kind}", config)
    metrics = json.loads((shown.output / "metrics.json").read_text())
    assert len(metrics["mistakes"]) == 5
    for mistake in metrics["mistakes"]:
        assert mistake["text"] == records[mistake["id"]]["text"]
    assert "shines" in (shown.output / "report.txt").read_text()
    assert "shines" not in shown.out
    masked = case.evaluate("masked", config | {"privacy": {"text": "redacted"}})
    for mistake in json.loads((masked.output / "metrics.json").read_text())["mistakes"]:
        number = int(mistake["id"][1:5])
        assert ("[number]" in mistake["text"]) == (number > 99)


def test_report_and_summary(case):
    report = (case.evaluation.output / "report.txt").read_text()
    figure = case.metrics["overall"]["figures"]["macro_f1"]
    low, high = figure["interval"]
    for text in (report, case.evaluation.out):
        assert f"{figure['value']:.3f}" in text
        assert f"{low:.3f} to {high:.3f}" in text
        assert "Per language" in text and "Calibration" in text
        worst = case.metrics["worst_slices"][0]
        assert f"{worst['slice']}: {worst['value']}" in text
    assert "Per class" in report


def test_the_same_again_has_the_same_bytes(case):
    again = case.evaluate("again", CONFIG)
    for name in ("metrics.json", "report.txt"):
        first = (case.evaluation.output / name).read_bytes()
        assert (again.output / name).read_bytes() == first


def test_an_unknown_slice_is_refused_before_anything_runs(case):
    found = case.evaluate("unknown", CONFIG | {"slices": ["shopp"]})
    assert found.code == 2
    assert "'shopp' (did you mean 'shop'?)" in found.err
    assert not found.output.exists()
