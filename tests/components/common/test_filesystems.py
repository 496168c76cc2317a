import sys

import pytest
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.filesystems import (
    check_library,
    file_metadata,
    open_binary,
)


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


def test_files_in_s3_are_read_by_one_client(bucket, monkeypatch):
    """Beam would make one for each, which takes longer than to read a small file."""
    import boto3

    made = []
    session = boto3.session.Session
    monkeypatch.setattr(
        boto3.session, "Session", lambda: (made.append(1), session())[1]
    )
    monkeypatch.setattr(FileSystems, "_pipeline_options", PipelineOptions([]))
    contents = {f"{n}.jsonl": bytes([n]) * (3 + n) for n in range(4)}
    for name, content in contents.items():
        bucket.put(name, content)
    files = {name: open_binary(f"{bucket.url}/{name}") for name in contents}
    first = {name: file.read(2) for name, file in files.items()}  # all are open
    assert {name: first[name] + files[name].read() for name in files} == contents
    assert len(made) == 1

    for name, content in contents.items():
        path = f"{bucket.url}/{name}"
        found = file_metadata(path)
        assert (found.path, found.size_in_bytes) == (path, len(content))
        beams = FileSystems.get_filesystem(path).metadata(path)
        assert found.last_updated_in_seconds == beams.last_updated_in_seconds
    assert len(made) == 1 + len(contents)  # Beam's
    with pytest.raises(BeamIOError):
        file_metadata(f"{bucket.url}/none.jsonl")
    with pytest.raises(FileNotFoundError):
        open_binary(f"{bucket.url}/none.jsonl")
