"""Mishaps that meet: a kill and a stop, a copy under way, other conditions."""

import os

import pytest

from reviewbeam.components.ingestion import read as reading
from reviewbeam.components.ingestion import units
from reviewbeam.pipelines import score as score_job
from reviewbeam.pipelines import score_graph
from tests.pipelines.nights import ids, listed, of

SLICED = {"slice_bytes": 1024}


@pytest.fixture
def copied_meanwhile(monkeypatch, tmp_path):
    """Returns a function that has a file be copied in place while it is read.

    What is read of it is its start; behind the run it is as it was, but for its time.
    """

    def begin(name, lines):
        path = tmp_path / "in" / name
        whole = path.read_bytes()
        batches = reading.SliceReader.batches

        def meanwhile(reader):
            if reader.summary.file != name:
                return batches(reader)
            path.write_bytes(b"".join(whole.splitlines(keepends=True)[:lines]))
            read = list(batches(reader))
            path.write_bytes(whole)
            return iter(read)

        monkeypatch.setattr(reading.SliceReader, "batches", meanwhile)

    return begin


@pytest.fixture
def dies_while_publishing(monkeypatch):
    """Has the next run die when it has moved three parts."""
    move, moved = os.replace, []

    def dies(source, target):
        if "model_version=" in str(target):
            if len(moved) == 3:
                raise OSError("the machine went away")
            moved.append(target)
        move(source, target)

    monkeypatch.setattr(os, "replace", dies)


def test_a_file_copied_while_a_run_is_stopped(
    night, deliver, tmp_path, copied_meanwhile, monkeypatch
):
    old = deliver("b.jsonl.gz", 200)
    os.utime(old, (1e9, 1e9))
    deliver("a.jsonl", 12)
    copied_meanwhile("a.jsonl", 5)
    assert night("--limit", "15", **SLICED)[0] == 75
    monkeypatch.undo()
    assert night(**SLICED)[0] == 0
    assert ids(tmp_path) == listed(tmp_path) == sorted(of("a", 12) + of("b", 200))


def test_a_file_copied_while_half_of_its_pack_was_read(
    night, deliver, tmp_path, copied_meanwhile, monkeypatch
):
    deliver("a.jsonl", 8)
    deliver("b.jsonl", 40)
    copied_meanwhile("a.jsonl", 3)
    assert night("--limit", "15")[0] == 75
    monkeypatch.undo()
    assert night()[0] == 0
    assert ids(tmp_path) == listed(tmp_path) == sorted(of("a", 8) + of("b", 40))


def test_a_file_copied_while_a_run_dies(
    night, deliver, tmp_path, copied_meanwhile, monkeypatch
):
    for index in range(3):
        deliver(f"f{index}.jsonl", 10)
    copied_meanwhile("f1.jsonl", 5)

    def dies(*arguments):
        raise OSError("the machine went away")

    monkeypatch.setattr(score_job.Outcome, "read", dies)
    assert night()[0] == 1
    monkeypatch.undo()
    assert night()[0] == 0
    assert len(ids(tmp_path)) == 30


def test_a_large_file_that_changes_is_not_published(
    night, deliver, tmp_path, monkeypatch
):
    deliver("a.jsonl", 10)
    path = deliver("b.jsonl", 300)
    whole = path.read_bytes()
    begin = score_graph.Window.begin_chunk
    begun = []

    def changes(window, rows):
        begun.append(rows)
        if len(begun) == 3:
            path.write_bytes(whole.replace(b"b-", b"c-"))
        return begin(window, rows)

    monkeypatch.setattr(score_graph.Window, "begin_chunk", changes)
    code, _, err = night(**SLICED)
    assert code == 1 and f"{path} is damaged: it changed while it was read" in err
    assert ids(tmp_path) == of("a", 10)
    monkeypatch.undo()
    assert night(**SLICED)[0] == 0
    assert ids(tmp_path) == sorted(of("a", 10) + of("c", 300))


def test_a_touched_file_takes_no_rows_along(night, deliver, tmp_path, monkeypatch):
    for index in range(12):
        deliver(f"f{index:02d}.jsonl", 4)
    assert night("--limit", "15")[0] == 75
    begin = score_graph.Window.begin_chunk

    def touches(window, rows):
        os.utime(tmp_path / "in" / "f00.jsonl")
        return begin(window, rows)

    monkeypatch.setattr(score_graph.Window, "begin_chunk", touches)
    assert night("--limit", "5")[0] in (1, 75)
    monkeypatch.undo()
    assert night()[0] == 0
    expected = sorted(i for n in range(12) for i in of(f"f{n:02d}", 4))
    assert ids(tmp_path) == listed(tmp_path) == expected


def test_killed_then_stopped_with_a_new_file_and_held(
    night, deliver, tmp_path, dies_while_publishing, monkeypatch
):
    os.utime(deliver("a.jsonl.gz", 60), (1e9, 1e9))
    assert night(**SLICED)[0] == 1
    monkeypatch.undo()
    deliver("b.jsonl.gz", 60)
    assert night("--limit", "15", partial="hold", **SLICED)[0] == 75
    assert night(partial="hold", **SLICED)[0] == 0
    assert ids(tmp_path) == listed(tmp_path) == sorted(of("a", 60) + of("b", 60))


def test_killed_then_stopped_under_other_conditions(
    night, deliver, tmp_path, dies_while_publishing, monkeypatch
):
    deliver("a.jsonl.gz", 60)
    assert night(**SLICED)[0] == 1
    monkeypatch.undo()
    assert night("--limit", "15", on_damaged_file="salvage", **SLICED)[0] == 75
    assert night(**SLICED)[0] == 0
    assert ids(tmp_path) == listed(tmp_path) == sorted(of("a", 60))


def test_ids_that_are_left_out_for_a_time(night, deliver, tmp_path):
    for index in range(12):
        deliver(f"f{index:02d}.jsonl", 4)
    assert night("--limit", "15")[0] == 75
    (tmp_path / "out.txt").write_text("f00-1\n")
    excluded = str(tmp_path / "out.txt")
    assert night("--limit", "15", exclude_ids=excluded)[0] == 75
    assert "f00-1" not in ids(tmp_path) and ids(tmp_path) == listed(tmp_path)
    assert night()[0] == 0
    expected = sorted(i for n in range(12) for i in of(f"f{n:02d}", 4))
    assert ids(tmp_path) == listed(tmp_path) == expected


def test_a_file_that_cannot_be_divided_is_salvaged_whole(
    night, deliver, tmp_path, monkeypatch
):
    deliver("a.jsonl", 100)

    def fails(*arguments):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(units, "_line_feeds", fails)
    assert night(on_damaged_file="salvage", **SLICED)[0] == 0
    assert ids(tmp_path) == sorted(of("a", 100))


def test_an_emptied_folder_hides_no_other(night, deliver, tmp_path):
    deliver("a.jsonl", 4)
    assert night()[0] == 0
    (tmp_path / "in" / "a.jsonl").unlink()
    (tmp_path / "in2").mkdir()
    deliver("b.jsonl", 4).rename(tmp_path / "in2" / "b.jsonl")
    code, out, _ = night("--input", tmp_path / "in2" / "*")
    assert code == 0 and "gone, whose scores stay: 1" in out
    assert ids(tmp_path) == of("a", 4) + of("b", 4)
    assert night("--input", tmp_path / "in3" / "*")[0] == 2


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("z.jsonl", b'{"id": "z", "te', "is no jsonl file"),
        ("z.jsonl.gz", bytes(10) + b"words", "is no gzip file"),
        ("z.jsonl", b'{"id": "z", "txt": "words"}\n', "has no column 'text'"),
        ("z.docx", b"words", "the ending tells no format"),
    ],
)
def test_a_file_of_nothing_that_is_known_is_left_out_and_named(
    night, deliver, tmp_path, name, content, reason
):
    deliver("a.jsonl", 4)
    (tmp_path / "in" / name).write_bytes(content)
    code, _, err = night()
    assert code == 1 and reason in err and "Traceback" not in err
    assert ids(tmp_path) == of("a", 4)
    (tmp_path / "in" / "a.jsonl").unlink()
    assert night(on_damaged_file="salvage")[0] == 2


def test_touched_files_are_hashed_once(night, deliver, tmp_path, monkeypatch):
    path = deliver("a.jsonl", 4)
    assert night()[0] == 0
    os.utime(path)
    assert night()[0] == 0

    def never(*arguments):
        raise AssertionError("its time is known")

    monkeypatch.setattr("reviewbeam.components.ingestion.files.open_binary", never)
    assert night()[0] == 0


def test_parts_that_another_version_never_published_go(
    night, deliver, tmp_path, dies_while_publishing, monkeypatch
):
    """Who reads the whole folder must not meet a row twice."""
    with deliver("a.jsonl", 60).open("a") as file:
        file.write("{broken\n")
    other = {"rules": {"max_characters": 5000}}
    assert night()[0] == 1
    monkeypatch.undo()
    (left,) = tmp_path.glob("scores/model_version=*")
    assert len(list(left.iterdir())) == 3

    assert night(**other)[0] == 0
    assert not left.exists()
    assert len(list(tmp_path.glob("scores/_rejects/*/*"))) == 1
    assert ids(tmp_path) == listed(tmp_path) == sorted(of("a", 60))
    for settings in ({}, other):  # both are listed now
        assert night(**settings)[0] == 0
        assert ids(tmp_path) == listed(tmp_path) == sorted(2 * of("a", 60))
