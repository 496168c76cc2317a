"""`run`: the four jobs by one config, and nothing done twice."""

from pathlib import Path

import pytest

from tests.pipelines.conftest import SAMPLE


@pytest.fixture
def run_config(configs, write_config, tmp_path):
    def write(name="run", *, in_files=False):
        jobs = ("prepare", "train", "evaluate", "score")
        data = {"output": str(tmp_path / name)} | {job: configs[job] for job in jobs}
        data["prepare"] = data["prepare"] | {"input": [str(SAMPLE / "reviews.jsonl")]}
        arrivals = str(SAMPLE / "new_arrivals.jsonl")
        data["score"] = data["score"] | {"input": [arrivals]}
        for job in jobs if in_files else ():
            data[job] = Path(write_config(data[job], f"{job}.yaml")).name
        return write_config(data, f"{name}.yaml")

    return write


def _files(folder):
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and path.name != "_run.json"
    }


@pytest.mark.slow
def test_a_second_run_repeats_nothing_and_another_gives_the_same_scores(
    command, run_config, tmp_path
):
    code, out, _ = command("run", "--config", run_config())
    assert code == 0
    for words in ("488 rows read", "8 duplicates", "macro F1", "100 scored"):
        assert words in out
    for folder in ("dataset", "model", "evaluation", "scores"):
        assert str(tmp_path / "run" / folder) in out

    before = _files(tmp_path / "run")
    # The same config, its sections now files beside it.
    assert command("run", "--config", run_config(in_files=True))[0] == 0
    assert _files(tmp_path / "run") == before

    assert command("run", "--config", run_config("other"))[0] == 0
    parts = sorted((tmp_path / "run" / "scores").glob("model_version=*/*"))
    assert parts
    for path in parts:
        twin = tmp_path / "other" / path.relative_to(tmp_path / "run")
        assert twin.read_bytes() == path.read_bytes()
