import os
import pickle
import subprocess
import sys
import threading

import pytest

from reviewbeam.components.common import stores
from reviewbeam.components.common.artifacts import (
    describe_files,
    file_sha256,
    read_json,
    write_bytes,
    write_json,
)
from reviewbeam.components.common.errors import ReviewbeamError, UserError
from reviewbeam.components.common.places import (
    for_each,
    in_store,
    move,
    names_in,
    place,
    read_all,
    remove_files,
    remove_tree,
)
from reviewbeam.components.common.stores import ChangedError, StorePath


@pytest.fixture(params=["file system", "store"])
def folder(request, tmp_path):
    """A place of either kind."""
    if request.param == "store":
        return place(request.getfixturevalue("bucket").url) / "deep" / "folder"
    folder = tmp_path / "deep" / "folder"
    folder.mkdir(parents=True)
    return folder


def test_a_store_is_asked_many_things_at_once(tmp_path):
    met = threading.Barrier(2)
    store = StorePath.of("s3://bucket/folder")
    found = for_each(store, lambda n: (met.wait(10), n)[1], range(2))
    assert list(found) == [0, 1]  # in their order
    found = for_each(tmp_path, lambda _: threading.get_ident(), range(2))
    assert list(found) == [threading.get_ident()] * 2
    assert list(for_each(tmp_path, str, range(2))) == ["0", "1"]


def test_places_of_both_kinds_do_the_same(folder):
    assert names_in(folder) == [] and names_in(folder / "none") == []
    write_bytes(folder / "b.json", b"1", mode=0o600, sync=True)
    write_json(folder / "a.json", {"key": "ä"})
    (folder / "c.txt").write_text("text", encoding="utf-8")
    (folder / "below").mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "below" / "m=1.txt").write_text("2")

    assert names_in(folder) == ["a.json", "b.json", "below", "c.txt"]
    assert names_in(folder, "*.json") == ["a.json", "b.json"]
    assert [path.name for path in sorted(folder.glob("*.json"))] == ["a.json", "b.json"]
    assert list(read_all(folder, "*.json"))[1] == b"1"
    assert read_json(folder / "a.json") == {"key": "ä"}
    assert (folder / "a.json").exists() and (folder / "a.json").is_file()
    assert not (folder / "d.json").exists() and not (folder / "below").is_file()
    assert (folder / "below").is_dir() and not (folder / "none").is_dir()
    with pytest.raises(FileNotFoundError):
        (folder / "d.json").read_bytes()

    move(folder / "c.txt", folder / "d.txt")
    move(folder / "d.txt", folder / "d.txt")
    assert (folder / "d.txt").read_text() == "text"
    remove_files(folder, ["a.json"])
    (folder / "b.json").unlink()
    (folder / "b.json").unlink(missing_ok=True)
    assert names_in(folder) == ["below", "d.txt"]
    described = describe_files(folder, ["d.txt", "below/m=1.txt"])
    assert list(described) == ["below/m=1.txt", "d.txt"]
    assert described["d.txt"]["bytes"] == 4
    remove_tree(folder)
    remove_tree(folder)
    assert names_in(folder) == []


def test_the_parts_of_a_place():
    path = place("s3://bucket/a//b/part-x.parquet")
    assert str(path) == "s3://bucket/a/b/part-x.parquet"
    assert (path.name, path.stem) == ("part-x.parquet", "part-x")
    assert str(path.parent.with_name("c") / "d/e") == "s3://bucket/a/c/d/e"
    assert path.absolute() == path == pickle.loads(pickle.dumps(path))
    assert str(place("s3://bucket/")) == "s3://bucket"
    assert str(place("gs://bucket") / "a") == "gs://bucket/a"
    assert in_store(path) and in_store("s3://a/b") and not in_store("a/b")
    with pytest.raises(TypeError):
        os.fspath(path)


@pytest.mark.parametrize(
    "url", ["hdfs://host/a", "s3://", "s3:///a", "s3://bucket/a/../b"]
)
def test_what_is_no_place(url):
    with pytest.raises(UserError, match="is no place in a store: s3://BUCKET/NAME"):
        place(url)


def test_names_as_the_store_has_them(bucket):
    path = place(bucket.url) / "model_version=m-1" / "Größe 1+2.txt"
    path.write_bytes(b"1")
    assert bucket.names() == ["model_version=m-1/Größe 1+2.txt"]
    assert [p for p, _, _ in place(bucket.url).below()] == [path]


def test_thousands_of_objects(bucket):
    folder = place(bucket.url) / "many"
    for index in range(1203):  # a listing has pages of a thousand
        bucket.put(f"many/{index:05d}.json", b"%d" % index)
    assert list(map(int, read_all(folder, "*.json"))) == list(range(1203))
    remove_tree(folder)
    assert bucket.names() == []


def test_conditional_puts(bucket):
    path = place(bucket.url) / "object"
    first = path.create(b"1")
    with pytest.raises(FileExistsError):
        path.create(b"2")
    assert path.read().tag == first and path.read().data == b"1"
    second = path.replace(b"3", first)
    with pytest.raises(ChangedError):
        path.replace(b"4", first)
    assert path.read_bytes() == b"3" and path.read().tag == second


def test_hashes_that_are_known_are_not_fetched(bucket, tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    sha256 = file_sha256(tmp_path / "a")
    folder = place(bucket.upload(tmp_path, "folder"))
    bucket.server.requests.clear()
    assert describe_files(folder, ["a"], {"a": sha256}) == describe_files(
        tmp_path, ["a"]
    )
    assert not [path for _, path in bucket.server.requests if path.endswith("/a")]


def test_there_is_no_such_bucket(bucket):
    path = StorePath.of("s3://no-such-bucket/a")
    for do in (path.read_bytes, path.touch, path.below, lambda: names_in(path)):
        with pytest.raises(UserError, match="There is no bucket s3://no-such-bucket"):
            do()


def _in_a_process(code, **environment):
    code = f"from reviewbeam.components.common.places import place\n{code}"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={k: v for k, v in (os.environ | environment).items() if v is not None},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return result.stdout + result.stderr


def test_credentials_are_missing(bucket):
    found = _in_a_process(
        f"place('{bucket.url}/a').read_bytes()",
        AWS_ACCESS_KEY_ID=None,
        AWS_SECRET_ACCESS_KEY=None,
        AWS_METADATA_ENDPOINT="http://127.0.0.1:1",
    )
    assert "errors.UserError: No credentials for s3://" in found
    assert "Set AWS_ACCESS_KEY_ID and" in found


def test_the_store_is_out_of_reach():
    found = _in_a_process(
        "place('s3://bucket/a').read_bytes()",
        AWS_ACCESS_KEY_ID="a",
        AWS_SECRET_ACCESS_KEY="b",
        AWS_ENDPOINT_URL="http://127.0.0.1:1",
    )
    assert "errors.ReviewbeamError: s3://bucket/a can't be reached" in found


def test_a_process_that_was_forked_too_late(bucket):
    """Its client would wait for ever for threads that it hasn't got."""
    found = _in_a_process(
        f"""
import os
path = place('{bucket.url}/a')
path.touch()
if os.fork() == 0:
    try:
        path.read_bytes()
    except RuntimeError as error:
        print(error, flush=True)
    finally:
        os._exit(0)
os.wait()
print(path.read_bytes())
"""
    )
    assert found.splitlines() == [
        "a process that was forked from one with clients of a store can't have its own",
        "b''",
    ]


def test_the_library_is_missing(bucket, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    monkeypatch.setattr(stores, "_clients", {})
    with pytest.raises(UserError, match=r"pip install 'reviewbeam\[stores\]'"):
        place(bucket.url).is_dir()


def test_errors_of_ours_pass(bucket):
    with pytest.raises(ReviewbeamError), stores._explaining(place(bucket.url)):
        raise UserError("ours")
