import time

import pytest

from reviewbeam.components.reporting.scores_figures import Speed
from reviewbeam.components.reporting.scores_page import scores_page
from tests.components.reporting.pages import drift_of, entry, scores_run
from tests.components.reporting.test_page import check


def seen(**changes):
    return check(scores_page(scores_run(**changes)))


def test_a_good_run_says_so_first():
    text = seen(scored=[entry("a.jsonl", 100, {"text_empty": 4})])
    assert "Good Published: 96 scores of 100 rows, from 1 new file." in text
    assert "Rejected 4.0 % 4 rows" in text
    assert "Rows/s 25 100 rows in 4.0 s" in text
    assert "Tokens/s 500 without padding" in text
    assert "Padding 20.0 % of the tokens computed" in text
    assert "rejected text_empty 4 4.0 %" in text
    assert "en 100 100.0 % 100.0 %" in text
    assert "m-1 (this run's) 1 100 100 0" in text
    assert text.index("Published") < text.index("Rows of this run")


def test_a_run_that_only_publishes_has_no_rate():
    text = seen(speed=Speed(seconds=3.0))
    assert "Rows/s – no row was scored now" in text
    assert "Tokens/s –" in text and "Padding –" in text


@pytest.mark.parametrize(
    "changes, words",
    [
        (
            {"stopped": True, "unfinished": 2},
            "Look at this Published: 100 scores of 100 rows, from 1 new file. "
            "Stopped before its end, with rows left in 2 files.",
        ),
        (
            {"stopped": True, "unfinished": 1, "scored": []},
            "Look at this Nothing was published by this run.",
        ),
        (
            {"damaged": {"b.gz": "it ends too early"}},
            "Nothing was published of 1 damaged file.",
        ),
        (
            {"damaged": {"b.gz": "it ends too early"}, "scored": []},
            "Stopped Nothing was published by this run.",
        ),
        (
            {"drift": [drift_of("language", figure=0.4, exceeded=True)]},
            "language is far from the training: 0.400, allowed 0.100.",
        ),
        (
            {"scored": [], "known": 5, "statistics": None},
            "Good Nothing new; scored before: 5 files.",
        ),
        (
            {"refused": "It is not alike:\n  - drift of x: 0.3\nLook at them."},
            "Stopped Held back: nothing was published, and the finished work stays "
            "staged. drift of x: 0.3 Look at them.",
        ),
    ],
    ids=["stopped", "held", "damaged", "all damaged", "drift", "idle", "refused"],
)
def test_the_verdict(changes, words):
    assert words in seen(**changes)


def test_files_and_versions():
    versions = [
        {"name": name, "files": 3, "rows": 30, "written": 20, "rejected": 10}
        for name in ("m-0", "m-1")
    ]
    text = seen(versions=versions, damaged={"b.gz": "cut short"}, removed=["old.csv"])
    assert "m-1 (this run's) 3 30 20 10 m-0 3 30 20 10" in text
    assert "b.gz cut short" in text
    assert "Scored once, and gone: 1 file." in text and "old.csv" in text


def test_drift_that_is_not_known_comes_last():
    drift = [
        drift_of("tokens", figure=None, not_measured="too few", value=None,
                 share=None, training_share=None),
        drift_of("emoji_share"),
        drift_of("language", figure=0.5, exceeded=True, fatal=True, value="fi"),
    ]  # fmt: skip
    text = seen(drift=drift)
    assert (
        "language 0.500 0.100 too far (fatal) fi 50.0 % 49.0 % "
        "emoji share 0.010 0.100 as in training en 50.0 % 49.0 % "
        "tokens – 0.100 not known: too few – – –"
    ) in text


def test_a_model_without_statistics_of_its_training():
    text = seen(training={}, drift=[])
    assert "en 100 100.0 % –" in text
    assert "The config says not to compare" in text


@pytest.mark.parametrize(
    "size",
    [
        {"rows": 0, "statistics": None, "scored": []},
        {"labels": ("only",)},
        {"languages": [f"l{n:02}" for n in range(40)], "rows": 4000},
        {"labels": [f"label {n}" for n in range(300)], "rows": 30_000},
        {"rows": 1_000_000, "files": 5_000},
        {"damaged": {f"file {n}": "cut short" for n in range(5_000)}},
    ],
    ids=["no row", "one label", "40 languages", "300 labels", "1 M rows", "damaged"],
)
def test_any_size_is_a_page(size):
    text = scores_page(scores_run(**size))
    check(text)
    assert len(text) < 200_000


def test_two_hundred_thousand_files_take_no_time():
    run = scores_run(rows=200_000, files=200_000)
    scores_page(run)  # the first one imports
    started = time.monotonic()
    text = scores_page(run)
    assert time.monotonic() - started < 10
    assert "… and 199,980 more" in check(text)
