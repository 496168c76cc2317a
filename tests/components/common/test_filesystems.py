import os
import sys

import pytest

from reviewbeam.components.common import filesystems
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.filesystems import (
    check_library,
    open_binary,
    write_atomically,
)


def test_reads_what_it_wrote_without_decompressing(tmp_path):
    write_atomically(str(tmp_path / "data.gz"), b"no gzip")
    with open_binary(str(tmp_path / "data.gz")) as file:
        assert file.read() == b"no gzip"


def test_writes_by_rename(tmp_path):
    path = tmp_path / "data"
    write_atomically(str(path), b"one")
    before = path.stat().st_ino
    write_atomically(str(path), b"two")

    assert path.read_bytes() == b"two"
    assert path.stat().st_ino != before
    assert os.listdir(tmp_path) == ["data"]


def test_a_failed_write_leaves_the_older_file(tmp_path, monkeypatch):
    path = tmp_path / "data"
    write_atomically(str(path), b"old")

    def fail(*_):
        raise OSError("no more space")

    monkeypatch.setattr(filesystems.FileSystems, "rename", fail)
    with pytest.raises(OSError, match="no more space"):
        write_atomically(str(path), b"new")
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("path", "library", "extra"),
    [
        ("s3://b/*.jsonl", "boto3", r"reviewbeam\[stores\]"),
        ("gs://b/*.jsonl", "google.cloud.storage", r"apache-beam\[gcp\]"),
    ],
)
def test_a_library_that_is_missing_is_named(monkeypatch, path, library, extra):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UserError, match=f"needs {library}.*pip install '{extra}'"):
        check_library(path)
    check_library("in/*.jsonl")
    check_library("/in/s3.jsonl")
