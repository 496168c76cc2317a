"""What a person sees of a step that takes its time."""

import io
import re
import time

import pytest
from rich.console import Console

from reviewbeam.components.common.errors import UserError
from reviewbeam.pipelines import console


@pytest.fixture
def screen(monkeypatch):
    """Returns a function that makes standard error a terminal or a file."""

    def make(terminal):
        shown = Console(file=io.StringIO(), force_terminal=terminal, soft_wrap=True)
        monkeypatch.setattr(console, "_log", shown)
        monkeypatch.setattr(console, "_TICK", 0.02)
        return shown.file

    return make


def _wait_for(text, out):
    deadline = time.monotonic() + 30
    while text not in out.getvalue():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_without_a_terminal_a_line_is_said_now_and_then(screen, monkeypatch):
    out = screen(terminal=False)
    monkeypatch.setattr(console, "_SAY_EVERY", 0.1)
    started = time.monotonic()
    with console.Step("score [b]") as step:
        _wait_for("at work", out)
        step.update("12 of 40 rows")
        _wait_for("40 rows", out)
    seconds = time.monotonic() - started
    first, *between, last = out.getvalue().splitlines()
    assert first == "score [b] …"
    assert re.fullmatch(r"score \[b\]: at work, 0:00:\d\d", between[0])
    assert re.fullmatch(r"score \[b\]: 12 of 40 rows, 0:00:\d\d", between[-1])
    assert len(between) <= seconds / 0.1
    assert re.fullmatch(r"score \[b\]: done after \d+\.\d s", last)


def test_on_a_terminal_the_line_changes(screen):
    out = screen(terminal=True)
    with console.Step("prepare") as step:
        step.update("7 rows read")
        _wait_for("prepare: 7 rows read, 0:00:", out)
    assert "prepare: done after" in out.getvalue()


def test_a_step_that_shows_itself_has_no_ticks(screen, monkeypatch):
    out = screen(terminal=False)
    monkeypatch.setattr(console, "_SAY_EVERY", 0.0)
    with console.Step("train", live=False):
        time.sleep(0.1)
    assert len(out.getvalue().splitlines()) == 2


@pytest.mark.parametrize(
    ("error", "how"), [(UserError, "stopped"), (OSError, "failed")]
)
def test_how_it_ended(error, how, screen):
    out = screen(terminal=False)
    with pytest.raises(error), console.Step("train"):
        raise error("no")
    assert f"train: {how} after" in out.getvalue()


def test_a_datasets_languages_are_named_by_their_reviews():
    def split(**languages):
        return {"histograms": {"counts": {"language": languages}}}

    said = console._languages([split(en=1200, fr=3), {"histograms": None}, split(fr=2)])
    assert said == "en 1,200, fr 5"
    many = {f"l{i:02d}": 20 - i for i in range(12)}
    assert console._languages([split(**many)]).endswith(", l08 12, l09 11 and 2 more")
    assert console._languages([]) == "none"
