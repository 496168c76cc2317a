import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reviewbeam.components.common.artifacts import RUN_FILE, write_manifest
from reviewbeam.components.common.errors import BusyError, UserError
from reviewbeam.components.common.publishing import (
    SUCCESS,
    add_to_run_record,
    folder_lock,
    is_done,
    make_folder,
    staged_output,
)

# Takes the output's lock in another process and says so; ends when told or killed.
HOLDER = """
import sys
from pathlib import Path
from reviewbeam.components.common.publishing import staged_output
with staged_output(Path(sys.argv[1]), "holder") as staging:
    (staging / "half.txt").write_text("half")
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out" / "dataset"


def _publish(output, content="content", identity="f1", overwrite=False):
    with staged_output(output, "prepare", overwrite=overwrite) as staging:
        (staging / "data.txt").write_text(content)
        write_manifest(staging, "dataset", identity, files=["data.txt"])


def _below(path):
    return sorted(str(p.relative_to(path)) for p in path.rglob("*"))


@contextlib.contextmanager
def _held_by_another_process(output):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(output)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_an_output_appears_whole(output):
    with staged_output(output, "prepare") as staging:
        assert staging == output.with_name("dataset.staged")
        assert os.listdir(staging) == [RUN_FILE]
        (staging / "data.txt").write_text("content")
        assert not output.exists()

    assert _below(output.parent) == [
        "dataset",
        "dataset/_SUCCESS",
        "dataset/data.txt",
        "dataset/run.json",
    ]
    assert (output / SUCCESS).read_bytes() == b""
    run = json.loads((output / RUN_FILE).read_text())
    assert run["job"] == "prepare"
    assert run["started"] <= run["finished"]
    assert run["seconds"] >= 0


def test_the_run_record_keeps_what_the_job_added(output):
    with staged_output(output, "prepare") as staging:
        add_to_run_record(staging, runner="FnApiRunner", speed=3)
        add_to_run_record(staging, speed=4)

    run = json.loads((output / RUN_FILE).read_text())
    assert (run["runner"], run["speed"], run["job"]) == ("FnApiRunner", 4, "prepare")


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_nothing(output, failure):
    with pytest.raises(failure):
        with staged_output(output, "prepare") as staging:
            (staging / "deep").mkdir()
            (staging / "deep" / "half.txt").write_text("half")
            raise failure

    assert _below(output.parent) == []


def test_a_failure_keeps_the_older_output(output):
    _publish(output, "old")
    with pytest.raises(ValueError):
        with staged_output(output, "prepare", overwrite=True) as staging:
            (staging / "data.txt").write_text("half of the new")
            raise ValueError

    assert (output / "data.txt").read_text() == "old"
    assert _below(output.parent)[0] == "dataset"
    assert not output.with_name("dataset.staged").exists()


def test_a_newer_output_replaces_the_older_one(output):
    _publish(output, "old")
    (output / "beside.txt").write_text("of the old one")
    _publish(output, "new", "f2", overwrite=True)

    assert (output / "data.txt").read_text() == "new"
    assert sorted(os.listdir(output)) == [
        SUCCESS,
        "data.txt",
        "manifest.json",
        RUN_FILE,
    ]
    assert os.listdir(output.parent) == ["dataset"]


def test_an_empty_folder_may_be_the_output(output):
    output.mkdir(parents=True)

    assert not is_done(output, "dataset", "f1")
    _publish(output)
    assert is_done(output, "dataset", "f1")


def test_is_done(output):
    assert not is_done(output, "dataset", "f1")
    _publish(output)

    assert is_done(output, "dataset", "f1")
    assert is_done(output, "dataset", "f1", overwrite=True)
    assert not is_done(output, "dataset", "f2", overwrite=True)
    with pytest.raises(UserError, match="made from other inputs.*--overwrite"):
        is_done(output, "dataset", "f2")


@pytest.mark.parametrize("overwrite", [False, True])
def test_nothing_but_our_own_is_replaced(output, overwrite):
    _publish(output)
    with pytest.raises(UserError, match="'dataset'.*'model' was expected"):
        is_done(output, "model", "f1", overwrite=overwrite)

    (output / "manifest.json").unlink()
    with pytest.raises(UserError, match="exists and was not made by reviewbeam"):
        is_done(output, "dataset", "f1", overwrite=overwrite)

    file = output.with_name("file")
    file.write_text("a thesis")
    with pytest.raises(UserError, match="exists and was not made by reviewbeam"):
        is_done(file, "dataset", "f1", overwrite=overwrite)


def test_a_staging_folder_of_someone_else_stays(output):
    staging = output.with_name("dataset.staged")
    staging.mkdir(parents=True)
    (staging / "thesis.txt").write_text("years of work")

    with pytest.raises(UserError, match="holds files that reviewbeam did not write"):
        _publish(output)
    assert _below(output.parent) == ["dataset.staged", "dataset.staged/thesis.txt"]


def test_another_process_holds_the_output(output):
    with _held_by_another_process(output) as process:
        with pytest.raises(BusyError, match="Another run is writing") as error:
            _publish(output)
        assert error.value.exit_code == 75
        staged = output.with_name("dataset.staged")
        assert (staged / "half.txt").read_text() == "half"  # the holder's, untouched

        process.communicate("", timeout=30)  # it ends, and publishes
        assert process.returncode == 0

    assert (output / "half.txt").read_text() == "half"
    _publish(output)
    assert (output / "data.txt").read_text() == "content"


def test_a_killed_process_frees_the_output(output):
    with _held_by_another_process(output) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    staged = output.with_name("dataset.staged")
    assert sorted(os.listdir(staged)) == ["half.txt", RUN_FILE]

    _publish(output)
    assert sorted(os.listdir(output)) == [
        SUCCESS,
        "data.txt",
        "manifest.json",
        RUN_FILE,
    ]
    assert os.listdir(output.parent) == ["dataset"]


def test_a_lock_is_free_behind_its_block(tmp_path):
    with folder_lock(tmp_path):
        with pytest.raises(BusyError), folder_lock(tmp_path):
            pass
    with folder_lock(tmp_path):
        pass


def test_a_lock_on_a_folder_that_was_replaced_is_none(tmp_path, monkeypatch):
    """Between opening and locking, the holder may have published the folder."""
    import fcntl

    folder = tmp_path / "staged"
    folder.mkdir()
    lock = fcntl.flock

    def publish_then_lock(descriptor, how):
        folder.rename(tmp_path / "published")
        folder.mkdir()
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", publish_then_lock)
    with pytest.raises(BusyError), folder_lock(folder):
        pass


def test_a_folder_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(
        UserError, match="Can't write .*Not a directory.*Choose an --ou"
    ):
        _publish(tmp_path / "file" / "dataset")
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_where_the_staging_folder_is_needed(output):
    output.parent.mkdir()
    output.with_name("dataset.staged").write_text("a thesis")

    with pytest.raises(UserError, match="Can't write .*dataset.staged': File exists"):
        _publish(output)
    assert output.with_name("dataset.staged").read_text() == "a thesis"


def test_other_faults_of_the_machine_are_no_mistake_of_the_user(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(OSError, match="No space left"):
        make_folder(tmp_path / "folder")


def test_an_output_that_appeared_meanwhile_stays(output):
    assert not is_done(output, "dataset", "f1")
    _publish(output, "of another run", "f2")
    with pytest.raises(BusyError, match="Another run has just written"):
        _publish(output, "mine", "f1")

    assert (output / "data.txt").read_text() == "of another run"
    assert os.listdir(output.parent) == ["dataset"]


def test_a_kill_in_mid_replacement_loses_neither_output(output, monkeypatch):
    _publish(output, "old")
    rename = os.rename
    killed = []

    def killed_at_the_second(source, target):
        if str(target) == str(output) and not killed:
            killed.append(True)
            raise SystemExit
        rename(source, target)

    monkeypatch.setattr(os, "rename", killed_at_the_second)
    with pytest.raises(SystemExit):
        _publish(output, "new", overwrite=True)
    assert (output / "data.txt").read_text() == "old"

    # The same without a chance to tidy up.
    os.rename(output, output.with_name(".dataset.replaced"))
    _publish(output, "new", overwrite=True)
    assert (output / "data.txt").read_text() == "new"
    assert os.listdir(output.parent) == ["dataset"]


def test_leftovers_of_a_kill_are_ours(output):
    staging = output.with_name("dataset.staged")
    staging.mkdir(parents=True)
    (staging / ".run.json.12345.tmp").write_text("{")

    _publish(output)
    assert os.listdir(output.parent) == ["dataset"]
    assert sorted(os.listdir(output))[1:] == ["data.txt", "manifest.json", RUN_FILE]


def test_what_another_version_made_is_replaced_only_by_overwrite(tmp_path):
    output = tmp_path / "out"
    with staged_output(output, "prepare") as staging:
        write_manifest(staging, "dataset", "f", files=[])
    manifest = json.loads((output / "manifest.json").read_text())
    (output / "manifest.json").write_text(json.dumps(manifest | {"format": 1}))

    with pytest.raises(UserError, match="has format 1"):
        is_done(output, "dataset", "f")
    assert not is_done(output, "dataset", "f", overwrite=True)
