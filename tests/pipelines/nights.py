"""What readers of a folder of scores see."""

import json

import pandas as pd
import pyarrow.parquet as pq


def ids(tmp_path):
    """Ids that a reader of the folder sees."""
    return sorted(pd.read_parquet(tmp_path / "scores")["id"])


def listed(tmp_path):
    """Ids that a reader sees who follows the manifest."""
    scores = tmp_path / "scores"
    manifest = json.loads((scores / "_manifest.json").read_text())
    found = []
    for name, version in manifest["versions"].items():
        for chunk in version["chunks"]:
            if chunk["part"]:
                part = scores / f"model_version={name}" / chunk["part"]
                rows = pq.ParquetFile(part).read()["id"].to_pylist()
                assert len(rows) == chunk["rows"]
                found += rows
    return sorted(found)


def of(name, *numbers):
    return [f"{name}-{i}" for i in range(*numbers)]
