import json
import threading
import time

import pytest

from reviewbeam.components.common import store_lock
from reviewbeam.components.common.errors import (
    BusyError,
    ReviewbeamError,
    UserError,
)
from reviewbeam.components.common.places import place
from reviewbeam.components.common.run_record import RunRecord
from reviewbeam.components.common.store_lock import LOCK, Lock, held
from reviewbeam.components.common.stores import StorePath


@pytest.fixture
def folder(bucket):
    return place(bucket.url) / "scores"


def test_one_run_at_a_time(folder, bucket):
    with held(folder, RunRecord("score")):
        told = json.loads(bucket.get(f"scores/{LOCK}"))
        with pytest.raises(BusyError) as error, held(folder, RunRecord("score")):
            pass
        assert f"process {told['pid']} on {told['host']}, since {told['since']}" in str(
            error.value
        )
        assert bucket.names() == [f"scores/{LOCK}"]
    assert bucket.names() == []
    with held(folder, RunRecord("score")):
        pass


def test_of_many_at_once_one_gets_it(folder, bucket):
    got, busy = [], []
    start = threading.Barrier(8)
    locks = [Lock(folder) for _ in range(8)]

    def take(lock, now):
        start.wait()
        try:
            lock.take(now)
            got.append(lock)
        except BusyError:
            busy.append(lock)

    def race(now):
        got.clear()
        busy.clear()
        threads = [threading.Thread(target=take, args=(lock, now)) for lock in locks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    race(0.0)
    assert (len(got), len(busy)) == (1, 7)
    (holder,) = got
    holder.check()

    # Five minutes later each takes the lock of a run that is gone; one gets it.
    locks = [Lock(folder) for _ in range(8)]
    modified = holder._path.read().modified
    time.sleep(1.1)  # the store tells whole seconds
    race(modified + 300.5)
    assert (len(got), len(busy)) == (1, 7)
    with pytest.raises(BusyError, match="This run stood still for so long"):
        holder.check()
    holder.release()  # it isn't its lock any more
    got[0].check()
    got[0].release()
    assert bucket.names() == []


def test_a_lock_that_is_kept_is_not_taken(folder, monkeypatch):
    monkeypatch.setattr(store_lock, "_STALE", 2.0)
    monkeypatch.setattr(store_lock, "_REFRESH", 0.2)
    run = RunRecord("score")
    ended = threading.Event()
    with held(folder, run):
        assert not ended.wait(3.5)
        with pytest.raises(BusyError), held(folder, RunRecord("score")):
            pass
        run.check()


def test_a_lock_that_was_removed_is_lost(folder, bucket):
    run = RunRecord("score")
    with held(folder, run):
        bucket.client.delete_object(Bucket=bucket.name, Key=f"scores/{LOCK}")
        with pytest.raises(BusyError, match="Run it again when that has ended"):
            run.check()
    assert bucket.names() == []


def test_a_put_whose_reply_was_lost_counts(folder):
    """The library sends it again, and the store finds it done already."""
    lock = Lock(folder)
    lock.take(0.0)
    lock.take(0.0)
    lock._beats += 1
    lock._path.replace(lock._content(), lock._tag)
    lock._beats -= 1
    lock.check()
    lock.check()


def test_a_lock_that_says_nothing_is_taken_over_in_time(folder, bucket):
    bucket.put(f"scores/{LOCK}", b"{")
    with pytest.raises(BusyError, match="Another run is writing"):
        with held(folder, RunRecord("score")):
            pass
    written = (folder / LOCK).read().modified
    Lock(folder).take(written + 301)


def test_a_store_without_conditional_puts(folder, bucket, monkeypatch):
    monkeypatch.setattr(bucket.server, "unconditional", True)
    with pytest.raises(UserError, match="has no conditional puts.*--no-lock"):
        with held(folder, RunRecord("score")):
            pass
    assert bucket.names() == []
    with held(folder, RunRecord("score"), lock=False):
        assert bucket.names() == []


@pytest.mark.parametrize("put", ["create", "replace"])
def test_a_store_that_refuses_every_conditional_put(folder, bucket, monkeypatch, put):
    def refuse(*_):
        raise ReviewbeamError("501: not implemented")

    monkeypatch.setattr(StorePath, put, refuse)
    with pytest.raises(UserError, match="has no conditional puts"):
        with held(folder, RunRecord("score")):
            pass
    assert bucket.names() == []
