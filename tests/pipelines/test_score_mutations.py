"""10,000 rows that were damaged at random: none lost, none twice, no crash."""

import gzip
import json
import random

import pandas as pd
import pytest

from tests.pipelines.fake_models import write_model
from tests.testdata.make_tiny_encoder import SENTENCES

ROWS = 10_000
JUNK = [b"\xff", b"\0", b'"', b"\\", b"{", b"}", b"\r", b",", b"\xf0\x9f", b"\\ud83d"]


def mutate(line, random_):
    """Damages a line at one to four places; it stays one line."""
    data = bytearray(line)
    for _ in range(random_.randrange(1, 5)):
        place = random_.randrange(len(data) + 1)
        what = random_.randrange(4)
        if what == 0 and data:
            del data[place : place + random_.randrange(1, 8)]
        elif what == 1:
            data[place:place] = random_.choice(JUNK)
        elif what == 2 and place < len(data):
            data[place] ^= 1 << random_.randrange(8)
        else:
            data = data[:place]
    return bytes(data).replace(b"\n", b" ")


@pytest.mark.parametrize("seed", [1, 2])
def test_mutated_rows(command, write_config, dataset, tiny_encoder, tmp_path, seed):
    random_ = random.Random(seed)
    lines, sound = [], set()
    for i in range(ROWS):
        text = f"{random_.choice(SENTENCES)} {i}"
        key = f"{random_.getrandbits(128):032x}"  # which no damage makes of another
        line = json.dumps({"id": f"r{i}", "text": text, "key": key}).encode()
        if random_.random() < 0.5:
            line = mutate(line, random_)
        else:
            sound.add(key)
        lines.append(line)
    folder = tmp_path / "in"
    folder.mkdir()
    names = ["large.jsonl", "large.jsonl.gz", *(f"s{i:03d}.jsonl" for i in range(90))]
    start, where = 0, {}
    for index, name in enumerate(names):
        rows = 3000 if index < 2 else (ROWS - 6000) // 90 + 1
        where[name] = lines[start : start + rows]
        data = b"".join(line + b"\n" for line in where[name])
        (folder / name).write_bytes(gzip.compress(data) if "gz" in name else data)
        start += rows
    model = write_model(tmp_path / "model", dataset, tiny_encoder)
    config = write_config(
        {
            "columns": {"text": "text", "id": "id", "keep": ["key"]},
            "slice_bytes": 50_000,
            "inference": {
                "engine": "tensorflow", "batch_tokens": 4096, "threads": 1,
                "chunk_rows": 700,
            },
        }
    )  # fmt: skip
    code, _, err = command(
        *("score", "--config", config, "--model", model),
        *("--input", folder / "*", "--output", tmp_path / "scores"),
    )
    assert code == 0, err
    assert "Traceback" not in err
    scores = pd.read_parquet(tmp_path / "scores")
    rejects = pd.concat(map(pd.read_parquet, tmp_path.glob("scores/_rejects/*/*")))
    assert not rejects.duplicated(["file", "row"]).any()
    manifest = json.loads((tmp_path / "scores" / "_manifest.json").read_text())
    ((version),) = manifest["versions"].values()
    for entry in version["files"]:
        # A line of white space alone is no record.
        records = sum(bool(line.strip(b" \t\r\v\f")) for line in where[entry["file"]])
        rejected = rejects[rejects["file"] == entry["file"]]
        assert sum(entry["rejected"].values()) == len(rejected)
        assert entry["rows"] == records == entry["written"] + len(rejected)
        for row in rejected.itertuples():
            assert where[entry["file"]][row.row - 1].removesuffix(b"\r") == row.raw
    assert len(scores) == sum(entry["written"] for entry in version["files"])
    counts = scores["key"].value_counts()
    assert (counts.reindex(sorted(sound)) == 1).all()
