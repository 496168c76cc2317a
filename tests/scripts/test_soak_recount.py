"""The count that ends a soak finds whatever is lost, doubled or made up."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest


@pytest.fixture
def folders(tmp_path):
    """Two raw files, and scores of them as they must be."""
    raw, scores = tmp_path / "incoming", tmp_path / "scores"
    raw.mkdir()
    lines = [b'{"id": "a", "text": "good"}', b"{", b"", b'{"id": "b", "text": "bad"}']
    (raw / "one.jsonl.gz").write_bytes(gzip.compress(b"\n".join(lines)))
    (raw / "two.csv").write_text('id,text\nc,"so\nso"\nd,fine\n')
    part = scores / "model_version=m-1" / "part-x.parquet"
    part.parent.mkdir(parents=True)
    pd.DataFrame({"id": ["a", "b", "c", "d"]}).to_parquet(part)
    rejects = scores / "_rejects" / "m-1" / "rejects-x.parquet"
    rejects.parent.mkdir(parents=True)
    pd.DataFrame({"file": ["one.jsonl.gz"], "row": [2]}).to_parquet(rejects)
    entries = [("one.jsonl.gz", 2, {"malformed_json": 1}), ("two.csv", 2, {})]
    files = [
        {
            "file": name,
            "rows": written + len(rejected),
            "written": written,
            "rejected": rejected,
            "complete": True,
        }
        for name, written, rejected in entries
    ]
    shares = [["one.jsonl.gz", 2, 0, 1], ["two.csv", 2, 0, 0]]
    chunk = {"part": part.name, "rows": 4, "files": shares}
    version = {"settings": {"model": "best"}, "files": files, "chunks": [chunk]}
    write_manifest(scores, version)
    return raw, scores, version


@pytest.fixture
def recount(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "scripts")
    from soak_recount import recount

    return recount


def write_manifest(scores, version):
    manifest = {"versions": {"m-1": version}}
    (scores / "_manifest.json").write_text(json.dumps(manifest))


def test_nothing_is_wrong(recount, folders):
    assert recount(*folders[:2], "best") == []


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        ("abc", "part-x.parquet has 3 rows, not 4|two.csv: scores: 1 lost, such as d"),
        ("abcc", "1 lost, such as d|1 doubled or made up, such as c"),
        ("abdd", "two.csv: scores: 1 lost, such as c"),
        ("cbad", "one.jsonl.gz: scores: 1 lost, such as a"),  # of another file
    ],
)
def test_wrong_scores(recount, folders, ids, told):
    raw, scores, _ = folders
    pd.DataFrame({"id": list(ids)}).to_parquet(
        scores / "model_version=m-1" / "part-x.parquet"
    )
    wrong = "|".join(recount(raw, scores, "best"))
    assert all(words in wrong for words in told.split("|")), wrong


def test_a_part_that_the_manifest_does_not_list(recount, folders):
    raw, scores, _ = folders
    pd.DataFrame({"id": ["d"]}).to_parquet(
        scores / "model_version=m-1" / "part-y.parquet"
    )
    (wrong,) = recount(raw, scores, "best")
    assert wrong == "the folder read by pandas: 1 doubled or made up, such as d"


def test_a_part_that_is_gone(recount, folders):
    raw, scores, _ = folders
    (scores / "model_version=m-1" / "part-x.parquet").unlink()
    wrong = "|".join(recount(raw, scores, "best"))
    assert "part-x.parquet has 0 rows, not 4" in wrong and "2 lost, such as c" in wrong


def test_wrong_rejects(recount, folders):
    raw, scores, _ = folders
    path = scores / "_rejects" / "m-1" / "rejects-x.parquet"
    pd.DataFrame({"file": ["one.jsonl.gz"], "row": [3]}).to_parquet(path)
    wrong = recount(raw, scores, "best")
    assert any("1 lost, such as 2" in words for words in wrong)
    assert any("made up, such as 3" in words for words in wrong)


def test_wrong_files_and_models(recount, folders):
    raw, scores, version = folders
    assert recount(raw, scores, "worse") == ["m-1 was scored by another model"]
    (raw / "three.csv").write_text("id,text\ne,new\n")
    assert any("such as e" in words for words in recount(raw, scores, "best"))
    (raw / "three.csv").unlink()
    version["files"][0] |= {"rows": 4, "complete": False}
    write_manifest(scores, version)
    wrong = "|".join(recount(raw, scores, "best"))
    assert "the manifest counts (4, 2, 1)" in wrong and "not complete" in wrong
