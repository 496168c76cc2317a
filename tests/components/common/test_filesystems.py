import sys

import pytest

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.filesystems import check_library, open_binary


def test_reads_without_decompressing(tmp_path):
    (tmp_path / "data.gz").write_bytes(b"no gzip")
    with open_binary(str(tmp_path / "data.gz")) as file:
        assert file.read() == b"no gzip"


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
