"""Each command of the README does what the README says, in the order of the README."""

import argparse
import csv
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reviewbeam.pipelines.cli import build_parser, main
from tests.pipelines.conftest import SAMPLE

ROOT = Path(__file__).parents[2]
GUIDES = ("README.md", "pipelines/README.md", "configs/beam/README.md")
BENCHMARKS = ("README.md", "scripts/benchmarks/README.md")
_BLOCK = re.compile(r"(?:<!-- run by (\S+) -->\n)?```bash\n(.*?)```", re.DOTALL)
_STARS = {"negative": (1, 2), "neutral": (3, 3), "positive": (4, 5)}


def _lines(block):
    """Command lines without comments and continuations, as words."""
    for line in block.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def _blocks(path="README.md"):
    return _BLOCK.findall((ROOT / path).read_text(encoding="utf-8"))


@pytest.fixture
def checkout(tmp_path, monkeypatch, tiny_encoder):
    """A folder as a user's clone would be, with reviews of their own, entered."""
    for name in ("configs", "scripts", "tests", ".venv"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "runs").mkdir()
    shutil.copytree(tiny_encoder, tmp_path / "runs" / "encoder-e5-small")
    lines = (SAMPLE / "reviews.jsonl").read_text(encoding="utf-8").splitlines()
    rows = []
    for number, line in enumerate(lines):
        review = json.loads(line)
        stars = _STARS[review["label"]][number % 2]
        row = {"review_id": review["id"], "text": review["text"], "stars": stars}
        rows.append(row | {"language": review["language"]})
    for folder in ("reviews", "french"):
        (tmp_path / folder).mkdir()
    for path, part in (("reviews/a.csv", rows), ("my.csv", rows[:50])):
        with (tmp_path / path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(part)
    french = [
        row | {"review_id": f"f{n}", "text": f"{row['text']} Voilà {n}."}
        for n, row in enumerate(rows[:90])
    ]
    text = "".join(json.dumps(row | {"language": "fr"}) + "\n" for row in french)
    (tmp_path / "french" / "b.jsonl").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(words):
    """Runs one command line of the README; `reviewbeam` in this process."""
    if words[0] == "reviewbeam":
        assert main(words[1:]) == 0, words
        return
    bin_folder = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{bin_folder}:{os.environ['PATH']}"}
    line = shlex.join(words)
    if "=" in words[0]:
        line = f"{words[0].split('=', 1)[0]}={shlex.quote(words[0].split('=', 1)[1])} "
        line += shlex.join(words[1:])
    subprocess.run(["bash", "-ec", line], check=True, env=environment)


@pytest.fixture
def in_service(checkout, model, dataset):
    """The models folder of the quickstart, with a blessed model."""
    of = checkout / "quickstart-model"
    shutil.copytree(model, of)
    rules = "blessing={min: {accuracy: 0}, min_rows: 1}"
    evaluate = ["evaluate", "--config", "configs/laptop/evaluate.yaml", "--set", rules]
    evaluate += ["--model", str(of), "--dataset", str(dataset)]
    assert main([*evaluate, "--output", "quickstart-evaluation"]) == 0
    assert main(["promote", str(of), "--models", "runs/quickstart/models"]) == 0


@pytest.mark.slow
def test_each_command_ends_well(checkout, in_service, capfd):
    elsewhere = []
    for runner, block in _blocks():
        if runner:
            elsewhere.append((runner, block))
            continue
        for words in _lines(block):
            _run(words)
    assert [runner for runner, _ in elsewhere] == [".ci/run", "tests/cluster"]

    # What the README says of the outputs.
    printed = capfd.readouterr().out
    assert "50 scored" in printed
    assert "-> " in printed  # the figures before and after, per language
    for page in (
        "runs/my-scores/_report.html",
        "runs/my/evaluation/report.html",
        "runs/stars/dataset/report.html",
        "runs/french/model/report.html",
        "runs/night/_report.html",
    ):
        assert (checkout / page).stat().st_size > 1000, page
    verdict = (checkout / "runs/french/evaluation/blessing.json").read_text()
    assert json.loads(verdict)["verdict"] == "blessed"
    assert json.loads((checkout / "runs/models/SERVING").read_text())["current"]


def test_what_is_run_elsewhere_is_run_there():
    commands = {
        runner: list(_lines(block)) for runner, block in _blocks() if runner is not None
    }
    ci = (ROOT / ".ci" / "run").read_text()
    for words in commands[".ci/run"]:
        assert words[0] in ci
    fixtures = (ROOT / "tests" / "cluster" / "flink.py").read_text()
    for words in commands["tests/cluster"]:
        if words[0] != "reviewbeam":
            assert Path(words[0]).name in fixtures


@pytest.mark.parametrize("guide", GUIDES)
def test_each_command_of_the_guides_is_one(guide):
    text = (ROOT / guide).read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(
        r"^ *(reviewbeam [a-z].*)$|`(reviewbeam [a-z][^`]*)`", text, re.M
    )
    assert found
    for line in (block or inline for block, inline in found):
        words = shlex.split(line, comments=True)[1:]
        if len(words) > 1:  # else it only names a job
            build_parser().parse_known_args(words)


def _benchmarks():
    for path in BENCHMARKS:
        text = (ROOT / path).read_text(encoding="utf-8")
        for line in re.findall(r"python (scripts/benchmarks/[^`\n]*)", text):
            yield shlex.split(line)


@pytest.mark.parametrize("words", list(_benchmarks()), ids=lambda words: words[0])
def test_each_benchmark_takes_its_options(words, monkeypatch):
    parse = argparse.ArgumentParser.parse_args
    seen = []

    def only_parse(self, *arguments):
        seen.append(parse(self, *arguments))
        raise SystemExit(0)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", only_parse)
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "benchmarks"))
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(words[0], run_name="__main__")
    assert stop.value.code == 0
    assert seen
