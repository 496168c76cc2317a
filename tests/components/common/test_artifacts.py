import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common import artifacts
from reviewbeam.components.common.artifacts import (
    MANIFEST,
    canonical_json,
    check_files,
    describe_files,
    file_sha256,
    files_below,
    fingerprint,
    read_json,
    read_manifest,
    remove_unfinished,
    write_bytes,
    write_json,
    write_manifest,
    write_text,
)
from reviewbeam.components.common.errors import UserError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.fixture
def artifact(tmp_path):
    """A folder with two files, and their description."""
    directory = tmp_path / "artifact"
    (directory / "deep").mkdir(parents=True)
    (directory / "one.txt").write_text("one")
    (directory / "deep" / "two.bin").write_bytes(b"\0\1")
    return directory, describe_files(directory, ["one.txt", "deep/two.bin"])


def test_canonical_json_is_one_text():
    text = canonical_json({"b": [1, None], "a": "é"})

    assert text == '{\n "a": "é",\n "b": [\n  1,\n  null\n ]\n}\n'
    assert canonical_json({"a": "é", "b": [1, None]}) == text


@given(data=JSON)
def test_canonical_json_keeps_the_data(data):
    assert json.loads(canonical_json(data)) == data


def test_fingerprint_is_the_hash_of_the_canonical_json():
    expected = hashlib.sha256(b'{\n "a": 1,\n "b": 2\n}\n').hexdigest()

    assert fingerprint({"b": 2, "a": 1}) == expected
    assert fingerprint({"a": 1, "b": "2"}) != expected


def test_describes_files(artifact):
    directory, described = artifact

    assert described == {
        "deep/two.bin": {
            "sha256": hashlib.sha256(b"\0\1").hexdigest(),
            "bytes": 2,
        },
        "one.txt": {"sha256": hashlib.sha256(b"one").hexdigest(), "bytes": 3},
    }
    assert list(described) == ["deep/two.bin", "one.txt"]
    assert files_below(directory) == ["deep/two.bin", "one.txt"]
    assert file_sha256(directory / "one.txt") == described["one.txt"]["sha256"]


def test_accepts_what_is_described_and_more_beside_it(artifact):
    directory, described = artifact
    (directory / "later.txt").write_text("beside")

    check_files(directory, described, "model")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"two", "'one.txt' is not the file that its manifest describes"),
        (b"one more", "'one.txt' is not the file that its manifest describes"),
        (None, "'one.txt' is missing"),
    ],
)
def test_finds_a_file_that_was_tampered_with(artifact, content, message):
    directory, described = artifact
    (directory / "one.txt").unlink()
    if content is not None:
        (directory / "one.txt").write_bytes(content)

    with pytest.raises(UserError) as error:
        check_files(directory, described, "model")
    assert f"{directory} is no sound model: {message}" in str(error.value)


@pytest.mark.parametrize(
    "name", ["../secret", "deep/../../secret", "ABSOLUTE", "link", "a\0b"]
)
def test_refuses_a_path_that_leaves_the_folder(artifact, name):
    directory, _ = artifact
    secret = directory.with_name("secret")
    secret.write_text("x")
    (directory / "link").symlink_to(secret)
    name = str(secret) if name == "ABSOLUTE" else name
    described = {name: {"sha256": file_sha256(secret), "bytes": 1}}

    with pytest.raises(UserError, match="leads out of it"):
        check_files(directory, described, "model")


@pytest.mark.parametrize("described", [None, ["one.txt"], {"one.txt": 3}, {"x": {}}])
def test_a_manifest_describes_files_by_size_and_hash(artifact, described):
    directory, _ = artifact

    with pytest.raises(UserError, match="manifest.json is not a manifest that"):
        check_files(directory, described, "model")


def test_writes_text_by_rename(tmp_path):
    path = tmp_path / "text"
    write_text(path, "one")
    before = path.stat().st_ino
    write_text(path, "größer\n")

    assert path.read_bytes() == "größer\n".encode()
    assert path.stat().st_ino != before
    assert os.listdir(tmp_path) == ["text"]


def test_bytes_have_the_permissions_asked_for(tmp_path):
    write_bytes(tmp_path / "secret", b"\0\xff", mode=0o600)
    write_bytes(tmp_path / "plain", b"")

    assert (tmp_path / "secret").read_bytes() == b"\0\xff"
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "plain").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_failed_write_leaves_the_older_file(tmp_path, monkeypatch):
    write_bytes(tmp_path / "data", b"old")
    before = (tmp_path / "data").stat().st_ino

    def fail(*_):
        raise OSError("no more space")

    with monkeypatch.context() as patch:
        patch.setattr(artifacts.os, "replace", fail)
        with pytest.raises(OSError, match="no more space"):
            write_bytes(tmp_path / "data", b"new")
    assert (tmp_path / "data").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["data"]
    write_bytes(tmp_path / "data", b"new")
    assert (tmp_path / "data").read_bytes() == b"new"
    assert (tmp_path / "data").stat().st_ino != before


def test_removes_what_a_killed_writer_left(tmp_path):
    killed = "import os; os.replace = lambda *_: os._exit(9)\n"
    killed += "from pathlib import Path\n"
    killed += "from reviewbeam.components.common.artifacts import write_bytes\n"
    killed += "write_bytes(Path('[a]*'), b'new')"
    for name in ("[a]*", "a-b", ".other.0123456789abcdef.tmp"):
        (tmp_path / name).touch()
    run = subprocess.run([sys.executable, "-c", killed], cwd=tmp_path)
    assert run.returncode == 9 and len(os.listdir(tmp_path)) == 4

    remove_unfinished(tmp_path / "other.0123456789abcdef")
    assert len(os.listdir(tmp_path)) == 4
    remove_unfinished(tmp_path / "a-b")
    assert len(os.listdir(tmp_path)) == 4
    remove_unfinished(tmp_path / "[a]*")
    assert set(os.listdir(tmp_path)) == {"[a]*", "a-b", ".other.0123456789abcdef.tmp"}
    assert (tmp_path / "[a]*").read_bytes() == b""


def test_many_may_write_the_same_file_at_once(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(
            lambda _: write_bytes(tmp_path / "data", b"whole" * 1000), range(200)
        ):
            assert (tmp_path / "data").read_bytes() == b"whole" * 1000
    assert os.listdir(tmp_path) == ["data"]


def test_reads_the_json_it_wrote(tmp_path):
    write_json(tmp_path / "data.json", {"b": "é", "a": [1]})

    assert (tmp_path / "data.json").read_text() == canonical_json({"a": [1], "b": "é"})
    assert read_json(tmp_path / "data.json") == {"a": [1], "b": "é"}


def test_manifest_round_trip(artifact):
    directory, described = artifact
    (directory / "run.json").write_text("{}")
    names = files_below(directory)
    written = write_manifest(directory, "dataset", "f" * 64, files=names, rows=3)

    assert written == {
        "format": 3,
        "kind": "dataset",
        "fingerprint": "f" * 64,
        "files": described,  # without the record of the run
        "rows": 3,
    }
    assert read_manifest(directory, "dataset") == written
    assert (directory / MANIFEST).read_text() == canonical_json(written)


def test_facts_cannot_replace_what_every_manifest_says(tmp_path):
    written = write_manifest(tmp_path, "dataset", "f", files=[], format=7)

    assert written["format"] == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a manifest that reviewbeam wrote"),
        ("[]", "is not a manifest that reviewbeam wrote"),
        ("null", "is not a manifest that reviewbeam wrote"),
        ("[" * 100_000, "is not a manifest that reviewbeam wrote"),
        ('{"name": "webpack"}', "is not a manifest that reviewbeam wrote"),
        ('{"kind": "model", "format": 2}', "'model'.*'dataset' was expected"),
        ('{"kind": "dataset", "format": 1}', "has format 1; this version reads format"),
    ],
)
def test_refuses_other_manifests(tmp_path, content, message):
    (tmp_path / MANIFEST).write_text(content)

    with pytest.raises(UserError, match=message):
        read_manifest(tmp_path, "dataset")


def test_a_manifest_that_is_no_text(tmp_path):
    (tmp_path / MANIFEST).write_bytes(b"\xff\xfe")

    with pytest.raises(UserError, match="is not a manifest that reviewbeam wrote"):
        read_manifest(tmp_path, "dataset")


def test_a_missing_manifest(tmp_path):
    with pytest.raises(UserError, match="not a finished model: it has no manifest.js"):
        read_manifest(tmp_path, "model")
    with pytest.raises(UserError, match="not a finished model: no such folder"):
        read_manifest(tmp_path / "none", "model")


def test_a_folder_above_or_below_an_artifact_is_told_from_it(tmp_path):
    model = tmp_path / "quickstart" / "model"
    for kind, folder in (("model", model), ("dataset", tmp_path / "quickstart/data")):
        (folder / "saved_model").mkdir(parents=True)
        write_manifest(folder, kind, "f", files=[])
    (tmp_path / "quickstart" / "broken").mkdir()
    (tmp_path / "quickstart" / "broken" / MANIFEST).write_text("{")
    for folder in (tmp_path / "quickstart", model / "saved_model"):
        with pytest.raises(UserError) as caught:
            read_manifest(folder, "model")
        assert str(caught.value) == (
            f"{str(folder)!r} is not a finished model: it has no manifest.json. Give "
            f"{str(model)!r}, or the --output of the command that makes a model."
        )
