"""Which combinations are tried; nothing is trained here."""

import itertools
import json

import pytest

from reviewbeam.components.common.config import check_config
from reviewbeam.components.common.tune_config import TuneConfig
from reviewbeam.components.trainer.search import search, trial_count, values_of

SPACE = {
    "model.pooling": ["cls", "mean"],
    "model.freeze_layers": ["half", 0, 3],
    "model.lora": [None, {"rank": 2}],
}
RANGES = {
    "training.learning_rate": {"min": 1e-5, "max": 1e-3, "log": True},
    "training.batch_tokens": {"min": 8, "max": 64, "log": True},
    "model.dropout": {"min": 0, "max": 0.3, "step": 0.1},
}


def make_config(space, method, trials=None, seed=1, objective="accuracy"):
    options = {"method": method, "trials": trials, "seed": seed, "objective": objective}
    data = {"train": {"encoder": "e"}, "search": options, "space": space}
    return check_config(TuneConfig, data, "tune")


class Stop(Exception):
    pass


@pytest.fixture
def points(tmp_path):
    """Returns a function that searches and returns the points that were tried."""

    def run(config, figure=lambda values: 0.5, known=(), stop_at=None):
        tried = []

        def trial(number, point):
            assert number == len(tried) + 1
            if number == stop_at:
                raise Stop
            tried.append(point)
            return figure(values_of(config, point))

        if stop_at is None:
            search(config, known, trial, tmp_path)
        else:
            with pytest.raises(Stop):
                search(config, known, trial, tmp_path)
        return tried

    return run


def shown(config, points):
    return [tuple(map(str, values_of(config, point).values())) for point in points]


def test_a_grid_tries_every_combination_once(points):
    config = make_config(SPACE, "grid")
    found = shown(config, points(config))
    expected = itertools.product(*(map(str, values) for values in SPACE.values()))
    assert sorted(found) == sorted(expected)
    assert trial_count(config) == len(found) == 12
    few = make_config(SPACE, "grid", trials=5)
    assert shown(few, points(few)) == found[:5]
    assert trial_count(few) == 5


def test_a_random_search_is_told_by_its_seed(points):
    config = make_config(RANGES, "random", trials=6)
    found = points(config)
    assert len(found) == 6
    assert points(config) == found
    assert points(make_config(RANGES, "random", trials=6, seed=2)) != found


def test_numbers_lie_within_their_ranges(points):
    config = make_config(RANGES, "random", trials=40)
    values = [values_of(config, point) for point in points(config)]
    assert all(1e-5 <= v["training.learning_rate"] <= 1e-3 for v in values)
    tokens = [v["training.batch_tokens"] for v in values]
    assert all(isinstance(n, int) and 8 <= n <= 64 for n in tokens)
    assert {v["model.dropout"] for v in values} == {0, 0.1, 0.2, 0.3}
    # On a logarithmic scale about half of them lie below the geometric mean.
    assert 10 <= sum(v["training.learning_rate"] < 1e-4 for v in values) <= 30
    assert 10 <= sum(n < 22 for n in tokens) <= 30


def test_the_last_whole_number_is_not_passed():
    config = make_config(RANGES, "random", trials=1)
    point = {
        "training.learning_rate": 1.1e-3,
        "training.batch_tokens": 65,  # as KerasTuner proposes
        "model.dropout": 3,
    }
    assert values_of(config, point) == {
        "training.learning_rate": 1e-3,
        "training.batch_tokens": 64,
        "model.dropout": 0.3,
    }


@pytest.mark.parametrize(("method", "trials"), [("grid", None), ("random", 12)])
def test_a_search_that_is_taken_up_goes_on_as_if_never_stopped(points, method, trials):
    config = make_config(SPACE, method, trials)
    whole = points(config)
    for stop_at in (1, 2, 8):
        done = points(config, stop_at=stop_at)
        assert done == whole[: stop_at - 1]
        assert points(config, known=done) == whole


def test_a_bayesian_search_learns_and_goes_on_as_if_never_stopped(points):
    space = {"training.learning_rate": {"min": 1e-5, "max": 1e-3, "log": True}}
    config = make_config(space, "bayesian", trials=7, objective="loss")

    def figure(values):
        return abs(values["training.learning_rate"] - 4e-4)

    whole = points(config, figure)
    done = points(config, figure, stop_at=5)
    assert points(config, figure, known=done) == whole
    best = [min(map(figure, part)) for part in (whole[:3], whole)]
    assert best[1] < best[0] / 2  # the first three are random


def test_what_was_tried_stands_whatever_would_be_proposed_now(points):
    config = make_config(RANGES, "random", trials=3)
    known = [dict(point) for point in points(config)[:2]]
    known[1]["training.learning_rate"] *= 1 + 1e-12  # of another processor
    found = points(config, known=known)
    assert found[:2] == known and len(found) == 3


def test_trials_that_fail_end_no_search(points, tmp_path, capfd):
    config = make_config(SPACE, "grid")
    assert len(points(config, figure=lambda values: None)) == 12
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
    # Else what has no figure would count as one of 0.
    records = [json.loads(p.read_text()) for p in tmp_path.rglob("trial.json")]
    assert [record["status"] for record in records] == ["FAILED"] * 12
