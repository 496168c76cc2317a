import pytest

from reviewbeam.components.inference.parts import (
    ChunkRecord,
    Segment,
    UnitRecord,
    write_record,
)
from reviewbeam.components.ingestion.files import CorpusFile, FileSlice
from reviewbeam.components.ingestion.units import Unit
from reviewbeam.pipelines import score_progress
from reviewbeam.pipelines.score_progress import PROGRESS, Follower


def unit_of(name, size):
    file = CorpusFile(f"/{name}", name, "jsonl", "none", size, "0")
    return Unit((FileSlice(file, 0, 0, size),))


def finish(folder, name, unit, rows, size, rejected=0):
    rejects = {"text_empty": rejected} if rejected else {}
    segment = Segment("a", "0", 0, 1, rows, rows - rejected, rejects)
    counts = {"read_bytes": size}
    write_record(folder, ChunkRecord(name, unit.name, (segment,), counts, None))


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(score_progress.time, "monotonic", lambda: now[0])
    return now


def test_progress_counts_what_this_run_finished(tmp_path, clock):
    one, two = unit_of("a", 999), unit_of("b", 999)
    finish(tmp_path, "c0", one, 10, 500)  # by an earlier run
    (tmp_path / PROGRESS).mkdir()
    follower = Follower(tmp_path, [one, two])
    assert follower.progress().left is None

    clock[0] += 10
    finish(tmp_path, "c1", one, 30, 400, rejected=2)
    write_record(tmp_path, UnitRecord(one.name, ("c0", "c1"), []))
    progress = follower.progress()
    assert (progress.rows, progress.rejected, progress.done) == (30, 2, 0.5)
    # A quarter of all took ten seconds, and half of it is left.
    assert progress.left == pytest.approx(20)
    assert str(progress) == (
        "50%, 30 rows, 3 rows/s, 2 rejected, 10 rows by an earlier run, 20 s left"
    )

    (tmp_path / PROGRESS / "progress-1-2").write_text("55")
    assert follower.progress().rows == 55
    finish(tmp_path, "c2", two, 10, 5000)
    assert follower.progress().done == pytest.approx(0.975)
    write_record(tmp_path, UnitRecord(two.name, ("c2",), []))
    assert follower.progress().done == 1
