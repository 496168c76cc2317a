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
        # The clock is set forward at 02:00 of that night: six hours, not seven.
        ("2024-03-30 22:30", "2024-03-31 05:30"),
    ],
)
def test_a_deadline_is_the_next_such_time(now, expected, monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()

    def read(text):
        return datetime.datetime.fromisoformat(text).astimezone()

    assert next_deadline("05:30", read(now)) == read(expected)
    monkeypatch.undo()
    time.tzset()


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


def in_seconds(seconds):
    now = datetime.datetime.now().astimezone()
    return now + datetime.timedelta(seconds=seconds)


def test_the_deadline_closes(window):
    with closing_at(window, in_seconds(0.3)):
        assert not window.is_closed()
        time.sleep(0.6)
        assert window.is_closed()


def test_a_deadline_that_came_while_files_were_hashed_closes_at_once(window):
    with closing_at(window, in_seconds(-100)):
        assert window.is_closed()


def test_a_deadline_after_the_end_closes_nothing(window):
    with closing_at(window, in_seconds(0.3)), closing_at(window, None):
        pass
    time.sleep(0.5)
    assert not window.is_closed()


def test_a_signal_after_the_deadline_is_the_first_one(window):
    window.close()
    with closing_on_signals(window):
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_closes_and_a_later_one_interrupts(
    window, number, monkeypatch
):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), closing_on_signals(window):
        os.kill(os.getpid(), number)
        assert window.is_closed()
        os.kill(os.getpid(), number)  # at once: the same one
        monkeypatch.setattr(score_window, "_AT_ONCE", 0.01)
        time.sleep(0.02)
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
