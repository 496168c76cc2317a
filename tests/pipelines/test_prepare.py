"""The dataset of the sample corpus, and the gates of `prepare`."""

import copy
import csv
import gzip
import json
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv

from reviewbeam.components.common.corpus_config import TextRules
from reviewbeam.components.common.encoder_directory import open_encoder
from reviewbeam.components.common.serving_drift_config import FEATURES
from reviewbeam.components.common.serving_statistics import chunk_statistics
from reviewbeam.components.tokenization.tokenizer import Tokenizer
from tests.pipelines.conftest import SAMPLE


def _manifest(dataset):
    return json.loads((dataset / "manifest.json").read_text())


def _examples(dataset, split):
    features = {
        "token_ids": tf.io.RaggedFeature(tf.int64),
        "label": tf.io.FixedLenFeature([], tf.int64),
        "count": tf.io.FixedLenFeature([], tf.int64),
        "id": tf.io.FixedLenFeature([], tf.string),
        "language": tf.io.FixedLenFeature([], tf.string, ""),
        "text": tf.io.FixedLenFeature([], tf.string),
        "product": tf.io.FixedLenFeature([], tf.string),
    }
    names = [s["name"] for s in _manifest(dataset)["splits"][split]["shards"]]
    files = [str(dataset / name) for name in names]
    return [
        tf.io.parse_single_example(record, features)
        for record in tf.data.TFRecordDataset(files, compression_type="GZIP")
    ]


def _labels(manifest):
    return sum((Counter(s["labels"]) for s in manifest["splits"].values()), Counter())


def _bytes(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("run.json", "statistics.tfrecord")
    }


def test_every_row_is_accounted_for(dataset):
    manifest = _manifest(dataset)
    broken, reviews = manifest["inputs"]

    assert broken["rows"] == 35
    assert sum(broken["rejected"].values()) == 32
    assert reviews["rows"] == 488
    assert reviews["duplicates"] == 8
    for entry in manifest["inputs"]:
        parts = [entry[key] for key in ("written", "rejected", "left_out")]
        total = entry["duplicates"] + sum(sum(p.values()) for p in parts)
        assert total == entry["rows"]


def test_plain_tensorflow_reads_the_examples(dataset):
    manifest = _manifest(dataset)
    seen, labels = [], Counter()
    for split, facts in manifest["splits"].items():
        examples = _examples(dataset, split)
        assert len(examples) == facts["examples"]
        assert sum(len(e["token_ids"]) for e in examples) == facts["tokens"]
        labels.update(int(e["label"]) for e in examples)
        seen += [e["text"].numpy().decode() for e in examples]
        for example in examples:
            ids = example["token_ids"].numpy()
            assert ids[0] == 0 and ids[-1] == 2 and len(ids) <= 64
    assert len(seen) == len(set(seen)) == 483
    by_name = sum(
        (Counter(s["labels"]) for s in manifest["splits"].values()), Counter()
    )
    names = ["negative", "neutral", "positive"]
    assert [labels[i] for i in range(3)] == [by_name[name] for name in names]


def test_counts_stand_for_all_copies(dataset):
    counts = [int(e["count"]) for s in _manifest(dataset)["splits"]
              for e in _examples(dataset, s)]  # fmt: skip
    assert sum(counts) == 491
    assert sorted(counts)[-8:] == [2] * 8


def test_histograms_are_those_of_the_reviews_as_score_would_count_them(
    dataset, tiny_encoder, configs
):
    rules = TextRules.model_validate(configs["prepare"]["text"])
    tokenizer = Tokenizer(open_encoder(str(tiny_encoder)).vocabulary, rules)
    for split, facts in _manifest(dataset)["splits"].items():
        texts, languages = [], []
        for example in _examples(dataset, split):
            copies = int(example["count"])
            texts += [example["text"].numpy().decode()] * copies
            languages += [example["language"].numpy().decode() or None] * copies
        found = chunk_statistics(
            pa.RecordBatch.from_pydict(
                {"text": texts, "language": pa.array(languages, pa.string())}
            ),
            tokenizer.encode(pa.array(texts)),
            np.full((len(texts), 2), 0.5, np.float32),
            np.zeros(len(texts), np.int64),
            ("negative", "positive"),
            "multiclass",
        )
        assert facts["histograms"]["rows"] == found["rows"] == len(texts)
        counts = facts["histograms"]["counts"]
        assert counts.keys() == FEATURES.keys() - {"predicted_label", "confidence"}
        assert counts == {name: found["counts"][name] for name in counts}


def test_rejects_tell_file_row_and_rule(dataset):
    rejects = pd.read_parquet(dataset / "rejects")
    raw = (SAMPLE / "broken.jsonl").read_bytes().split(b"\n")

    assert len(rejects) == 32
    assert rejects["row"].is_monotonic_increasing
    assert 16 not in set(rejects["row"])
    for row in rejects.itertuples():
        assert row.file == "broken.jsonl"
        assert row.raw == raw[row.row - 1].removesuffix(b"\r")
    assert set(rejects[rejects.rule == "label_unknown"]["value"]) == {"great"}
    assert {p.stat().st_mode & 0o77 for p in (dataset / "rejects").iterdir()} == {0}


def test_statistics_and_schema_load_with_tfdv(dataset):
    statistics = tfdv.load_statistics(str(dataset / "statistics.tfrecord"))
    sizes = {d.name: d.num_examples for d in statistics.datasets}
    splits = _manifest(dataset)["splits"]
    expected = {f"split_{name}": split["examples"] for name, split in splits.items()}
    assert sizes == expected | {"All Examples": 483}
    schema = tfdv.load_schema_text(str(dataset / "schema.pbtxt"))
    features = {feature.name for feature in schema.feature}
    assert {"label", "language", "tokens", "characters"} <= features
    assert "text" not in features


def test_the_same_input_gives_the_same_bytes(
    dataset, configs, command, write_config, tmp_path
):
    config = write_config(configs["prepare"])
    inputs = [SAMPLE / "broken.jsonl", SAMPLE / "reviews.jsonl"]  # the other order
    options = [word for path in inputs for word in ("--input", path)]
    code, _, _ = command(
        "prepare", "--config", config, *options, "--output", tmp_path / "again"
    )
    assert code == 0
    assert _bytes(tmp_path / "again") == _bytes(dataset)


def test_slices_change_neither_examples_nor_rejected_rows(
    dataset, configs, command, write_config, tmp_path
):
    data = configs["prepare"] | {
        "input": [str(SAMPLE / "reviews.jsonl"), str(SAMPLE / "broken.jsonl")],
        "slice_bytes": 1024,
    }
    output = tmp_path / "sliced"
    assert (
        command("prepare", "--config", write_config(data), "--output", output)[0] == 0
    )
    mine, other = _bytes(output), _bytes(dataset)
    assert len(_manifest(output)["inputs"]) == 2
    for name in mine.keys() - {"manifest.json", "report.html"}:  # name the config
        assert mine[name] == other[name], name


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("jsonl.gz", marks=pytest.mark.slow),
        pytest.param("csv", marks=pytest.mark.slow),
        "parquet",
    ],
)
def test_every_format_gives_the_same_examples(
    kind, dataset, configs, command, write_config, tmp_path
):
    path = tmp_path / f"reviews.{kind}"
    lines = (SAMPLE / "reviews.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    if kind == "jsonl.gz":
        path.write_bytes(gzip.compress("\n".join(lines).encode()))
    elif kind == "csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, records[0])
            writer.writeheader()
            writer.writerows(records)
    else:
        pq.write_table(pa.Table.from_pylist(records), path, row_group_size=100)
    data = configs["prepare"] | {"input": [str(path), str(SAMPLE / "broken.jsonl")]}
    output = tmp_path / "dataset"
    assert (
        command("prepare", "--config", write_config(data), "--output", output)[0] == 0
    )
    for split in ("train", "validation", "test"):
        mine = _manifest(output)["splits"][split]
        assert mine == _manifest(dataset)["splits"][split]
    name = _manifest(output)["splits"]["train"]["shards"][0]["name"]
    assert (output / name).read_bytes() == (dataset / name).read_bytes()


def test_too_many_rejects_stop_at_the_gate(configs, command, write_config, tmp_path):
    data = copy.deepcopy(configs["prepare"])
    data["rules"] = {"max_reject_fraction": 0.05}
    inputs = [str(SAMPLE / "reviews.jsonl"), str(SAMPLE / "broken.jsonl")]
    code, _, err = command(
        "prepare", "--config", write_config(data | {"input": inputs}),
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert code == 3
    assert "32 of 523 rows are rejects" in err
    assert {path.name for path in tmp_path.glob("out*")} == {"out.failed", "out.log"}
    failed = tmp_path / "out.failed"
    assert len(pd.read_parquet(failed / "rejects")) == 32
    report = json.loads((failed / "report.json").read_text())
    assert "max_reject_fraction" in report["problems"][0]
    assert not list(failed.glob("*.gz"))


def test_a_fatal_anomaly_stops_at_the_gate(
    dataset, configs, command, write_config, tmp_path
):
    schema = (dataset / "schema.pbtxt").read_text().replace('value: "ko"', "")
    reviewed = tmp_path / "reviewed.pbtxt"
    reviewed.write_text(schema)
    data = configs["prepare"] | {"input": [str(SAMPLE / "reviews.jsonl")]}
    output = tmp_path / "out"

    rules = {"schema_file": str(reviewed)}
    config = write_config(data | {"schema_rules": rules})
    code, out, _ = command("prepare", "--config", config, "--output", output)
    assert code == 0
    assert "ENUM_TYPE_UNEXPECTED_STRING_VALUES" in out

    rules["fatal"] = ["ENUM_TYPE_UNEXPECTED_STRING_VALUES"]
    config = write_config(data | {"schema_rules": rules})
    output = tmp_path / "gated"
    code, _, err = command("prepare", "--config", config, "--output", output)
    assert code == 3
    assert "language" in err and "ko" in err and "reviews.jsonl row" in err
    assert [path.name for path in tmp_path.glob("gated*/")] == ["gated.failed"]


def test_columns_and_stars_are_mapped(configs, command, write_config, tmp_path):
    data = configs["prepare"] | {
        "input": [str(SAMPLE / "reviews_fr.csv")],
        "columns": {
            "text": "commentaire",
            "id": "review_id",
            "label": "note",
            "language": "langue",
        },
    }
    data["labels"] = data["labels"] | {
        "mapping": {
            1: "negative",
            2: "negative",
            3: "neutral",
            4: "positive",
            5: "positive",
        },  # fmt: skip
    }
    output = tmp_path / "fr"
    assert (
        command("prepare", "--config", write_config(data), "--output", output)[0] == 0
    )
    manifest = _manifest(output)
    assert _labels(manifest) == {"negative": 5, "neutral": 2, "positive": 5}
    assert manifest["inputs"][0]["rows"] == 12
