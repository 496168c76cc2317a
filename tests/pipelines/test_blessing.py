"""`evaluate` by rules, beside a baseline: verdicts, BLESSED, and what is left out."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from reviewbeam.components.common.model_directory import open_model
from reviewbeam.components.examples.encode import decode_examples
from reviewbeam.components.examples.shards import read_shard
from tests.pipelines.fake_models import Oracle, write_model


@pytest.fixture(scope="module")
def examples(dataset):
    """The test split: token ids, label, language and text of each example."""
    shards = sorted(dataset.glob("test-*.tfrecord.gz"))
    rows = [
        row
        for shard in shards
        for row in decode_examples(read_shard(str(shard))).to_pylist()
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def make_model(examples, dataset, tiny_encoder, tmp_path_factory):
    """Writes a model that is wrong on the given rows of the test split."""

    def make(wrong=(), **options):
        answers = examples["label_index"].to_numpy().copy()
        answers[list(wrong)] = (answers[list(wrong)] + 1) % 3
        told = dict(zip(map(tuple, examples["token_ids"]), answers, strict=True))
        path = tmp_path_factory.mktemp("oracle") / "model"
        return write_model(path, dataset, tiny_encoder, module=Oracle(told), **options)

    return make


@pytest.fixture(scope="module")
def models(make_model, examples):
    """A good model, one that is worse, and one that is worse in English alone."""
    english = np.flatnonzero(examples["language"] == "en")
    assert len(examples) > 100 and len(english) > 10
    return {
        "good": make_model(range(0, len(examples), 10)),
        "bad": make_model(range(0, len(examples), 3)),
        "no English": make_model(english),
    }


@pytest.fixture
def copies(models, tmp_path):
    return {
        name: shutil.copytree(path, tmp_path / "models" / name.replace(" ", "-"))
        for name, path in models.items()
    }


RULES = {
    "min": {"macro_f1": 0.5},
    "must_not_lose": {"metric": "f1", "slice": "language", "margin": 0.01},
    "min_rows": 50,
}
# Nothing is left to a calibration, which takes seconds.
FIXED = {"inference": {"engine": "tensorflow", "batch_tokens": 4096, "threads": 1}}
CONFIG = {"blessing": RULES, "min_slice_rows": 10, "bootstrap": {"resamples": 200}}


@pytest.fixture
def evaluate(command, write_config, dataset, tmp_path):
    """Runs `evaluate`: exit code, the evaluation's folder, stdout, stderr."""

    def run(model, baseline=None, name="evaluation", config=CONFIG, *more):
        output = tmp_path / name
        given = [] if baseline is None else ["--baseline", baseline]
        code, out, err = command(
            "evaluate", "--config", write_config(FIXED | config), "--model", model,
            "--dataset", dataset, "--output", output, *given, *more,
        )  # fmt: skip
        return code, output, out, err

    return run


def verdict_of(output):
    return json.loads((output / "blessing.json").read_text())


def test_a_better_model_is_blessed(evaluate, copies, examples):
    code, output, out, _ = evaluate(
        copies["good"], copies["bad"], "evaluation", CONFIG, "--json"
    )
    assert code == 0
    verdict = verdict_of(output)
    assert verdict["verdict"] == "blessed"
    assert json.loads(out.splitlines()[-1])["blessing"] == verdict
    assert (
        "Verdict: blessed" in out
        and "Verdict: blessed" in (output / "blessing.txt").read_text()
    )
    by_value = {r.get("value"): r["verdict"] for r in verdict["rules"]}
    sizes = examples["language"].value_counts()
    assert {v for v in by_value if v} >= set(sizes.index)
    for language, rows in sizes.items():
        assert (by_value[language] == "too small") == (rows < 10)

    blessing = json.loads((copies["good"] / "BLESSED").read_text())
    opened = open_model(str(copies["good"]))
    assert blessing["core_fingerprint"] == opened.core_fingerprint
    assert blessing["content_fingerprint"] == opened.content_fingerprint
    baseline = open_model(str(copies["bad"])).content_fingerprint
    assert blessing["baseline"] == verdict["baseline"] == baseline
    manifest = json.loads((output / "manifest.json").read_text())
    assert blessing["evaluation"] == manifest["fingerprint"]
    assert blessing["rules"] == verdict["rules"]
    assert not (copies["bad"] / "BLESSED").exists()


def test_figures_and_differences_are_those_of_the_published_predictions(
    evaluate, copies
):
    _, output, *_ = evaluate(copies["good"], copies["bad"])
    found = verdict_of(output)
    new, old = (
        pd.read_parquet(output / name)
        for name in ("predictions", "baseline_predictions")
    )
    assert (new["id"] == old["id"]).all()
    assert found["judged_rows"] == found["evaluated_rows"] == len(new)
    for name, compute in {
        "accuracy": accuracy_score,
        "macro_f1": lambda true, label: f1_score(true, label, average="macro"),
    }.items():
        expected = [compute(rows["true_label"], rows["label"]) for rows in (new, old)]
        difference = found["differences"][name]
        assert difference["model"] == pytest.approx(expected[0], abs=1e-9)
        assert difference["baseline"] == pytest.approx(expected[1], abs=1e-9)
        low, high = difference["interval"]
        assert low < expected[0] - expected[1] < high
    right = [rows["true_label"] == rows["label"] for rows in (new, old)]
    assert found["mcnemar"]["only_model_right"] == (right[0] & ~right[1]).sum()
    assert found["mcnemar"]["only_baseline_right"] == (~right[0] & right[1]).sum()


def test_a_worse_model_is_not(evaluate, copies):
    code, output, out, err = evaluate(copies["no English"], copies["good"])
    assert code == 4 and "is not blessed" in err
    verdict = verdict_of(output)
    assert verdict["verdict"] == "not blessed"
    assert "broken: f1 of language en must not lose more than 0.01" in out
    broken = [r["value"] for r in verdict["rules"] if r["verdict"] == "broken"]
    assert broken == ["en"]
    assert not (copies["no English"] / "BLESSED").exists()
    assert (output / "metrics.json").exists()  # the evaluation stands all the same
    assert evaluate(copies["no English"], copies["good"])[0] == 4  # found done


def test_bounds_alone_need_no_baseline(evaluate, copies):
    code, output, *_ = evaluate(copies["bad"])
    assert code == 0
    assert not (output / "baseline_predictions").exists()
    assert [rule["rule"] for rule in verdict_of(output)["rules"]] == ["min"]
    rules = {"min": {"macro_f1": 0.9}, "min_rows": 1}
    code, *_ = evaluate(copies["bad"], None, "strict", {"blessing": rules})
    assert code == 4


def test_a_baseline_without_rules_is_compared_and_nothing_judged(evaluate, copies):
    config = {"bootstrap": {"resamples": 100}}
    code, output, out, _ = evaluate(copies["good"], copies["bad"], "compared", config)
    assert code == 0 and "no verdict: the config has no rules" in out
    assert verdict_of(output)["differences"]["accuracy"]["difference"] > 0.1
    assert not (copies["good"] / "BLESSED").exists()
    code, output, *_ = evaluate(copies["good"], None, "plain", config)
    assert code == 0 and not (output / "blessing.json").exists()


def test_rows_that_either_model_saw_are_left_out(evaluate, make_model, examples):
    texts = examples["text"].tolist()
    # Wrong on just what is left out, as it is written or with other white space.
    model = make_model(
        range(30),
        trained=[*texts[:10], "another"],
        validated=[f" {text}\u3000" for text in texts[10:20]],
    )
    baseline = make_model((), trained=texts[15:30])
    rules = {"min": {"accuracy": 1.0}, "min_rows": 10}
    code, output, out, _ = evaluate(model, baseline, "e", {"blessing": rules})
    assert code == 0
    verdict = verdict_of(output)
    assert verdict["left_out_rows"] == 30
    assert verdict["judged_rows"] == len(examples) - 30
    assert verdict["differences"]["accuracy"]["model"] == 1.0
    assert "30 were left out" in out
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["seen_in_training"] == {"training": 10, "validation": 10}
    assert "the model was trained on the texts of 10 rows" in out


def test_too_few_rows_are_no_verdict(evaluate, make_model, examples):
    model = make_model((), trained=examples["text"].tolist()[:-20])
    code, output, out, _ = evaluate(model)
    assert code == 4 and "Verdict: no verdict: 20 rows are left" in out
    assert not (model / "BLESSED").exists()


def test_an_evaluation_that_was_cut_off_before_the_blessing(evaluate, copies):
    code, output, *_ = evaluate(copies["good"])
    blessing = (copies["good"] / "BLESSED").read_text()
    (copies["good"] / "BLESSED").unlink()  # as if killed there
    times = {p: p.stat().st_mtime_ns for p in output.rglob("*")}
    assert evaluate(copies["good"])[0] == 0
    assert (copies["good"] / "BLESSED").read_text() == blessing
    assert {p: p.stat().st_mtime_ns for p in output.rglob("*")} == times
    inode = (copies["good"] / "BLESSED").stat().st_ino
    evaluate(copies["good"])
    assert (copies["good"] / "BLESSED").stat().st_ino == inode


def _ended(output, date):
    run = json.loads((output / "run.json").read_text())
    (output / "run.json").write_text(json.dumps(run | {"finished": date}))


def test_a_later_no_by_the_same_rules_takes_a_blessing_back(evaluate, copies):
    model = copies["bad"]
    _, first, *_ = evaluate(model, None, "first")
    assert (model / "BLESSED").exists()

    strict = {**CONFIG, "blessing": {"min": {"macro_f1": 0.9}, "min_rows": 1}}
    code, _, _, err = evaluate(model, None, "other-rules", strict)
    assert code == 4 and "stays blessed by the other rules" in err
    assert (model / "BLESSED").exists()

    code, second, _, err = evaluate(model, copies["good"], "same-rules")
    assert code == 4 and "by the same rules and is withdrawn" in err
    assert not (model / "BLESSED").exists()

    _ended(second, "2999-01-01T00:00:00Z")  # the clock has seconds, and these are fast
    withdrawn = model / "BLESSED.withdrawn"
    told = json.loads(withdrawn.read_text()) | {"date": "2999-01-01T00:00:00Z"}
    withdrawn.write_text(json.dumps(told))
    assert evaluate(model, None, "first")[0] == 0  # run again, it has no last word
    assert not (model / "BLESSED").exists()


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"min": {"macro_f": 0.5}}, "did you mean 'macro_f1'"),
        (
            {"must_not_lose": {"metric": "f1", "slice": "produkt"}},
            "did you mean 'product'",
        ),
        ({"mim": {"macro_f1": 0.5}}, "did you mean 'min'"),
    ],
)
def test_a_typo_is_told_before_anything_runs(evaluate, copies, rules, message):
    code, output, _, err = evaluate(copies["good"], None, "e", {"blessing": rules})
    assert code == 2 and message in err
    assert not output.exists()


def test_a_baseline_that_does_not_fit_is_refused(evaluate, copies, tmp_path):
    from tests.pipelines.test_poisoned_models import change_json, rehash

    other = copies["bad"]
    change_json(
        other / "model.json", lambda data: data["text"].update(truncate="head_tail")
    )
    rehash(other)
    code, output, _, err = evaluate(copies["good"], other)
    assert code == 2 and "The baseline" in err and "text rules differ" in err
    code, _, _, err = evaluate(copies["good"], tmp_path / "none")
    assert code == 2 and "The baseline" in err and "no such folder" in err
    assert not output.exists()


def test_a_model_beside_itself_loses_nothing(evaluate, copies):
    assert evaluate(copies["good"], copies["good"])[0] == 0
