"""How far a pipeline is, as it is told while the pipeline runs."""

import re
import time

import pytest

from reviewbeam.components.common import progress
from reviewbeam.components.common.errors import ReviewbeamError
from reviewbeam.pipelines import console, watching


@pytest.fixture
def states(monkeypatch):
    """All that steps are told, looked for all the time."""
    told = []
    monkeypatch.setattr(watching, "_LOOK_EVERY", 0.01)
    monkeypatch.setattr(watching, "_SHARE", 0)
    monkeypatch.setattr(progress, "_SECONDS", 0.0)
    monkeypatch.setattr(console.Step, "update", lambda _, state: told.append(state))
    return told


def test_it_looks_until_the_block_ends(states):
    looks = iter(range(10**6))
    with watching.watching(lambda: next(looks), states.append):
        time.sleep(0.2)
    seen = list(states)
    assert seen == list(range(len(seen))) and len(seen) >= 3
    time.sleep(0.05)
    assert states == seen


def test_a_place_out_of_reach_is_looked_at_again(states):
    looks = iter(range(10**6))

    def look():
        if next(looks) == 0:
            raise ReviewbeamError("out of reach")
        return "there"

    with watching.watching(look, states.append):
        time.sleep(0.2)
    assert set(states) == {"there"}


def test_nobody_looks_where_nobody_is_shown():
    with watching.watching(lambda: 1 / 0, None):
        pass


def test_prepare_tells_rows_and_shards(
    states, command, write_config, configs, tmp_path, dataset
):
    from tests.pipelines.conftest import SAMPLE

    config = write_config(configs["prepare"])
    code, _, err = command(
        "prepare", "--config", config, "--output", tmp_path / "out",
        "--input", SAMPLE / "reviews.jsonl", "--input", SAMPLE / "broken.jsonl",
    )  # fmt: skip
    assert code == 0, err
    assert states.pop(0) == "loading libraries"
    rows = [int(re.match(r"(\d+) rows read", state)[1]) for state in states]
    assert rows == sorted(rows)  # every slice is read once
    assert set(rows) - {0} and rows[-1] == 523
    assert re.search(r", \d+ shards written$", states[-1])
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        p.name for p in dataset.iterdir()
    )


def test_evaluate_tells_rows_of_all(
    states, command, write_config, configs, tmp_path, dataset, model
):
    config = write_config(configs["evaluate"])
    code, _, err = command(
        "evaluate", "--config", config, "--output", tmp_path / "out",
        "--model", model, "--dataset", dataset,
    )  # fmt: skip
    assert code == 0, err
    assert states.pop(0) == "loading libraries"
    rows = [state for state in states if state.endswith(" of 124 rows")]
    assert rows[0] == "0 of 124 rows" and rows[-1] == "124 of 124 rows"
    *figures, last = states[len(rows) :]
    assert figures and last == "the rules"
    assert all(re.match(r"figures of \d+ of \d+ groups", state) for state in figures)
    assert not (tmp_path / "out" / "_progress").exists()
