import json
from pathlib import Path

import pytest

from reviewbeam.components.common.artifacts import RUN_FILE
from reviewbeam.components.common.publishing import staged_output
from reviewbeam.components.common.run_record import RunRecord


def _read(folder: Path):
    return json.loads((folder / RUN_FILE).read_text())


def test_facts_are_written_while_the_run_goes_on(tmp_path):
    run = RunRecord("score")
    run.begin(tmp_path)
    assert run.before == {}
    run.note(flink_job="a")
    run.note(flink_job="b", parallelism=2)
    told = _read(tmp_path)
    assert (told["job"], told["flink_job"], told["parallelism"]) == ("score", "b", 2)

    run.finish(rows=3)
    told = _read(tmp_path)
    assert (told["flink_job"], told["rows"]) == ("b", 3)
    assert told["started"] <= told["finished"] and told["seconds"] >= 0


def test_a_run_knows_what_the_one_before_noted(tmp_path):
    first = RunRecord("score")
    first.begin(tmp_path)
    first.note(flink_job="a", host="one")

    second = RunRecord("score")  # the first was killed
    second.begin(tmp_path)
    assert (second.before["flink_job"], second.before["host"]) == ("a", "one")
    second.note(host="two")

    third = RunRecord("score")  # the second too, before it could act on it
    third.begin(tmp_path)
    assert (third.before["flink_job"], third.before["host"]) == ("a", "two")
    third.finish()
    assert "before" not in _read(tmp_path) and "flink_job" not in _read(tmp_path)

    fourth = RunRecord("score")
    fourth.begin(tmp_path)
    assert "finished" in fourth.before
    assert "before" not in _read(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "7"])
def test_a_record_that_was_cut_short_says_nothing(tmp_path, content):
    (tmp_path / RUN_FILE).write_text(content)
    run = RunRecord("prepare")
    run.begin(tmp_path)
    assert run.before == {}


def test_of_a_killed_staged_run(tmp_path):
    output = tmp_path / "dataset"
    staging = output.with_name("dataset.staged")
    staging.mkdir()
    killed = RunRecord("prepare")
    killed.begin(staging)
    killed.note(flink_job="a")
    (staging / "half.txt").write_text("half")

    run = RunRecord("prepare")
    with staged_output(output, "prepare", run=run) as folder:
        assert run.before["flink_job"] == "a"
        assert [path.name for path in folder.iterdir()] == [RUN_FILE]
        run.note(flink_job="b")
        assert _read(folder)["flink_job"] == "b"
    assert _read(output)["flink_job"] == "b"
