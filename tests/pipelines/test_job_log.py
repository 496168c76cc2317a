"""The log beside an output: what it keeps, what it must not, and when there is none."""

import logging
import os
import re
import stat
import warnings

import pytest

from reviewbeam.components.common import journal
from reviewbeam.components.common.places import place
from reviewbeam.pipelines import job_log
from reviewbeam.pipelines.job_log import JobLog

_SECRET = "Anna lives at 5 Hill Road"


@pytest.fixture
def log(tmp_path):
    """A log that is not known yet where it belongs."""
    made = JobLog(["train", "--output", "out"])
    yield made
    made.close_with(0)


def _lines(folder):
    text = (folder / "out.log").read_text()
    for line in text.splitlines():
        assert re.match(r"# |\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line), line
    return [line.partition("Z ")[2] for line in text.splitlines() if line[0] != "#"]


def test_it_keeps_what_was_shown_before_and_after_its_place_was_known(log, tmp_path):
    journal.keep("one")
    log.beside(tmp_path / "out")
    journal.keep("two\nlines")
    assert _lines(tmp_path) == ["one", "two", "lines"]
    assert log.path == tmp_path / "out.log"
    head = (tmp_path / "out.log").read_text().split("\n20")[0]
    assert "# command: reviewbeam train --output out\n" in head
    assert "tensorflow " in head and f"process {os.getpid()}" in head


def test_only_its_owner_can_read_it(log, tmp_path):
    log.beside(tmp_path / "out")
    assert stat.S_IMODE((tmp_path / "out.log").stat().st_mode) == 0o600


def test_it_ends_with_the_exit_code_and_the_next_run_is_appended(tmp_path):
    for code in (75, 0):
        log = JobLog(["train"])
        log.beside(tmp_path / "out")
        log.close_with(code)
    first, second = _lines(tmp_path)
    assert first.startswith("exit code 75 after ")
    assert second.startswith("exit code 0 after ")
    journal.keep("nobody listens")
    assert len(_lines(tmp_path)) == 2


def test_a_mistake_leaves_none_but_stays_behind_earlier_runs(tmp_path):
    for code, there in ((2, False), (1, True), (2, True)):
        log = JobLog(["train"])
        log.beside(tmp_path / "out")
        log.close_with(code)
        assert (tmp_path / "out.log").exists() == there
    assert [line[:11] for line in _lines(tmp_path)] == ["exit code 1", "exit code 2"]


def test_a_folder_above_is_made_for_what_failed_only(tmp_path):
    for code, there in ((2, False), (1, True)):
        log = JobLog(["train"])
        log.beside(tmp_path / "new" / "out")
        assert not (tmp_path / "new").exists()
        log.close_with(code)
        assert (tmp_path / "new" / "out.log").exists() == there


def test_libraries_warnings_are_kept_without_values(log, tmp_path):
    log.beside(tmp_path / "out")
    library = logging.getLogger("some.library")
    library.warning("row %s is odd", _SECRET)
    library.warning(f"row {_SECRET} is odd")
    library.error("no\nmore")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        for _ in range(2):
            warnings.warn(f"can't parse {_SECRET}", UserWarning, stacklevel=1)
        warnings.warn("use another function", DeprecationWarning, stacklevel=1)
    text = (tmp_path / "out.log").read_text()
    assert _SECRET not in text
    first, second, third, fourth, fifth = _lines(tmp_path)
    assert first.startswith("WARNING of some.library at ")
    assert first.endswith(": row %s is odd")
    assert re.fullmatch(r"WARNING of some.library at \S+:\d+", second)
    assert third.startswith("ERROR of some.library at ")
    assert re.fullmatch(r"UserWarning at \S+:\d+", fourth)  # once
    assert fifth.endswith(": use another function")


def test_a_file_of_somebody_else_stays_as_it_is(log, tmp_path):
    (tmp_path / "out.log").write_text("a diary\n")
    log.beside(tmp_path / "out")
    journal.keep("one")
    assert (tmp_path / "out.log").read_text() == "a diary\n"
    assert log.path is None


def test_a_place_that_cannot_be_written_is_no_failure(log, tmp_path):
    (tmp_path / "out.log").mkdir()
    log.beside(tmp_path / "out")
    journal.keep("one")
    assert log.path is None


def test_a_long_log_is_put_aside(log, tmp_path, monkeypatch):
    monkeypatch.setattr(job_log, "_MOST_BYTES", 100)
    before = "# reviewbeam 0.1.0\n" + "x" * 100
    (tmp_path / "out.log").write_text(before)
    log.beside(tmp_path / "out")
    assert (tmp_path / "out.log.1").read_text() == before
    assert _lines(tmp_path) == []


def test_values_of_beams_options_are_left_out(tmp_path):
    of_beam = [
        "--azure_connection_string=AccountKey=abc",
        "--environment_config",
        '{"env": {"AWS_SECRET_ACCESS_KEY": "def"}}',
    ]
    log = JobLog(["score", of_beam[0], "--json", *of_beam[1:]], of_beam)
    log.beside(tmp_path / "out")
    log.close_with(0)
    text = (tmp_path / "out.log").read_text()
    options = "'--azure_connection_string=…' '--environment_config=…' '…'"
    assert f"# command: reviewbeam score --json {options}\n" in text
    assert "abc" not in text and "def" not in text


def test_what_is_no_file_is_neither_waited_for_nor_followed(tmp_path):
    os.mkfifo(tmp_path / "out.log")
    (tmp_path / "link.log").symlink_to(tmp_path / "elsewhere")
    for name in ("out", "link"):
        log = JobLog(["train"])
        log.beside(tmp_path / name)
        log.close_with(1)
        assert log.path is None
    assert not (tmp_path / "elsewhere").exists()


def test_the_root_has_no_log(log):
    log.beside(place("/"))
    assert log.path is None


def test_the_log_of_an_output_in_a_store_is_in_the_cache(log, tmp_path, monkeypatch):
    pytest.importorskip("obstore")
    monkeypatch.setenv("REVIEWBEAM_CACHE", str(tmp_path / "cache"))
    log.beside(place("s3://bucket/night/scores"))
    (path,) = (tmp_path / "cache" / "logs").iterdir()
    assert log.path == path
    assert re.fullmatch(r"bucket-night-scores-[0-9a-f]{8}\.log", path.name)


def test_a_job_leaves_its_log_beside_its_output(dataset):
    path = dataset.parent / f"{dataset.name}.log"
    text = path.read_text()
    assert '# config: {"input":' in text
    assert re.search(r"Z prepare …\n", text)
    assert re.search(r"Z Dataset: \d+ rows read from 2 files; ", text)
    assert re.search(r"Z exit code 0 after [\d.]+ s\n", text)


def test_a_fault_is_traced_without_a_value(command, write_config, configs, tmp_path,
                                           monkeypatch):  # fmt: skip
    from reviewbeam.pipelines import prepare

    def fail(*arguments):
        try:
            int(_SECRET)
        except ValueError as error:
            raise KeyError(_SECRET) from error

    monkeypatch.setattr(prepare, "find_files", fail)
    config = write_config(configs["prepare"] | {"input": ["x.jsonl"]})
    code, _, err = command("prepare", "--config", config, "--output", tmp_path / "out")
    assert code == 1
    assert f"Where it was: {tmp_path}/out.log" in err
    text = (tmp_path / "out.log").read_text()
    assert _SECRET not in text + err
    assert re.search(r"Z ValueError\n", text) and re.search(r"Z KeyError\n", text)
    assert text.index("ValueError") < text.index("KeyError")
    assert re.search(r'File "\S+test_job_log.py", line \d+, in fail\n', text)
    assert re.search(r'File "\S+pipelines/prepare.py", line \d+, in prepare\n', text)
    assert "Z failed: KeyError at test_job_log.py:" in text
    assert re.search(r"Z exit code 1 after", text)
