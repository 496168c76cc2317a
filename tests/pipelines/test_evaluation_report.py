"""`evaluate` leaves a page beside its metrics: verdict, figures, training."""

import json
import shutil

import pytest

from tests.components.reporting.made import words


@pytest.fixture
def evaluated(evaluation, tmp_path):
    return shutil.copytree(evaluation, tmp_path / "evaluation")


@pytest.fixture
def evaluate(command, write_config, configs, dataset, model, tmp_path):
    """Runs the job: exit code, stdout, stderr, what the page says."""

    def run(name="evaluation", *more, **changes):
        output = tmp_path / name
        code, out, err = command(
            "evaluate", "--config", write_config(configs["evaluate"] | changes),
            "--dataset", dataset, "--model", model, "--output", output, *more,
        )  # fmt: skip
        page = output / "report.html"
        return code, out, err, page.is_file() and words(page.read_text())

    return run


def test_the_page_tells_what_the_files_tell(evaluation, model):
    said = words((evaluation / "report.html").read_text())
    metrics = json.loads((evaluation / "metrics.json").read_text())
    overall = metrics["overall"]
    assert "Not judged: the config has no rules" in said
    assert f"Macro F1 {overall['macro']['f1']:.3f} " in said
    low, high = overall["figures"]["macro_f1"]["interval"]
    assert f"({low:.3f} to {high:.3f})" in said
    cells = [str(n) for row in overall["confusion_matrix"] for n in row]
    assert " ".join(cells) in said.replace("neutral ", "").replace("positive ", "")
    history = json.loads((model / "history.json").read_text())
    loss = history["epochs"][0]["training"]["loss"]
    assert f"1 (kept) {history['epochs'][0]['steps']} {loss:.3f}" in said


def test_the_reliability_before_is_that_without_the_calibration(evaluation, model):
    metrics = json.loads((evaluation / "metrics.json").read_text())
    metadata = json.loads((model / "model.json").read_text())
    before, after = (metrics["reliability"][when] for when in ("before", "after"))
    ece = metrics["overall"]["figures"]["ece"]["value"]
    assert after["expected_calibration_error"] == pytest.approx(ece)
    fitted = metadata["calibration"]["temperature"] != 1
    assert (before != after) == fitted
    rows = metrics["overall"]["rows"]
    for told in (before, after):
        assert sum(point["rows"] for point in told["bins"]) == rows


def test_the_verdict_comes_first(evaluate, model):
    more = {"bootstrap": {"resamples": 50}}
    rules = {"min": {"macro_f1": 1.0}, "min_rows": 10}
    code, out, _, said = evaluate(blessing=rules, **more)
    assert code == 4
    assert "metrics.json, report.txt, predictions/, report.html\n" in out
    place = said.index("Not blessed: 1 of 1 rules don't hold broken: macro_f1")
    assert place < said.index("Macro F1 0.") < said.index("Calibration error")
    code, _, _, said = evaluate("compared", "--baseline", model, **more)
    assert code == 0
    assert "Not judged" in said
    assert "Macro F1 against the baseline +0.000 +0.000 to +0.000" in said


def test_texts_are_there_only_where_the_config_says_so(evaluate, evaluation):
    metrics = json.loads((evaluation / "metrics.json").read_text())
    assert metrics["mistakes"]
    code, _, _, said = evaluate(
        privacy={"text": "full"}, mistakes=3, bootstrap={"resamples": 0}
    )
    assert code == 0
    header = "confidence text " + metrics["mistakes"][0]["id"]
    assert header in said
    plain = words((evaluation / "report.html").read_text())
    assert "confidence " + metrics["mistakes"][0]["id"] in plain


def test_a_page_that_fails_is_one_line(evaluate, evaluated, monkeypatch):
    from reviewbeam.components.reporting import evaluation_page

    def fail(*given):
        raise ValueError("with a text of a review")

    monkeypatch.setattr(evaluation_page, "evaluation_page", fail)
    (evaluated / "report.html").unlink()
    code, out, err, said = evaluate()
    assert code == 0 and said is False
    assert "metrics.json, report.txt, predictions/\n" in out
    assert "reviewbeam: report.html could not be made: ValueError.\n" in err
    monkeypatch.undo()
    assert evaluate()[3].count("Not judged") == 1
