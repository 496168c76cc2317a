"""What libraries write to standard error, in processes of their own."""

import subprocess
import sys

import pytest

_MODULE = """
import os, sys
os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called\\n")
os.write(2, b"I0000 00:00:1795396197.769541   17066 port.cc:153] oneDNN is on.\\n")
os.write(2, b"2026-11-23 01:02:03.456: W tensorflow/core/x.cc:1] a warning\\n")
os.write(2, b"F0000 00:00:1795396197.7 17066 x.cc:1] Check failed\\n")
os.write(2, b"something else\\n")
print("of Python", file=sys.stderr)
answer = 42
"""
_CHATTER = ("InitializeLog", "oneDNN", "a warning")


def _import(tmp_path, *lines):
    """Returns standard error of a process that imports a false TensorFlow."""
    (tmp_path / "tensorflow.py").write_text(_MODULE)
    script = "\n".join(
        ["import sys", f"sys.path.insert(0, {str(tmp_path)!r})", *lines,
         "import tensorflow", "assert tensorflow.answer == 42"]
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return done.stderr


_QUIET = "from reviewbeam.pipelines import quiet; quiet.quiet_libraries()"


def test_known_chatter_of_an_import_is_not_shown(tmp_path):
    err = _import(tmp_path, _QUIET, _QUIET)
    assert not any(words in err for words in _CHATTER)
    assert sorted(err.splitlines()) == [
        "F0000 00:00:1795396197.7 17066 x.cc:1] Check failed",
        "of Python",
        "something else",
    ]


def test_without_it_all_is_shown(tmp_path):
    err = _import(tmp_path)
    assert all(words in err for words in _CHATTER)


def test_the_log_has_it_all(tmp_path):
    listen = (
        "from reviewbeam.pipelines.job_log import JobLog; from pathlib import Path; "
        f"log = JobLog(['train']); log.beside(Path({str(tmp_path / 'out')!r}))"
    )
    _import(tmp_path, _QUIET, listen)
    text = (tmp_path / "out.log").read_text()
    assert all(words in text for words in (*_CHATTER, "something else"))


def test_warnings_are_not_shown_and_errors_are():
    script = (
        f"{_QUIET}\nimport logging, warnings\n"
        "warnings.warn('old'); logging.getLogger('absl').warning('a hint')\n"
        "logging.getLogger('absl').error('an error')\n"
        "logging.getLogger('apache_beam.x').error('a trace')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stderr == "ERROR:absl:an error\n"


@pytest.mark.parametrize("verbose", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_tensorflow_itself_is_quiet_unless_asked(verbose):
    script = "" if verbose else f"{_QUIET}\n"
    script += "import tensorflow as tf\ntf.ones([2]) + 1\n"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert (done.stderr != "") == verbose
