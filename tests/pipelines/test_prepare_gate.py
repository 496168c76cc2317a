"""What stops a dataset: rejects, anomalies, drift; and what is left to look at."""

import json

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
import yaml
from tensorflow_metadata.proto.v0 import schema_pb2

from tests.pipelines.conftest import SAMPLE
from tests.pipelines.test_prepare_rules import (
    reviews,
    run_command,
    run_prepare,
    settings,
    write,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("gate")


@pytest.fixture(scope="module")
def gated(folder, tiny_encoder):
    """A run that the gate stopped: 12 of 72 rows are rejects, 10 of one file's 20."""
    write(folder / "good.jsonl", [*reviews(50), *reviews(2, 900, stars=None)])
    write(folder / "bad.jsonl", [*reviews(10, 50), *reviews(10, 910, stars="many")])
    rules = {"max_reject_fraction": 0.1, "max_reject_fraction_per_file": 0.3}
    inputs = folder / "good.jsonl", folder / "bad.jsonl"
    data = settings(tiny_encoder, *inputs, rules=rules)
    run = run_prepare(folder, data, name="gated")
    paths = folder.glob("gated.failed/**/*")
    return data, run, {p: p.stat().st_mode & 0o777 for p in paths}


def test_too_many_rejects_stop_the_dataset_with_both_reasons(gated, folder):
    _, run, _ = gated
    assert run.code == 3
    assert "12 of 72 rows are rejects (16.7%)" in run.err
    assert "rules.max_reject_fraction allows 10.0%" in run.err
    assert "bad.jsonl: 10 of 20 rows are rejects (50.0%)" in run.err
    assert "By rule: label_unknown 10." in run.err
    assert "good.jsonl:" not in run.err and "Traceback" not in run.err


def test_a_stopped_dataset_leaves_its_report_and_rejects(gated, folder):
    _, _, modes = gated
    names = {path.relative_to(folder).as_posix() for path in modes}
    rejects = [name for name in names if name.endswith(".parquet")]
    assert names - set(rejects) == {
        f"gated.failed/{name}"
        for name in ("report.json", "rejects", "schema.pbtxt", "statistics.tfrecord",
                     "report.html", "run.json")
    }  # fmt: skip
    assert rejects and all(modes[folder / name] == 0o600 for name in rejects)
    assert modes[folder / "gated.failed" / "rejects"] == 0o700


@pytest.fixture(scope="module")
def evidence(gated, folder):
    """What a person finds in the folder, read before a later run removes it."""
    failed = folder / "gated.failed"
    report = json.loads((failed / "report.json").read_text())
    return report, pd.read_parquet(failed / "rejects"), sorted(folder.glob("gated*/"))


@pytest.fixture(scope="module")
def passed(gated, evidence, folder):
    data, _, _ = gated
    rules = {"max_reject_fraction": 0.17, "max_reject_fraction_per_file": 0.5}
    return run_prepare(folder, data | {"rules": rules}, name="gated")


def test_the_report_counts_what_the_rejects_hold(evidence, folder):
    report, rejects, folders = evidence
    assert folders == [folder / "gated.failed"]
    assert len(report["problems"]) == 2
    bad, good = report["inputs"]
    assert (bad["rejected"], good["rejected"]) == (
        {"label_unknown": 10},
        {"label_missing": 2},
    )
    assert rejects.groupby("file").size().to_dict() == {
        "bad.jsonl": 10,
        "good.jsonl": 2,
    }
    assert rejects["row"].tolist() == [*range(11, 21), 51, 52]


def test_the_next_success_removes_what_the_gate_left(passed, folder):
    assert passed.code == 0, passed.err
    assert sorted(folder.glob("gated*/")) == [folder / "gated"]


def test_the_old_dataset_stands_when_the_gate_stops_a_new_one(passed, gated, folder):
    before = passed.manifest
    run = run_prepare(folder, gated[0], "--overwrite", name="gated")
    assert run.code == 3
    assert run.manifest == before
    assert (folder / "gated.failed" / "report.json").exists()


@pytest.mark.parametrize("most, code", [(1.0, 2), (0.5, 3)])
def test_a_corpus_without_one_usable_row_is_told_by_rule(
    most, code, tiny_encoder, tmp_path
):
    records = [*reviews(4, stars="many"), *reviews(2, 10, text="")]
    rules = {"max_reject_fraction": most}
    path = write(tmp_path / "in.jsonl", records)
    run = run_prepare(tmp_path, settings(tiny_encoder, path, rules=rules))
    assert run.code == code
    assert "label_unknown 4, text_empty 2" in run.err
    assert "Traceback" not in run.err and not (tmp_path / "dataset").exists()
    failed = tmp_path / "dataset.failed"
    if code == 2:
        assert "None of the 6 rows became an example" in run.err
        assert "'stars' held {'many': 4}" in run.err
        assert not failed.exists()
    else:
        assert len(pd.read_parquet(failed / "rejects")) == 6
        report = json.loads((failed / "report.json").read_text())
        assert report["label_values"]["unknown"] == {"many": 4}


def _halves():
    lines = (SAMPLE / "reviews.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return records[::2], records[1::2]


def _sample_settings(encoder, path, **changes):
    columns = {"text": "text", "label": "label", "language": "language", "id": "id"}
    names = ["negative", "neutral", "positive"]
    labels = {"type": "multiclass", "names": names}
    return settings(encoder, path, columns=columns, labels=labels, **changes)


@pytest.fixture(scope="module")
def inferred(folder, tiny_encoder):
    data = _sample_settings(tiny_encoder, write(folder / "first.jsonl", _halves()[0]))
    return run_prepare(folder, data, "--infer-schema", name="inferred")


def test_infer_schema_writes_what_a_person_reviews_and_no_examples(inferred):
    assert inferred.code == 0, inferred.err
    names = {path.name for path in inferred.output.iterdir()}
    assert names == {
        "schema.pbtxt", "statistics.tfrecord", "rejects", "manifest.json", "run.json",
        "report.html", "_SUCCESS",
    }  # fmt: skip
    assert "Review" in inferred.out and "schema.pbtxt" in inferred.out
    assert "242 usable" in inferred.out and "split  " not in inferred.out
    assert inferred.manifest["kind"] == "schema"
    assert inferred.manifest["splits"] == {}
    schema = tfdv.load_schema_text(str(inferred.output / "schema.pbtxt"))
    features = {feature.name: feature for feature in schema.feature}
    assert features["characters"].int_domain.min == 0
    assert {"label", "language"} <= {domain.name for domain in schema.string_domain}
    statistics = tfdv.load_statistics(str(inferred.output / "statistics.tfrecord"))
    everything = [d for d in statistics.datasets if d.name == "All Examples"]
    rows = sum(sum(e["written"].values()) for e in inferred.manifest["inputs"])
    assert [d.num_examples for d in everything] == [rows]


def test_train_refuses_a_schema_without_examples(inferred, tiny_encoder, tmp_path):
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump({"encoder": str(tiny_encoder)}))
    run = run_command(
        "train", "--config", config, "--dataset", inferred.output,
        output=tmp_path / "model",
    )  # fmt: skip
    assert run.code == 2
    assert "is of kind 'schema'; 'dataset' was expected" in run.err


@pytest.fixture(scope="module")
def second_half(folder, tiny_encoder, inferred):
    """The other half against the first: with a schema narrowed by hand, and drift."""
    write(folder / "second.jsonl", _halves()[1])
    baseline = _sample_settings(tiny_encoder, folder / "first.jsonl")
    before = run_prepare(folder, baseline, name="before")
    assert before.code == 0, before.err
    schema = tfdv.load_schema_text(str(inferred.output / "schema.pbtxt"))
    features = {feature.name: feature for feature in schema.feature}
    features["characters"].int_domain.max = 90
    domain = next(d for d in schema.string_domain if d.name == "language")
    domain.value.remove("ja")
    features["language"].distribution_constraints.Clear()
    tfdv.write_schema_text(schema, str(folder / "reviewed.pbtxt"))
    assert isinstance(schema, schema_pb2.Schema)
    data = _sample_settings(
        tiny_encoder, folder / "second.jsonl",
        schema_rules={"schema_file": str(folder / "reviewed.pbtxt")},
    )  # fmt: skip
    return run_prepare(folder, data, "--baseline", before.output, name="second")


def test_an_anomaly_names_feature_figure_threshold_and_a_place(second_half, folder):
    run = second_half
    assert run.code == 0, run.err
    too_long, unknown = run.manifest["anomalies"]
    records = _halves()[1]
    longest = max(len(record["text"]) for record in records)
    row = 1 + [len(record["text"]) for record in records].index(longest)
    assert too_long.startswith("characters: ")
    assert f"found {longest}, allowed 90" in too_long
    assert f"for example second.jsonl row {row} (INT_TYPE_BIG_INT)" in too_long

    row = 1 + [record["language"] for record in records].index("ja")
    share = sum(r["language"] == "ja" for r in records) / len(records)
    assert unknown.startswith("language: values outside the domain: 'ja'; found 0.")
    assert float(unknown.partition("found ")[2].partition(",")[0]) == pytest.approx(
        share, abs=0.01
    )
    assert f"for example second.jsonl row {row} (ENUM_TYPE" in unknown
    for anomaly in (too_long, unknown):
        assert f"anomaly: {anomaly}" in run.out


def test_the_two_halves_of_a_corpus_do_not_drift(second_half):
    drift = {d["feature"]: d for d in second_half.manifest["drift"]}
    assert {"characters", "label", "language", "tokens"} <= drift.keys()
    assert all(d["figure"] <= d["threshold"] for d in drift.values())
    assert not any("COMPARATOR" in a for a in second_half.manifest["anomalies"])
    figure = drift["language"]["figure"]
    assert f"drift of language: {figure:.3f} (allowed " in second_half.out


def test_a_shifted_corpus_drifts_and_stops_where_it_is_fatal(
    second_half, folder, tiny_encoder
):
    records = [
        record | {"language": "ja" if record["language"] == "en" else "de"}
        for record in _halves()[1]
    ]
    path = write(folder / "shifted.jsonl", records)
    data = _sample_settings(tiny_encoder, path, baseline=str(folder / "before"))
    data["schema_rules"] = {"fatal": ["COMPARATOR_L_INFTY_HIGH"]}
    run = run_prepare(folder, data, name="shifted")
    assert run.code == 3
    assert "language: drift from the baseline" in run.err
    assert "most of all 'de'; found 0." in run.err and "allowed 0." in run.err
    row = 1 + [record["language"] for record in records].index("de")
    assert f"for example shifted.jsonl row {row} (COMPARATOR_L_INFTY" in run.err
    report = json.loads((folder / "shifted.failed" / "report.json").read_text())
    drift = {d["feature"]: d for d in report["drift"]}
    assert drift["language"]["figure"] > 0.5 > drift["language"]["threshold"]
    assert not (folder / "shifted").exists()


def test_a_schema_is_no_baseline(inferred, folder, tiny_encoder, tmp_path):
    data = _sample_settings(tiny_encoder, folder / "first.jsonl")
    run = run_prepare(tmp_path, data, "--baseline", inferred.output)
    assert run.code == 2
    assert "is of kind 'schema'; 'dataset' was expected" in run.err
