import dataclasses
import hashlib
import json
from collections import Counter

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from reviewbeam.components.common.coders import register_record_batch_coder
from reviewbeam.components.common.prepare_config import LabelRules, PrepareConfig
from reviewbeam.components.examples.keys import SPLITS, normalized_text
from reviewbeam.components.examples.shards import read_shard
from reviewbeam.components.examples.write import ShardInfo, WriteExamples

LABELS = ("bad", "fair", "good")
PARTITIONS = 3
CONFIG = PrepareConfig(
    encoder="e",
    columns={"text": "text", "label": "label", "keep": ["shop"]},
    labels=LabelRules(type="multiclass", names=LABELS),
    split={"validation": 0.2, "test": 0.2},
)


def _rows(count=150):
    """Reviews behind the tokenizer; each tenth repeats an earlier text."""
    random = np.random.default_rng(0)
    rows = []
    for i in range(count):
        text = f"Review {i}" if i % 10 else f" review  {i // 2 + 1}"
        tokens = int(random.integers(3, 9))
        rows.append(
            {
                "file": f"file {i % 2}",
                "slice": 0,
                "row": i,
                "text": text,
                "id": f"id{i}",
                "language": ["de", "fr", None][i % 3],
                "group": None,
                "keep.shop": f"shop {i}",
                "label_index": int(random.integers(3)),
                "token_ids": [0, *random.integers(4, 99, tokens - 2).tolist(), 2],
                "tokens": tokens + 5 * (i % 4 == 0),
                "unknown_tokens": i % 2,
                "truncated": i % 4 == 0,
            }
        )
    return rows


TYPES = {
    "label_index": pa.int32(),
    "token_ids": pa.list_(pa.int32()),
    "tokens": pa.int32(),
    "unknown_tokens": pa.int32(),
    "truncated": pa.bool_(),
    "slice": pa.int64(),
    "row": pa.int64(),
}


def _batch(rows):
    schema = pa.schema([(name, TYPES.get(name, pa.string())) for name in rows[0]])
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def _write(batches, folder):
    """Runs the transform; returns what its collections held, as plain data."""
    register_record_batch_coder()
    folder.mkdir()
    shards, told = folder / "shards", folder / "told"
    for path in (shards, told):
        path.mkdir()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        written = (
            pipeline
            | "Create" >> beam.Create(batches)
            | "WriteExamples" >> WriteExamples(CONFIG, str(shards), PARTITIONS)
        )
        collections = {
            "features": written.features | beam.Map(lambda batch: batch.to_pydict()),
            "shards": written.shards | "Plain" >> beam.Map(dataclasses.asdict),
            "outcomes": written.outcomes,
        }
        for name, collection in collections.items():
            _ = (
                collection
                | f"List{name}" >> beam.combiners.ToList()
                | f"Tell{name}" >> beam.Map(_tell, told / f"{name}.json")
            )
        names = written.shards | "Names" >> beam.Map(lambda shard: shard.name)
        expected = [
            f"{split}-{i:05d}-of-{PARTITIONS:05d}.tfrecord.gz"
            for split in SPLITS
            for i in range(PARTITIONS)
        ]
        assert_that(names, equal_to(expected), label="Names")
    found = {path.stem: json.loads(path.read_text()) for path in told.iterdir()}
    return found | {"bytes": {p.name: p.read_bytes() for p in shards.iterdir()}}


def _tell(items, path):
    path.write_text(json.dumps(items, default=bytes.decode))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Examples of all rows in four batches, parsed by TensorFlow, and the rest."""
    folder = tmp_path_factory.mktemp("write") / "out"
    whole = _batch(_rows())
    found = _write([whole.slice(start, 40) for start in range(0, 150, 40)], folder)
    examples = {}
    for name in sorted(found["bytes"]):
        path = str(folder / "shards" / name)
        records = tf.data.TFRecordDataset(path, compression_type="GZIP")
        examples[name] = [tf.train.Example.FromString(r.numpy()) for r in records]
        assert [e.SerializeToString(deterministic=True) for e in examples[name]] == (
            read_shard(path)
        )
    return found | {"examples": examples}


def _value(example, name):
    feature = example.features.feature[name]
    (value,) = getattr(feature, feature.WhichOneof("kind")).value
    return value.decode() if isinstance(value, bytes) else value


def test_every_text_is_written_once(written):
    texts = [
        normalized_text(_value(example, "text"))
        for examples in written["examples"].values()
        for example in examples
    ]

    assert sorted(texts) == sorted({normalized_text(row["text"]) for row in _rows()})
    assert len(texts) < 150


def test_counts_and_outcomes_are_all_reviews(written):
    counts = Counter()
    for examples in written["examples"].values():
        counts.update(_value(example, "count") for example in examples)
    assert sum(count * times for count, times in counts.items()) == 150
    assert counts[2] > 5

    by_file, by_fate = Counter(), Counter()
    for (file, fate), reviews in written["outcomes"]:
        by_file[file] += reviews
        by_fate[fate] += reviews
    assert by_file == {"file 0": 75, "file 1": 75}
    for split in SPLITS:
        assert by_fate[f"written.{split}"] == sum(
            len(examples)
            for name, examples in written["examples"].items()
            if name.startswith(split)
        )
    assert by_fate["duplicates"] == 150 - sum(
        len(examples) for examples in written["examples"].values()
    )


def test_an_example_is_its_review(written):
    by_id = {row["id"]: row for row in _rows()}
    for examples in written["examples"].values():
        for example in examples:
            row = by_id[_value(example, "id")]
            ids = list(example.features.feature["token_ids"].int64_list.value)
            assert ids == row["token_ids"]
            assert _value(example, "text") == row["text"]
            assert _value(example, "shop") == row["keep.shop"]


def test_shards_are_described(written):
    by_id = {row["id"]: row for row in _rows()}
    for shard in written["shards"]:
        info = ShardInfo(**shard)
        examples = written["examples"][info.name]
        rows = [by_id[_value(example, "id")] for example in examples]
        lengths = [len(row["token_ids"]) for row in rows]
        content = written["bytes"][info.name]
        assert info == ShardInfo(
            split=info.name.split("-")[0],
            name=info.name,
            sha256=hashlib.sha256(content).hexdigest(),
            examples=len(rows),
            tokens=sum(lengths),
            longest=max(lengths, default=0),
            truncated=sum(row["truncated"] for row in rows),
            labels=Counter(LABELS[_value(example, "label")] for example in examples),
            languages=Counter(row["language"] or "" for row in rows),
        )


def test_features_describe_what_was_written(written):
    splits = Counter()
    for batch in written["features"]:
        splits.update(split for (split,) in batch["split"])
        assert "text" not in batch and "id" not in batch

    expected = Counter()
    for name, examples in written["examples"].items():
        expected[name.split("-")[0]] += len(examples)
    assert splits == +expected
    assert sum(count for b in written["features"] for (count,) in b["count"]) == 150


def test_batches_and_their_order_change_no_byte(written, tmp_path):
    rows = _rows()
    order = np.random.default_rng(5).permutation(len(rows))
    shuffled = _batch([rows[i] for i in order])
    again = _write([shuffled.slice(i, 11) for i in range(0, 150, 11)], tmp_path / "out")

    assert again["bytes"] == written["bytes"]
    for name in ("shards", "outcomes"):
        assert sorted(map(repr, again[name])) == sorted(map(repr, written[name]))


def test_a_single_review_fills_one_partition(tmp_path):
    register_record_batch_coder()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        written = (
            pipeline
            | "Create" >> beam.Create([_batch(_rows(1))])
            | "WriteExamples" >> WriteExamples(CONFIG, str(tmp_path), PARTITIONS)
        )
        sizes = written.shards | beam.Map(lambda shard: shard.examples)
        assert_that(sizes, equal_to([1, 0, 0]), label="Sizes")
    # A shard of each split of that partition, the empty ones too.
    assert len(list(tmp_path.iterdir())) == 3
