"""Whatever happens to a run: the output is whole or as it was, and a rerun cures it."""

import contextlib
import functools
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.pipelines.conftest import SAMPLE
from tests.pipelines.launches import (
    ONE_THREAD,
    PROCESSES,
    THREADS,
    Launch,
    digests,
    everything,
    mount_memory,
    resize_memory,
    without_privileges,
    write_corpus,
    write_yaml,
)

MOMENTS = {
    "before any worker": lambda staging: (staging / "_work").exists(),
    "among the shards": lambda staging: any(staging.glob("*.tfrecord.gz")),
    "at the manifest": lambda staging: (staging / "manifest.json").exists(),
}


@pytest.fixture(scope="module")
def job(tmp_path_factory, tiny_encoder):
    """Folder with a corpus, the configs old and new, and both datasets of it."""
    folder = tmp_path_factory.mktemp("faults")
    data = everything(tiny_encoder, write_corpus(folder / "corpus", rows=100))
    write_yaml(folder / "new.yaml", data)
    write_yaml(folder / "old.yaml", data | {"split": data["split"] | {"salt": "old"}})
    for name in ("old", "new"):
        run = Launch(folder, *_arguments(folder, folder / name, name))
        assert run.end() == 0, run.err
    return folder


def _arguments(job, output, config="new"):
    return "prepare", "--config", job / f"{config}.yaml", "--output", output


@pytest.fixture
def launch(job, tmp_path):
    """Returns a function that starts the new job with tmp_path/box/out as output."""
    (tmp_path / "box").mkdir()
    output = tmp_path / "box" / "out"
    return lambda *options, **hooks: Launch(
        tmp_path, *_arguments(job, output), *options, **hooks
    )


@pytest.fixture
def box(tmp_path):
    """The folder that holds the output, and should hold nothing else."""
    return tmp_path / "box"


def _cured(run, job, box):
    """Checks a rerun: the bytes of an undisturbed run, and nothing besides."""
    assert run.end() == 0, run.err
    assert _left_in(box) == ["out"]
    assert digests(box / "out") == digests(job / "new")
    assert not [path for path in box.rglob("*") if path.name.endswith(".tmp")]


def _left_in(box):
    """What a run left, but for its log."""
    return [name for name in os.listdir(box) if name != "out.log"]


def _one_message(run):
    """The lines of standard error without those of the steps."""
    lines = run.err.splitlines()
    told = [line for line in lines if not line.startswith("prepare")]
    assert told[0].startswith("reviewbeam: ") and len(told) <= 2, run.err
    assert "Traceback" not in run.err
    return told[0]


def _slow(*values, **names):
    return pytest.param(*values, **names, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "moment",
    [_slow("before any worker"), _slow("among the shards"), "at the manifest"],
)
def test_a_killed_run_is_cured_by_another(moment, launch, job, box):
    run = launch(before=_linger)
    assert run.kill_when(lambda: MOMENTS[moment](box / "out.staged"))
    assert run.end() == -signal.SIGKILL
    assert _left_in(box) == ["out.staged"]
    _cured(launch(), job, box)


def _linger():
    """Has the end of a run take so long that a kill can't miss it."""
    from reviewbeam.components.common.run_record import RunRecord

    finish = RunRecord.finish

    def late(record, **facts):
        time.sleep(2)
        finish(record, **facts)

    RunRecord.finish = late


@pytest.mark.parametrize(
    ("module", "name", "target", "left"),
    [
        _slow(
            *(os, "rename", ".out.replaced", {"out": "old", "out.staged": "new"}),
            id="before",
        ),
        pytest.param(
            *(os, "rename", "out", {"out.staged": "new", ".out.replaced": "old"}),
            id="amid",
        ),
        _slow(
            *(shutil, "rmtree", ".out.replaced"),
            {"out": "new", ".out.replaced": "old"},
            id="behind",
        ),
    ],
)
def test_a_kill_as_datasets_change_places(module, name, target, left, launch, job, box):
    shutil.copytree(job / "old", box / "out")
    before = functools.partial(_die_in_call, module.__name__, name, target)
    assert launch("--overwrite", before=before).end() == -signal.SIGKILL
    assert set(_left_in(box)) == set(left)
    for folder, which in left.items():
        assert digests(box / folder) == digests(job / which)
    _cured(launch("--overwrite"), job, box)


def _die_in_call(module, name, target):
    module = sys.modules[module]
    real = getattr(module, name)

    def call(*paths, **options):
        if os.path.basename(paths[-1]) == target:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*paths, **options)

    setattr(module, name, call)


def test_a_kill_among_the_shards_keeps_the_old_dataset(launch, job, box):
    shutil.copytree(job / "old", box / "out")
    run = launch("--overwrite", before=_linger)
    assert run.kill_when(lambda: MOMENTS["among the shards"](box / "out.staged"))
    assert run.end() == -signal.SIGKILL
    assert digests(box / "out") == digests(job / "old")
    _cured(launch("--overwrite"), job, box)


WAYS = [pytest.param(ONE_THREAD, id="one"), _slow(THREADS, id="threads")]


@pytest.mark.parametrize("options", WAYS)
def test_a_stopped_run_leaves_nothing(options, launch, box):
    run = launch(*options, before=_linger)
    stopped = lambda: MOMENTS["among the shards"](box / "out.staged")  # noqa: E731
    assert run.kill_when(stopped, signal.SIGTERM)
    assert run.end() == 75
    assert _left_in(box) == []
    assert _one_message(run).startswith("reviewbeam: stopped.")


@pytest.mark.parametrize("options", WAYS)
def test_a_fault_of_a_worker_is_named_and_quotes_no_review(options, launch, box):
    run = launch(*options, before=_fail_in_a_worker)
    assert run.end() == 1
    told = _one_message(run)
    assert "failed: ValueError at test_prepare_faults.py:" in told
    assert "secret" not in run.err
    assert _left_in(box) == []


def _fail_in_a_worker():
    from reviewbeam.components.examples import write

    def encode(examples, classes):
        raise ValueError("the secret text\nof a review")

    write.encode_examples = encode


def test_worker_processes_die_with_their_launcher(launch, job, box):
    run = launch(*PROCESSES)
    while not (workers := _workers(run.pid)):
        assert run.is_alive
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    assert run.end() == -signal.SIGKILL
    deadline = time.monotonic() + 20  # they may not have begun yet
    while any(map(_runs, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    _cured(launch(), job, box)


def _workers(parent):
    """Process ids of Beam's workers below a process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            command = (path.parent / "cmdline").read_bytes()
            if path.read_text().rpartition(")")[2].split()[1] == str(parent):
                found += [int(path.parent.name)] * (b"worker" in command)
    return found


def _runs(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_full_disk_is_named_and_leaves_nothing(launch, job, box):
    run = launch(
        before=functools.partial(_mounted, box, "96k"),
        after=functools.partial(_again_with_room, box, _arguments(job, box / "out")),
    )
    code = run.end()
    if code == os.EX_NOPERM:
        pytest.skip("this user may not mount a file system in memory")
    assert code == 1
    told = _one_message(run)
    assert "OSError: [Errno 28] No space left on device" in told
    assert f"Make room on the disk of '{box}/out'" in told
    left, again, made = run.result
    assert (left, again, made) == ([], 0, digests(job / "new"))


def _mounted(folder, size, read_only=False):
    try:
        mount_memory(folder, size, read_only)
    except PermissionError:
        os._exit(os.EX_NOPERM)


def _again_with_room(box, arguments):
    from reviewbeam.pipelines.cli import main

    left = _left_in(box)
    for descriptor in (1, 2):  # the message is in the log; what comes now is not
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    resize_memory(box, "64m")
    code = main([str(argument) for argument in arguments])
    return left, code, digests(box / "out")


def test_a_read_only_file_system_is_refused(launch, box):
    run = launch(before=functools.partial(_mounted, box, "1m", True))
    if (code := run.end()) == os.EX_NOPERM:
        pytest.skip("this user may not mount a file system in memory")
    assert code == 2
    assert f"Can't write '{box}/out.staged': Read-only file system" in _one_message(run)


def test_a_folder_without_permission_is_refused(launch, box):
    box.chmod(0o555)
    run = launch(before=without_privileges)
    assert run.end() == 2
    assert f"Can't write '{box}/out.staged': Permission denied" in _one_message(run)
    box.chmod(0o755)
    assert _left_in(box) == []


def test_an_output_that_is_a_file_is_refused(launch, box):
    (box / "out").write_text("a thesis")
    run = launch()
    assert run.end() == 2
    assert "exists and was not made by reviewbeam" in _one_message(run)
    assert (box / "out").read_text() == "a thesis"


@pytest.mark.parametrize("name", ["out.staged", "out.failed"])
def test_files_of_a_user_in_our_places_stay(name, launch, box):
    (box / name).mkdir()
    (box / name / "thesis.txt").write_text("years of work")
    run = launch()
    assert run.end() == 2
    assert f"'{box / name}' is needed" in _one_message(run)
    found = [path.relative_to(box).as_posix() for path in box.rglob("*")]
    assert found == [name, f"{name}/thesis.txt"]


def test_two_runs_at_once(launch, job, box):
    first = launch(before=_wait_in_the_pipeline)
    assert first.kill_when(lambda: (box / "out.staged" / "_work").exists(), 0)
    second = launch()
    assert second.end() == 75
    assert "Another run is writing" in _one_message(second)
    first.kill_when(lambda: True)
    first.end()
    _cured(launch(), job, box)


def _wait_in_the_pipeline():
    from reviewbeam.pipelines.prepare_graph import PrepareGraph

    PrepareGraph.run = lambda self, *options: time.sleep(100)


def _disturb(path, how):
    with open(path, "rb") as file:
        content = file.read()
    if how == "removed":
        os.remove(path)
    elif how == "appended to":
        with open(path, "ab") as file:
            file.write(content)
    else:
        with open(f"{path}.new", "wb") as file:
            file.write(content[::-1])
        os.replace(f"{path}.new", path)


@pytest.fixture
def corpus(job, tmp_path):
    """A copy of the corpus, to be spoilt, and its options."""
    copy = shutil.copytree(job / "corpus", tmp_path / "corpus")
    return copy, ["--input", f"{copy}/**"]


@pytest.mark.parametrize(
    ("name", "how", "when"),
    [
        ("one.jsonl", "removed", "before"),
        ("cut.jsonl.gz", "replaced", "before"),
        ("one.jsonl", "removed", "after"),
        ("one.jsonl", "appended to", "after"),
        ("cut.jsonl.gz", "replaced", "after"),
    ],
)
def test_an_input_that_changes_is_named(how, when, name, corpus, launch, job, box):
    folder, options = corpus
    path = folder / name
    run = launch(*options, before=functools.partial(_disturb_run, path, how, when))
    assert run.end() == 1
    what = "vanished" if how == "removed" else "changed"
    assert f"{path}: it {what} while it was read" in _one_message(run)
    assert _left_in(box) == []


def _disturb_run(path, how, when):
    from reviewbeam.pipelines.prepare_graph import PrepareGraph

    real = PrepareGraph.run

    def run(self, *options):
        if when == "before":
            _disturb(path, how)
        told = real(self, *options) if when == "before" else {}
        if when == "after":
            _disturb(path, how)
        return told

    PrepareGraph.run = run


@pytest.mark.parametrize("how", ["removed", "appended to"])
def test_score_leaves_out_an_input_that_changes(
    how, command, write_config, configs, model, tmp_path, monkeypatch
):
    from reviewbeam.pipelines import score as job

    for name in ("a.jsonl", "b.jsonl"):
        shutil.copy(SAMPLE / "new_arrivals.jsonl", tmp_path / name)
    real = job._Job._run_pipeline

    def run(*arguments):
        real(*arguments)
        _disturb(tmp_path / "a.jsonl", how)

    monkeypatch.setattr(job._Job, "_run_pipeline", run)
    code, out, err = command(
        "score", "--config", write_config(configs["score"]), "--model", model,
        "--input", tmp_path / "*.jsonl", "--output", tmp_path / "scores",
    )  # fmt: skip
    assert code == 1
    assert f"{tmp_path / 'a.jsonl'} is damaged: it " in err
    assert "100 rows read from 1 new file;" in out


def _make_directory(path):
    path.mkdir()


def _make_pipe(path):
    os.mkfifo(path)


def _make_link_to_nothing(path):
    path.symlink_to("nothing")


def _make_forbidden(path):
    path.touch(mode=0o000)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_make_directory, "directory"),
        (_make_pipe, "no regular file"),
        (_make_link_to_nothing, "matches no file"),
        (_make_forbidden, "Permission denied"),
    ],
)
def test_an_input_that_cannot_be_read_is_named(make, reason, launch, tmp_path, box):
    path = tmp_path / "x.jsonl"
    make(path)
    run = launch("--input", path, before=without_privileges)
    assert run.end() == 2
    told = _one_message(run)
    assert str(path) in told and reason in told
    assert _left_in(box) == []
