import datetime
import os
import signal
import threading
import time

import pytest

from reviewbeam.pipelines import score_window
from reviewbeam.pipelines.score_window import (
    Window,
    closing_at,
    closing_on_signals,
    next_deadline,
)


@pytest.fixture
def window(tmp_path):
    window = Window(str(tmp_path))
    window.open(None)
    return window


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2024-05-06 22:10", "2024-05-07 05:30"),
        ("2024-05-06 05:29", "2024-05-06 05:30"),
        ("2024-05-06 05:30", "2024-05-07 05:30"),
        ("2024-12-31 23:59", "2025-01-01 05:30"),
    ],
)
def test_a_deadline_is_the_next_such_time(now, expected):
    read = datetime.datetime.fromisoformat
    assert next_deadline("05:30", read(now)) == read(expected)


def test_chunks_begin_until_the_window_is_closed(window):
    assert window.begin_chunk(10)
    window.close()
    assert window.is_closed() and not window.begin_chunk(10)
    window.open(None)
    assert window.begin_chunk(10)


def test_the_limit_lets_the_chunk_that_reaches_it_begin(window):
    window.open(25)
    assert [window.begin_chunk(10) for _ in range(4)] == [True, True, True, False]
    assert window.is_closed()


def test_the_deadline_closes(window, monkeypatch):
    monkeypatch.setattr(
        score_window,
        "next_deadline",
        lambda time, now: now + datetime.timedelta(seconds=0.2),
    )
    with closing_at(window, "05:30"):
        assert not window.is_closed()
        time.sleep(0.5)
        assert window.is_closed()


def test_a_deadline_after_the_end_closes_nothing(window, monkeypatch):
    monkeypatch.setattr(
        score_window,
        "next_deadline",
        lambda time, now: now + datetime.timedelta(seconds=0.2),
    )
    with closing_at(window, "05:30"):
        pass
    time.sleep(0.4)
    assert not window.is_closed()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_closes_and_the_second_interrupts(window, number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), closing_on_signals(window):
        os.kill(os.getpid(), number)
        assert window.is_closed()
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_a_thread_listens_to_no_signals(window):
    def run():
        with closing_on_signals(window):
            done.append(True)

    done = []
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert done == [True]
