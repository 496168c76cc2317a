"""Figures of `evaluate`, recomputed from what it publishes."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, classification_report, f1_score

from tests.pipelines.test_prepare import _examples


@pytest.fixture(scope="module")
def predictions(evaluation):
    return pd.read_parquet(evaluation / "predictions")


@pytest.fixture(scope="module")
def metrics(evaluation):
    return json.loads((evaluation / "metrics.json").read_text())


def test_predictions_hold_each_example_once(predictions, dataset):
    examples = _examples(dataset, "test")
    names = ["negative", "neutral", "positive"]
    expected = {
        e["id"].numpy().decode(): (
            e["language"].numpy().decode(),
            names[int(e["label"])],
        )
        for e in examples
    }
    assert len(predictions) == len(examples)
    found = {row.id: (row.language, row.true_label) for row in predictions.itertuples()}
    assert found == expected


def test_figures_are_those_of_scikit_learn(predictions, metrics):
    slices = {None: predictions} | dict(list(predictions.groupby("language")))
    assert len(slices) == 1 + len(metrics["languages"])
    for language, rows in slices.items():
        found = (
            metrics["overall"] if language is None else metrics["languages"][language]
        )
        true, label = rows["true_label"], rows["label"]
        assert found["rows"] == len(rows)
        assert found["accuracy"] == pytest.approx(
            accuracy_score(true, label), abs=1e-12
        )
        for average in ("macro", "weighted"):
            f1 = f1_score(true, label, average=average, zero_division=0)
            assert found[average]["f1"] == pytest.approx(f1, abs=1e-12)
        report = classification_report(
            true,
            label,
            labels=metrics["label_names"],
            output_dict=True,
            zero_division=0,
        )
        for name, figures in found["classes"].items():
            assert figures["precision"] == pytest.approx(report[name]["precision"])
            assert figures["recall"] == pytest.approx(report[name]["recall"])
            assert figures["support"] == report[name]["support"]
        assert np.sum(found["confusion_matrix"]) == len(rows)


def test_the_report_is_readable(evaluation, metrics):
    report = (evaluation / "report.txt").read_text()
    assert f"{metrics['overall']['accuracy']:.3f}" in report
    assert "neutral" in report and "macro F1" in report


def test_another_text_rule_is_refused(
    command, write_config, configs, model, dataset, tmp_path
):
    import shutil

    other = tmp_path / "other"
    shutil.copytree(dataset, other)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["text"]["max_tokens"] = 32
    (other / "manifest.json").write_text(json.dumps(manifest))
    code, _, err = command(
        "evaluate", "--config", write_config({}), "--model", model,
        "--dataset", other, "--output", tmp_path / "out",
    )  # fmt: skip
    assert code == 2
    assert "text rules differ" in err
    assert not (tmp_path / "out").exists()


def test_a_tampered_model_is_refused(command, write_config, model, dataset, tmp_path):
    import shutil

    other = tmp_path / "model"
    shutil.copytree(model, other)
    path = other / "model.json"
    path.write_text(path.read_text().replace('"positive"', '"excellent"'))
    code, _, err = command(
        "evaluate", "--config", write_config({}), "--model", other,
        "--dataset", dataset, "--output", tmp_path / "out",
    )  # fmt: skip
    assert code == 2
    assert "model.json" in err and "not the file that its manifest describes" in err
