"""Counts a soak's reviews once more, by plain Python, and compares with the scores.

What must be scored and what rejected is told from the raw files alone: no code of
reviewbeam's is used.
"""

import csv
import gzip
import io
import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq


def recount(incoming: Path, scores: Path, blessed: str) -> list[str]:
    """Returns what is wrong; nothing, if every row is scored or rejected once.

    Args:
      incoming: the raw files.
      scores: what `reviewbeam score` made of them.
      blessed: fingerprint of the model that alone may have scored.
    """
    raw = {
        path.relative_to(incoming).as_posix(): read_raw(path)
        for path in sorted(incoming.rglob("*"))
        if path.is_file()
    }
    manifest = json.loads((scores / "_manifest.json").read_bytes())
    wrong = []
    for name, version in manifest["versions"].items():
        if version["settings"]["model"] != blessed:
            wrong.append(f"{name} was scored by another model")
    listed = _listed(scores, manifest, wrong)
    rejects = _rejects(scores)
    for name, (good, bad) in raw.items():
        _compare(f"{name}: scores", Counter(good), listed.pop(name, Counter()), wrong)
        _compare(f"{name}: rejects", Counter(bad), rejects.pop(name, Counter()), wrong)
    for name in [*listed, *rejects]:
        wrong.append(f"{name} has scores or rejects, and was never delivered")
    seen = Counter(pd.read_parquet(scores).get("id", []))  # as who ignores the manifest
    everything = Counter(review for good, _ in raw.values() for review in good)
    _compare("the folder read by pandas", everything, seen, wrong)
    return wrong + _entries(manifest, raw)


def read_raw(path: Path) -> tuple[list[str], list[int]]:
    """Returns the ids of a file's reviews, and the numbers of the lines that are none.

    Args:
      path: of CSV, or of JSON Lines, perhaps compressed.
    """
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    if path.suffix == ".csv":
        return [row["id"] for row in csv.DictReader(io.StringIO(data.decode()))], []
    good, bad = [], []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            whole = record["text"].strip() != ""
        except (ValueError, KeyError, TypeError):
            whole = False
        if whole:
            good.append(record["id"])
        else:
            bad.append(number)
    return good, bad


def _listed(scores: Path, manifest: dict, wrong: list[str]) -> dict[str, Counter]:
    """Returns the ids that the manifest lists, by file."""
    found: dict[str, Counter] = {}
    for name, version in manifest["versions"].items():
        for chunk in version["chunks"]:
            ids = []
            if chunk["part"]:
                part = scores / f"model_version={name}" / chunk["part"]
                if part.exists():
                    ids = pq.ParquetFile(part).read(["id"])["id"].to_pylist()
            if len(ids) != chunk["rows"]:
                wrong.append(
                    f"{chunk['part']} has {len(ids)} rows, not {chunk['rows']}"
                )
            start = 0
            for file, rows, *_ in chunk["files"]:
                found.setdefault(file, Counter()).update(ids[start : start + rows])
                start += rows
    return {file: ids for file, ids in found.items() if ids}


def _rejects(scores: Path) -> dict[str, Counter]:
    """Returns the lines that were rejected, by file."""
    found: dict[str, Counter] = {}
    for path in scores.glob("_rejects/*/*.parquet"):
        for row in pq.ParquetFile(path).read(["file", "row"]).to_pylist():
            found.setdefault(row["file"], Counter())[row["row"]] += 1
    return found


def _entries(manifest: dict, raw: dict[str, tuple[list, list]]) -> list[str]:
    """Returns what is wrong with the manifest's own sums."""
    told = Counter()
    wrong = []
    for version in manifest["versions"].values():
        for entry in version["files"]:
            told[entry["file"]] += 1
            good, bad = raw.get(entry["file"], ((), ()))
            sums = (entry["rows"], entry["written"], sum(entry["rejected"].values()))
            if sums != (len(good) + len(bad), len(good), len(bad)):
                wrong.append(f"{entry['file']}: the manifest counts {sums}")
            if not entry["complete"]:
                wrong.append(f"{entry['file']} is not complete")
    _compare("files in the manifest", Counter(list(raw)), told, wrong)
    return wrong


def _compare(what: str, expected: Counter, found: Counter, wrong: list[str]) -> None:
    for verb, difference in (
        ("lost", expected - found),
        ("doubled or made up", found - expected),
    ):
        if difference:
            some = ", ".join(map(str, list(difference)[:3]))
            wrong.append(f"{what}: {difference.total()} {verb}, such as {some}")
