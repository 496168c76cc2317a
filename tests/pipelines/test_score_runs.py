"""What a nightly run of `score` does with files that come, change, break and go."""

import datetime
import gzip
import os
import shutil
import threading
import time

import pandas as pd
import pytest

from reviewbeam.components.inference.parts import ChunkRecord
from reviewbeam.components.ingestion import read as reading
from reviewbeam.pipelines import score as score_job
from reviewbeam.pipelines import score_graph, score_window, scores_folder
from tests.pipelines.nights import ids, listed, of


def test_small_files_share_parts(night, deliver, tmp_path):
    for index in range(30):
        deliver(f"f{index:02d}.jsonl", 3)
    assert night()[0] == 0
    parts = list(tmp_path.glob("scores/model_version=*/*"))
    assert len(parts) == 9
    assert all(5 <= len(pd.read_parquet(part)) < 15 for part in parts)
    expected = [i for index in range(30) for i in of(f"f{index:02d}", 3)]
    assert ids(tmp_path) == listed(tmp_path) == sorted(expected)


def test_a_changed_file_costs_its_mates_nothing(night, deliver, tmp_path, monkeypatch):
    """Also not one that is gone: its scores stay."""
    for index in range(8):
        deliver(f"f{index}.jsonl", 4)
    assert night()[0] == 0
    deliver("f3.jsonl", 2, start=90)
    gone = tmp_path / "in" / "f4.jsonl"
    gone.unlink()
    seen = []
    write = score_graph.write_record
    monkeypatch.setattr(
        score_graph,
        "write_record",
        lambda folder, record: (seen.append(record), write(folder, record))[1],
    )
    code, out, _ = night()
    assert code == 0
    assert [r.rows for r in seen if isinstance(r, ChunkRecord)] == [2]
    assert "scored files that are gone, whose scores stay: 1" in out
    expected = [i for n in range(8) if n != 3 for i in of(f"f{n}", 4)]
    assert ids(tmp_path) == listed(tmp_path) == sorted(expected + of("f3", 90, 92))
    assert night()[1].startswith("Scores: 0 rows read from 0 new files")


@pytest.mark.parametrize(
    "dies_at",
    [
        *(None, 2, 5, 8),
        *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3, 4, 6, 7, 9, 10)),
    ],
)
def test_a_reader_sees_every_row_once_at_every_moment(
    night, deliver, tmp_path, monkeypatch, dies_at
):
    for index in range(6):
        deliver(f"f{index}.jsonl", 7)
    assert night()[0] == 0
    before = ids(tmp_path)
    deliver("f1.jsonl", 5, start=50)
    deliver("f2.jsonl", 9)
    after = sorted(set(before) - set(of("f1", 7)) | {*of("f1", 50, 55), *of("f2", 9)})
    seen, calls = [], []

    def watched(real):
        def call(*arguments, **options):
            seen.append(listed(tmp_path))
            calls.append(1)
            if len(calls) == dies_at:
                raise OSError("the machine went away")
            return real(*arguments, **options)

        return call

    publish = scores_folder.ScoresVersion.publish

    def watches(self, *arguments, **options):
        with monkeypatch.context() as patch:
            for name in ("replace", "unlink", "rename"):
                patch.setattr(os, name, watched(getattr(os, name)))
            publish(self, *arguments, **options)
            seen.append(listed(tmp_path))
            self.finish(staged=False)

    monkeypatch.setattr(scores_folder.ScoresVersion, "publish", watches)
    code = night()[0]
    assert all(state in (before, after) for state in seen)
    if dies_at is None:
        assert code == 0 and {len(state) for state in seen} == {len(before), len(after)}
    monkeypatch.undo()
    assert night()[0] == 0
    assert ids(tmp_path) == listed(tmp_path) == after


def test_a_damaged_file_among_small_ones(night, deliver, tmp_path):
    for index in range(4):
        deliver(f"f{index}.jsonl", 4)
    path = deliver("g.jsonl.gz", 20)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    code, _, err = night()
    assert code == 1 and f"{path} is damaged" in err
    assert not any(i.startswith("g") for i in ids(tmp_path))
    assert night()[0] == 1  # it is still as it was
    path.write_bytes(whole)
    assert night()[0] == 0
    assert ids(tmp_path) == sorted(
        [i for n in range(4) for i in of(f"f{n}", 4)] + of("g", 20)
    )


@pytest.mark.parametrize("name", ["g.jsonl.gz", "g.parquet"])
def test_a_large_damaged_file(night, deliver, tmp_path, name):
    deliver("f.jsonl", 4)
    path = deliver(name, 200)
    whole = path.read_bytes()
    if name.endswith("parquet"):  # in its middle, where a group is read late
        path.write_bytes(whole[:2000] + b"\xff" * 400 + whole[2400:])
    else:
        path.write_bytes(whole[:-30])
    settings = {"slice_bytes": 1024}
    code, _, err = night(**settings)
    assert code == 1 and f"{path} is damaged" in err
    assert ids(tmp_path) == of("f", 4)
    if name.endswith("gz"):
        assert night(on_damaged_file="fail", **settings)[0] == 2
        assert night(on_damaged_file="salvage", **settings)[0] == 0
        found = ids(tmp_path)
        assert len(found) > 100 and found == listed(tmp_path)
        rejects = pd.read_parquet(next(tmp_path.glob("scores/_rejects/*")))
        assert rejects["rule"].to_list() == ["damaged_file"]


def test_a_file_that_changes_while_it_is_read(night, deliver, tmp_path, monkeypatch):
    deliver("a.jsonl", 4)
    path = deliver("b.jsonl", 4)
    deliver("c.jsonl", 4)
    batches = reading.SliceReader.batches

    def changes(self):
        if self.summary.file == "b.jsonl":
            path.write_text('{"text": "another"}\n')
        yield from batches(self)

    monkeypatch.setattr(reading.SliceReader, "batches", changes)
    code, _, err = night()
    assert code == 1 and f"{path} is damaged: it changed while it was read" in err
    assert ids(tmp_path) == listed(tmp_path) == of("a", 4) + of("c", 4)
    monkeypatch.undo()
    deliver("b.jsonl", 6)
    assert night()[0] == 0
    assert ids(tmp_path) == of("a", 4) + of("b", 6) + of("c", 4)


def test_a_file_that_vanishes(night, deliver, tmp_path, monkeypatch):
    deliver("a.jsonl", 4)
    path = deliver("b.jsonl", 4)
    batches = reading.SliceReader.batches

    def vanishes(self):
        path.unlink(missing_ok=True)
        yield from batches(self)

    monkeypatch.setattr(reading.SliceReader, "batches", vanishes)
    code, _, err = night()
    assert code == 1 and f"{path} is damaged" in err
    assert ids(tmp_path) == listed(tmp_path) == of("a", 4)


def test_an_empty_compressed_file_is_damaged(night, deliver, tmp_path):
    deliver("a.jsonl", 4)
    (tmp_path / "in" / "b.jsonl.gz").write_bytes(b"")
    code, _, err = night()
    assert code == 1 and "b.jsonl.gz is damaged: it is empty" in err
    assert ids(tmp_path) == of("a", 4)


def test_lines_of_rejects_count_from_the_start_of_their_file(night, deliver, tmp_path):
    path = deliver("a.jsonl", 90)
    lines = path.read_bytes().splitlines(keepends=True)
    for place in (80, 41, 3):
        lines.insert(place, b"{broken\r\n")
    path.write_bytes(b"".join(lines))
    for name in ("b.jsonl.gz", "c.jsonl"):
        data = b"".join(lines)
        path.with_name(name).write_bytes(gzip.compress(data) if "gz" in name else data)
    assert night(slice_bytes=1024)[0] == 0
    rejects = pd.read_parquet(next(tmp_path.glob("scores/_rejects/*")))
    for name in ("a.jsonl", "b.jsonl.gz", "c.jsonl"):
        rows = sorted(rejects[rejects["file"] == name]["row"])
        assert rows == [4, 43, 83]
        broken = [i for i, line in enumerate(lines, 1) if b"broken" in line]
        assert rows == broken


def test_the_limit_ends_a_run_at_a_chunk(night, deliver, tmp_path):
    deliver("a.jsonl.gz", 300)
    settings = {"slice_bytes": 1024}
    code, out, err = night("--limit", "35", **settings)
    assert code == 75 and "1 files have chunks left" in err
    assert len(ids(tmp_path)) == 40 and ids(tmp_path) == listed(tmp_path)
    code, out, _ = night("--limit", "35", **settings)
    assert code == 75 and len(ids(tmp_path)) == 80
    assert night(**settings)[0] == 0
    assert ids(tmp_path) == sorted(of("a", 300))
    assert night("--limit", "1", **settings)[0] == 0


def test_a_partly_published_file_that_changes(night, deliver, tmp_path):
    settings = {"slice_bytes": 1024}
    deliver("a.jsonl.gz", 300)
    assert night("--limit", "35", **settings)[0] == 75
    deliver("a.jsonl.gz", 30, start=500)
    assert night(**settings)[0] == 0
    assert ids(tmp_path) == listed(tmp_path) == of("a", 500, 530)


def test_a_partly_published_file_without_its_staged_work(night, deliver, tmp_path):
    settings = {"slice_bytes": 1024}
    for index in range(8):
        deliver(f"f{index}.jsonl", 7)
    assert night("--limit", "11", **settings)[0] == 75
    shutil.rmtree(tmp_path / "scores" / "_staged")
    deliver("f00.jsonl", 5)
    assert night(**settings)[0] == 0
    expected = [i for n in range(8) for i in of(f"f{n}", 7)] + of("f00", 5)
    assert ids(tmp_path) == listed(tmp_path) == sorted(expected)


def test_killed_while_publishing_then_held(night, deliver, tmp_path, monkeypatch):
    """A part that was moved by a publication that died is no leftover."""
    deliver("a.jsonl.gz", 300)
    settings = {"slice_bytes": 1024}
    move, moved = os.replace, []

    def dies(source, target):
        if "model_version=" in str(target):
            moved.append(target)
            if len(moved) == 3:
                raise OSError("the machine went away")
        move(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dies)
        assert night("--limit", "60", **settings)[0] == 1
    assert len(list(tmp_path.glob("scores/model_version=*/*"))) == 2
    assert night("--limit", "20", partial="hold", **settings)[0] == 75
    assert night(**settings)[0] == 0
    assert ids(tmp_path) == listed(tmp_path) == sorted(of("a", 300))


def test_newest_files_come_first(night, deliver, tmp_path):
    for index, age in enumerate((300, 100, 200)):
        path = deliver(f"f{index}.jsonl.gz", 40)
        moment = time.time() - age
        os.utime(path, (moment, moment))
    assert night("--limit", "15", slice_bytes=1024)[0] == 75
    assert {i.split("-")[0] for i in ids(tmp_path)} == {"f1"}


def test_the_deadline_ends_a_run_at_a_chunk(night, deliver, tmp_path, monkeypatch):
    deliver("a.jsonl.gz", 300)
    begin, begun = score_graph.Window.begin_chunk, []
    timers = []

    def counts(window, rows):
        begun.append(rows)
        if len(begun) == 4:
            timers[0].function()  # it is half past five
        return begin(window, rows)

    class Timer(threading.Timer):
        def start(self):
            timers.append(self)

    monkeypatch.setattr(score_window.threading, "Timer", Timer)
    monkeypatch.setattr(score_graph.Window, "begin_chunk", counts)
    monkeypatch.setattr(
        score_job,
        "next_deadline",
        lambda text, now: now + datetime.timedelta(seconds=500),
    )
    code, _, err = night(slice_bytes=1024, deadline="05:30")
    assert code == 75 and "chunks left" in err
    assert len(ids(tmp_path)) == 30
    assert 400 < timers[0].interval < 500


def test_hashes_are_taken_again_only_if_asked(night, deliver, tmp_path):
    path = deliver("a.jsonl", 5)
    assert night()[0] == 0
    status = path.stat()
    data = path.read_bytes()
    path.write_bytes(data.replace(b"a-0", b"a-9"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "0 rows read from 0 new" in night()[1]
    assert "5 rows read from 1 new" in night("--verify")[1]
    assert ids(tmp_path) == sorted([*of("a", 1, 5), "a-9"])


def test_one_output_has_one_format(night, deliver, tmp_path):
    deliver("a.jsonl", 5)
    assert night(output_format="csv")[0] == 0
    code, _, err = night()
    assert code == 2 and "holds scores as csv" in err


def test_a_preview_writes_nothing(night, deliver, tmp_path):
    deliver("a.jsonl", 5)
    deliver("b.jsonl.gz", 400)
    deliver("c.parquet", 50)
    code, out, _ = night("--dry-run")
    assert code == 0
    assert "To score: 3 new files" in out and "rows/s, by a sample" in out
    rows = int(out.split("about ")[1].split(" rows")[0].replace(",", ""))
    assert 400 < rows < 520
    assert not list(tmp_path.glob("scores*"))
    assert night()[0] == 0
    assert "To score: 0 new files" in night("--dry-run")[1]


def test_each_gpu_has_a_worker_process(night, deliver, tmp_path, monkeypatch):
    """None is at hand here: what is asked for is looked at, not what runs on them."""
    deliver("a.jsonl", 5)
    asked = []

    def runs(self, units, work):
        asked.append(self.options.get_all_options())
        raise OSError("no GPU is here")

    monkeypatch.setattr(score_job, "visible_gpus", lambda: ["0", "1", "2"])
    monkeypatch.setattr(score_job._Job, "_run_pipeline", runs)
    assert night()[0] == 1
    assert asked[0]["direct_num_workers"] == 3
    assert asked[0]["direct_running_mode"] == "multi_processing"
    assert night("--direct_num_workers=1")[0] == 1
    assert asked[1]["direct_num_workers"] == 1
