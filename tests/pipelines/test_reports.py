"""The pages that jobs leave: what they say, and that they cost no artifact."""

import json

import pytest

from reviewbeam.components.reporting import dataset_page, scores_page
from reviewbeam.pipelines.report_file import page_beside, put_report
from tests.components.reporting.test_page import check
from tests.pipelines.conftest import SAMPLE


def _fails(*arguments, **options):
    raise ValueError("a review with a secret")


# === Any page ===


def test_a_page_that_can_t_be_made_is_one_line(tmp_path, capsys):
    (tmp_path / ".report.html.0123456789abcdef.tmp").touch()  # of a killed run
    assert put_report(tmp_path / "report.html", lambda: "page") is True
    assert page_beside(tmp_path) == {"report": "report.html"}
    assert put_report(tmp_path / "other.html", _fails) is False
    assert put_report(tmp_path / "none" / "x.html", lambda: "page") is False
    assert capsys.readouterr().err.splitlines() == [
        "reviewbeam: other.html could not be made: ValueError.",
        "reviewbeam: x.html could not be made: FileNotFoundError.",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


# === prepare ===


@pytest.fixture
def prepare(command, write_config, configs, tmp_path):
    """Returns a function that prepares the sample with changed data."""

    def run(*arguments, **changes):
        return command(
            *("prepare", "--config", write_config(configs["prepare"] | changes)),
            *("--input", SAMPLE / "reviews.jsonl", "--input", SAMPLE / "broken.jsonl"),
            *("--output", tmp_path / "dataset", *arguments),
        )

    return run


def test_prepare_leaves_a_page_and_names_it(dataset):
    seen = check((dataset / "report.html").read_text())
    assert "523 rows of 2 files (jsonl)" in seen
    assert "483 of 523 rows are examples" in seen
    assert "rejected malformed_json 10" in seen
    manifest = json.loads((dataset / "manifest.json").read_text())
    assert "report.html" not in manifest["files"] and "report" not in manifest
    assert manifest["fingerprint"] in seen


def test_a_stopped_dataset_leaves_a_page_too(prepare, tmp_path):
    code, _, err = prepare(rules={"max_reject_fraction": 0.01})
    assert code == 3
    assert "report.html" in err
    seen = check((tmp_path / "dataset.failed" / "report.html").read_text())
    assert "Stopped The data gate stopped this dataset" in seen
    assert "32 of 523 rows are rejects" in seen and "1.0 % allowed" in seen


def test_a_dataset_stands_without_its_page(prepare, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset_page, "dataset_page", _fails)
    code, out, err = prepare("--json")
    assert code == 0
    assert "report.html could not be made: ValueError." in err and "secret" not in err
    assert json.loads(out.splitlines()[-1])["report"] is None
    assert (tmp_path / "dataset" / "_SUCCESS").exists()


# === score ===


@pytest.fixture
def page(tmp_path):
    """Returns a function that reads the page beside the scores."""
    return lambda: check((tmp_path / "scores" / "_report.html").read_text())


def test_score_leaves_a_page_that_an_idle_run_keeps(night, deliver, page, tmp_path):
    deliver("a.jsonl", 30)
    code, out, err = night("--json")
    assert code == 0, err
    path = tmp_path / "scores" / "_report.html"
    assert f"  report: {path}\n" in out
    assert json.loads(out.splitlines()[-1])["page"] == "_report.html"
    assert "Good Published: 30 scores of 30 rows, from 1 new file." in page()
    assert "30 rows in" in page()  # which this very run scored
    made = path.stat().st_mtime_ns
    code, out, _ = night()
    assert code == 0 and f"report: {path}" in out
    assert path.stat().st_mtime_ns == made


def test_a_damaged_file_is_on_the_page_until_it_is_gone(night, deliver, page):
    deliver("a.jsonl", 30)
    broken = deliver("b.jsonl.gz", 30)
    broken.write_bytes(broken.read_bytes()[:-9])
    assert night()[0] == 1
    assert (
        "Nothing was published of 1 damaged file" in page()
        and "30 scores of 30 rows" in page()
    )
    assert night()[0] == 1
    assert "Stopped Nothing was published by this run." in page()
    broken.unlink()
    assert night()[0] == 0
    assert "Good Nothing new; scored before: 1 file." in page()


def test_a_run_that_was_stopped_says_how_to_go_on(night, deliver, page):
    deliver("a.jsonl", 30)
    assert night("--limit", 5)[0] == 75
    assert "with rows left in 1 file. The same command goes on." in page()
    assert night()[0] == 0
    assert "Good Published" in page()
    assert "20 rows in" in page()  # those that the run before had finished aside


def test_what_the_gate_holds_back_says_so(night, deliver, page):
    path = deliver("a.jsonl", 30)
    path.write_bytes(path.read_bytes() + b"{broken\n" * 20)
    strict = {"max_reject_fraction": 0.1}
    assert night(rules=strict)[0] == 3
    assert "Stopped Held back: nothing was published" in page()
    assert "20 of 50 rows are rejects" in page() and "malformed_json 20" in page()
    assert night()[0] == 0
    assert "30 scores of 50 rows" in page()
    assert "no row was scored now" in page()


def test_scores_stand_without_their_page(night, deliver, tmp_path, monkeypatch):
    monkeypatch.setattr(scores_page, "scores_page", _fails)
    deliver("a.jsonl", 30)
    code, out, err = night()
    assert code == 0
    assert "_report.html could not be made: ValueError." in err and "secret" not in err
    assert "report:" not in out
    assert (tmp_path / "scores" / "_manifest.json").exists()
