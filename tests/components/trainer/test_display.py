import io

import pytest
from rich.console import Console

from reviewbeam.components.trainer import display as module
from reviewbeam.components.trainer.display import TrainingDisplay
from reviewbeam.components.trainer.metrics import ValidationMetrics


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def run(display, clock, steps=4):
    with display:
        display.begin(total_steps=10)
        display.begin_epoch(1, 2)
        for _ in range(steps):
            clock[0] += 6
            display.step(0.5, tokens=900, cells=1000, waited=1.5)
        display.end_epoch(0.25, ValidationMetrics(0.5, 0.8, 0.75))


def lines_of(clock, show):
    written = io.StringIO()
    display = TrainingDisplay(Console(file=written, width=200))
    show(display)
    return display, written.getvalue().splitlines()


def test_lines_where_there_is_no_terminal(clock):
    written = io.StringIO()
    display = TrainingDisplay(Console(file=written, width=200))
    run(display, clock)
    assert written.getvalue().splitlines() == [
        "epoch 1/2, step 2/10: loss 0.500",
        "epoch 1/2, step 4/10: loss 0.500, 150 tokens/s, 10.0% padding, 0:36 left",
        "epoch 1/2: training loss 0.2500; validation loss 0.5000, accuracy 0.8000, "
        "macro F1 0.7500",
    ]
    assert display.tokens_per_second == 150
    assert display.padding_share == pytest.approx(0.1)
    assert display.waiting_share == 0.25  # without the steps that warm up


def test_shares_of_nothing():
    display = TrainingDisplay(quiet=True)
    assert display.padding_share == display.waiting_share == 0


def test_a_live_line_on_a_terminal(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")  # On a dumb one there is none.
    written = io.StringIO()
    run(TrainingDisplay(Console(file=written, width=200, force_terminal=True)), clock)
    assert "4/10" in written.getvalue()
    assert "macro F1 0.7500" in written.getvalue()
    assert "left" not in written.getvalue()


def test_quiet_shows_nothing(clock):
    written = io.StringIO()
    display = TrainingDisplay(Console(file=written), quiet=True)
    run(display, clock)
    assert written.getvalue() == ""
    assert display.tokens_per_second == 150


def test_steps_of_an_earlier_process_are_done_and_have_taken_no_time(clock):
    def show(display):
        with display:
            display.begin(total_steps=10)
            display.take_up(6)
            display.begin_epoch(2, 2)
            for _ in range(4):
                clock[0] += 6
                display.step(0.5, tokens=900, cells=1000, waited=1.5)

    display, lines = lines_of(clock, show)
    assert lines == [
        "going on from step 6 of 10",
        "epoch 2/2, step 8/10: loss 0.500",
        "epoch 2/2, step 10/10: loss 0.500, 150 tokens/s, 10.0% padding, 0:00 left",
    ]
    assert display.tokens_per_second == 150  # of the steps of this process


def test_time_left_after_taking_up_is_by_the_steps_of_this_process(clock):
    def show(display):
        with display:
            display.begin(total_steps=100)
            display.take_up(60)
            display.begin_epoch(2, 2)
            for _ in range(4):
                clock[0] += 6
                display.step(0.5, tokens=900, cells=1000, waited=1.5)

    _, lines = lines_of(clock, show)
    assert lines[-1].endswith(
        "step 64/100: loss 0.500, 150 tokens/s, 10.0% padding, 3:36 left"
    )


def test_metrics_that_a_task_has(clock):
    def show(display):
        display.begin_epoch(1, 3)
        display.end_epoch(0.25, None)
        display.end_epoch(0.25, ValidationMetrics(0.5, 0.8, 0.75, error=0.3))

    _, lines = lines_of(clock, show)
    assert lines == [
        "epoch 1/3: training loss 0.2500",
        "epoch 1/3: training loss 0.2500; validation loss 0.5000, accuracy 0.8000, "
        "macro F1 0.7500, mean absolute error 0.3000",
    ]
