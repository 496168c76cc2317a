"""Calls before their turn: how many, in which order, and what a failure does."""

import threading
import time

import numpy as np
import pytest

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.inference.ahead import Ahead

BATCHES = [np.array([place]) for place in range(20)]


class Call:
    """Doubles; tells how many run at once, and fails on some batches."""

    def __init__(self, fails=lambda place, at_once: None):
        self.calls: list[int] = []
        self.most = self._running = 0
        self._fails = fails
        self._lock = threading.Lock()

    def __call__(self, rows):
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
            at_once = self._running
            self.calls.append(int(rows[0]))
        try:
            time.sleep(0.002 if rows[0] % 3 else 0.006)
            if error := self._fails(int(rows[0]), at_once):
                raise error
            return rows * 2
        finally:
            with self._lock:
                self._running -= 1


def double_all(call, concurrency):
    with Ahead(call, BATCHES, concurrency) as ahead:
        return [int(ahead.values(batch)[0]) for batch in BATCHES]


@pytest.mark.parametrize("concurrency", [1, 2, 4])
def test_as_many_at_once_as_asked_and_each_once(concurrency):
    before = threading.active_count()
    call = Call()
    assert double_all(call, concurrency) == list(range(0, 40, 2))
    assert sorted(call.calls) == list(range(20))
    assert call.most == concurrency
    assert threading.active_count() == before  # no thread is left


def test_what_fails_only_beside_others_runs_alone_and_so_does_the_rest():
    call = Call(lambda place, at_once: MemoryError() if at_once > 1 else None)
    assert double_all(call, 4) == list(range(0, 40, 2))
    late = [place for place in call.calls if place >= 10]
    assert late == list(range(10, 20))


@pytest.mark.parametrize("error", [UserError("wrong"), KeyboardInterrupt()])
def test_a_failure_is_raised_in_its_turn_and_no_thread_is_left(error):
    before = threading.active_count()
    call = Call(lambda place, at_once: error if place == 5 else None)
    done = []
    with pytest.raises(type(error)), Ahead(call, BATCHES, 3) as ahead:
        for batch in BATCHES:
            done.append(int(ahead.values(batch)[0]))
    assert done == [0, 2, 4, 6, 8]
    assert max(call.calls) < 5 + 2 * 3  # not all the rest was begun
    assert threading.active_count() == before


def test_a_call_between_them_is_alone():
    alone = []

    def call(rows):
        time.sleep(0.005)
        if len(rows) == 2:
            alone.append(sorted(running))
        else:
            running.add(int(rows[0]))
            time.sleep(0.005)
            running.discard(int(rows[0]))
        return rows

    running: set[int] = set()
    with Ahead(call, BATCHES, 3) as ahead:
        ahead.values(BATCHES[0])
        ahead.values(np.array([7, 8]))
        assert ahead.values(BATCHES[1]).tolist() == [1]
    assert alone == [[]]
