import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reviewbeam.components.common import host_copies
from reviewbeam.components.common.artifacts import write_manifest
from reviewbeam.components.common.encoder_directory import open_encoder
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.host_copies import (
    cache_root,
    host_copy,
    on_every_host,
    origin,
)
from reviewbeam.components.encoder.bring import bring_encoder

# What a worker on another host does with what it is told.
WORKER = """
import pickle, sys
path = pickle.load(sys.stdin.buffer)
print(path.here())
"""


@pytest.fixture
def artifact(tmp_path):
    folder = tmp_path / "made"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "weights").write_bytes(b"w" * 1000)
    (folder / "vocabulary").write_bytes(b"v" * 10)
    write_manifest(folder, "model", "f", files=["deep/weights", "vocabulary"])
    (folder / "BLESSED").write_text("yes")
    return folder


def fetched(bucket, name):
    return bucket.server.requests["GET", f"/{bucket.name}/{name}"]


def test_a_local_artifact_is_where_it_is(artifact):
    assert host_copy(artifact) == artifact == host_copy(str(artifact))
    assert on_every_host(artifact).here() == str(artifact)
    assert origin(artifact) == str(artifact)


def test_a_copy_is_made_once(artifact, bucket, tmp_path):
    url = bucket.upload(artifact, "models/m")
    copy = host_copy(url)
    assert copy.is_relative_to(tmp_path / "cache" / "artifacts") and copy.name == "m"
    assert (copy / "deep" / "weights").read_bytes() == b"w" * 1000
    assert (copy / "BLESSED").read_text() == "yes"
    assert (tmp_path / "cache" / "artifacts").stat().st_mode & 0o077 == 0
    assert host_copy(url) == copy
    assert fetched(bucket, "models/m/deep/weights") == 1
    assert origin(copy) == url and origin(copy / "vocabulary") == f"{url}/vocabulary"
    assert sorted(p.suffix for p in copy.parents[1].iterdir()) == ["", ".json", ".lock"]

    bucket.put("models/m/BLESSED", b"no")  # what comes later is another copy
    assert (host_copy(url) / "BLESSED").read_text() == "no"
    assert (copy / "BLESSED").read_text() == "yes"


def test_workers_of_a_host_copy_it_once(artifact, bucket, tmp_path):
    import pickle

    copy = host_copy(bucket.upload(artifact, "m"))
    told = pickle.dumps(on_every_host(copy / "vocabulary"))
    assert str(tmp_path).encode() not in told
    bucket.server.requests.clear()
    other = os.environ | {"REVIEWBEAM_CACHE": str(tmp_path / "other")}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=other,
        )
        for _ in range(3)
    ]
    for worker in workers:
        worker.stdin.write(told)
        worker.stdin.flush()
    paths = {worker.communicate(timeout=60)[0].decode().strip() for worker in workers}
    (path,) = map(Path, paths)
    assert path.is_relative_to(tmp_path / "other") and path.read_bytes() == b"v" * 10
    assert fetched(bucket, "m/deep/weights") == fetched(bucket, "m/vocabulary") == 1


def test_a_worker_takes_no_other_artifact(artifact, bucket, tmp_path, monkeypatch):
    path = on_every_host(host_copy(bucket.upload(artifact, "m")))
    bucket.put("m/BLESSED", b"changed")
    assert (Path(path.here()) / "BLESSED").read_text() == "yes"  # it has a copy
    monkeypatch.setenv("REVIEWBEAM_CACHE", str(tmp_path / "other"))
    with pytest.raises(UserError, match="s3://.*/m was changed while this run"):
        path.here()


@pytest.mark.parametrize("content", [b"W" * 1000, b"w"])
def test_a_tampered_object_is_refused_by_name(artifact, bucket, tmp_path, content):
    url = bucket.upload(artifact, "m")
    bucket.put("m/deep/weights", content)
    with pytest.raises(UserError, match=f"{url} is no sound .*'deep/weights' is not"):
        host_copy(url)
    bucket.client.delete_object(Bucket=bucket.name, Key="m/deep/weights")
    with pytest.raises(UserError, match="'deep/weights' is missing"):
        host_copy(url)
    assert not [p for p in (tmp_path / "cache/artifacts").iterdir() if p.is_dir()]


def test_what_lies_beside_is_held_against_its_own_manifest(artifact, bucket):
    twin = artifact / "openvino-int8"
    twin.mkdir()
    (twin / "model.bin").write_bytes(b"int8")
    write_manifest(twin, "quantization", "q", files=["model.bin"])
    url = bucket.upload(artifact, "m")
    bucket.put("m/openvino-int8/model.bin", b"int9")
    with pytest.raises(UserError, match=f"{url}/openvino-int8 is no sound"):
        host_copy(url)


@pytest.mark.parametrize("manifest", [b"{", b"[]", b"{}", b'{"files": 7}'])
def test_a_manifest_of_someone_else(bucket, manifest):
    bucket.put("m/manifest.json", manifest)
    with pytest.raises(UserError, match="manifest.json is not a manifest that"):
        host_copy(f"{bucket.url}/m")


def test_there_is_no_artifact(bucket):
    with pytest.raises(UserError, match="is no finished artifact: there is no s3://"):
        host_copy(f"{bucket.url}/m")


def test_an_encoder_from_a_store(tiny_encoder, bucket, tmp_path):
    bring_encoder(str(tiny_encoder), tmp_path / "encoder")
    opened = open_encoder(bucket.upload(tmp_path / "encoder", "encoder"))
    assert opened.content == open_encoder(str(tmp_path / "encoder")).content
    assert opened.path.is_relative_to(tmp_path / "cache")


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/a")
    monkeypatch.delenv("REVIEWBEAM_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_root() == Path("/home/a/.cache/reviewbeam")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/caches")
    assert cache_root() == Path("/var/caches/reviewbeam")
    monkeypatch.setenv("REVIEWBEAM_CACHE", "~/mine")
    assert cache_root() == Path("/home/a/mine")


def test_a_copy_that_was_cut_off_is_made_again(artifact, bucket, monkeypatch):
    url = bucket.upload(artifact, "m")
    with monkeypatch.context() as patch:
        patch.setattr(host_copies, "_check", lambda *_: (_ for _ in ()).throw(OSError))
        with pytest.raises(OSError):
            host_copy(url)
    with monkeypatch.context() as patch:  # killed as it copied, and removed nothing
        patch.setattr(host_copies, "_check", lambda *_: (_ for _ in ()).throw(OSError))
        patch.setattr(host_copies.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(OSError):
            host_copy(url)
    copy = host_copy(url)
    names = {path.name for path in copy.parents[1].iterdir()}
    assert names == {
        copy.parent.name,
        f"{copy.parent.name}.json",
        f"{copy.parent.name}.lock",
    }
    told = json.loads(copy.parents[1].joinpath(f"{copy.parent.name}.json").read_text())
    assert told == {"url": url}
    shutil.rmtree(copy.parent)
    assert host_copy(url) == copy
