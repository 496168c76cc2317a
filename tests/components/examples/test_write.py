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
from apache_beam.testing.util import assert_that, is_empty

from reviewbeam.components.common.coders import register_record_batch_coder
from reviewbeam.components.common.prepare_config import AUGMENTED, SPLITS
from reviewbeam.components.common.text_hashes import normalized_text
from reviewbeam.components.examples.make import MakeExamples
from reviewbeam.components.examples.shards import read_shard
from reviewbeam.components.examples.write import ShardInfo, WriteShards
from tests.components.examples.reviews import (
    LABELS,
    MULTILABEL,
    SCHEMA,
    prepare_config,
    reviews,
)

PARTITIONS = 3
SETTINGS = {"split": {"validation": 0.2, "test": 0.2}}
CONFIG = prepare_config(**SETTINGS)
# What an example has besides the columns of reviews.
TOKENS = [
    ("token_ids", pa.list_(pa.int32())),
    ("tokens", pa.int32()),
    ("unknown_tokens", pa.int32()),
    ("truncated", pa.bool_()),
    ("keep.shop", pa.string()),
    ("split", pa.string()),
    ("count", pa.int64()),
]


def _row(i, random):
    """A review behind the tokenizer; each tenth repeats an earlier text."""
    tokens = int(random.integers(3, 9))
    return {
        "file": f"file {i % 2}",
        "row": i,
        "text": f"Review {i}" if i % 10 else f" review  {i // 2 + 1}",
        "id": f"id{i}",
        "language": ["de", "fr", None][i % 3],
        "label_index": int(random.integers(3)),
        "keep.shop": f"shop {i}",
        "token_ids": [0, *random.integers(4, 99, tokens - 2).tolist(), 2],
        "tokens": tokens + 5 * (i % 4 == 0),
        "unknown_tokens": i % 2,
        "truncated": i % 4 == 0,
    }


def _rows(count=150):
    random = np.random.default_rng(0)
    return [_row(i, random) for i in range(count)]


def _schema(schema, but=()):
    return pa.schema([*schema, *(pa.field(*f) for f in TOKENS if f[0] not in but)])


def _examples(splits, schema=SCHEMA, labels=(0, 2, 1)):
    """Examples as WriteShards takes them."""
    rows = [
        row | {"split": split, "count": 1, "label_index": labels[i % len(labels)]}
        for i, (row, split) in enumerate(zip(_rows(len(splits)), splits, strict=True))
    ]
    return reviews(rows, _schema(schema))


def _write(elements, folder, config=CONFIG, to_examples=None):
    """Runs the transform; returns its ShardInfos and the bytes of its files."""
    register_record_batch_coder()
    shards, told = folder / "shards", folder / "told"
    shards.mkdir(parents=True)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        created = pipeline | "Create" >> beam.Create(elements)
        if to_examples:
            created = (created | "MakeExamples" >> to_examples)["examples"]
        written = created | "WriteShards" >> WriteShards(
            config, str(shards), PARTITIONS
        )
        _ = (
            written
            | "Plain" >> beam.Map(dataclasses.asdict)
            | "List" >> beam.combiners.ToList()
            | "Tell" >> beam.Map(_tell, told)
        )
    infos = [ShardInfo(**info) for info in json.loads(told.read_text())]
    return infos, {path.name: path.read_bytes() for path in shards.iterdir()}


def _tell(items, path):
    path.write_text(json.dumps(items))


def _parse(path):
    records = tf.data.TFRecordDataset(str(path), compression_type="GZIP")
    examples = [tf.train.Example.FromString(record.numpy()) for record in records]
    assert read_shard(str(path)) == [
        example.SerializeToString(deterministic=True) for example in examples
    ]
    return examples


def _value(example, name):
    feature = example.features.feature[name]
    (value,) = getattr(feature, feature.WhichOneof("kind")).value
    return value.decode() if isinstance(value, bytes) else value


# === From reviews to shards ===


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The shards of all rows in four batches, parsed by TensorFlow, and the rest."""
    folder = tmp_path_factory.mktemp("write")
    whole = reviews(_rows(), _schema(SCHEMA, but=("split", "count")))
    batches = [whole.slice(start, 40) for start in range(0, 150, 40)]
    infos, files = _write(batches, folder, CONFIG, MakeExamples(CONFIG, PARTITIONS))
    examples = {name: _parse(folder / "shards" / name) for name in files}
    return {"infos": infos, "bytes": files, "examples": examples}


def test_every_text_is_written_once(written):
    texts = [
        normalized_text(_value(example, "text"))
        for examples in written["examples"].values()
        for example in examples
    ]

    assert sorted(texts) == sorted({normalized_text(row["text"]) for row in _rows()})
    assert len(texts) < 150


def test_counts_are_all_reviews(written):
    counts = Counter()
    for examples in written["examples"].values():
        counts.update(_value(example, "count") for example in examples)

    assert sum(count * times for count, times in counts.items()) == 150
    assert counts[2] > 5


def test_an_example_is_its_review(written):
    by_id = {row["id"]: row for row in _rows()}
    for examples in written["examples"].values():
        for example in examples:
            row = by_id[_value(example, "id")]
            ids = list(example.features.feature["token_ids"].int64_list.value)
            assert ids == row["token_ids"]
            assert _value(example, "label") == row["label_index"]
            assert _value(example, "text") == row["text"]
            assert _value(example, "shop") == row["keep.shop"]


def test_shards_are_described(written):
    by_id = {row["id"]: row for row in _rows()}
    assert {info.name for info in written["infos"]} == {
        f"{split}-{i:05d}-of-{PARTITIONS:05d}.tfrecord.gz"
        for split in SPLITS
        for i in range(PARTITIONS)
    }
    for info in written["infos"]:
        rows = [by_id[_value(e, "id")] for e in written["examples"][info.name]]
        lengths = [len(row["token_ids"]) for row in rows]
        labels = {}
        for row in rows:
            of_language = labels.setdefault(row["language"] or "", Counter())
            of_language[LABELS[row["label_index"]]] += 1
        assert info == ShardInfo(
            split=info.name.split("-")[0],
            name=info.name,
            sha256=hashlib.sha256(written["bytes"][info.name]).hexdigest(),
            examples=len(rows),
            tokens=sum(lengths),
            longest=max(lengths),
            truncated=sum(row["truncated"] for row in rows),
            labels=labels,
        )


def test_batches_and_their_order_change_no_byte(written, tmp_path):
    rows = _rows()
    order = np.random.default_rng(5).permutation(len(rows))
    schema = _schema(SCHEMA, but=("split", "count"))
    shuffled = reviews([rows[i] for i in order], schema)
    batches = [shuffled.slice(i, 11) for i in range(0, 150, 11)]
    infos, files = _write(batches, tmp_path, CONFIG, MakeExamples(CONFIG, PARTITIONS))

    assert files == written["bytes"]
    assert sorted(map(repr, infos)) == sorted(map(repr, written["infos"]))


# === Shards of given examples ===


def test_a_shard_for_each_split_that_there_is(tmp_path):
    elements = [
        (2, _examples(["train", "test", "train"])),
        (0, _examples(["validation"])),
        (2, _examples([AUGMENTED] * 3)),
    ]
    infos, files = _write(elements, tmp_path)

    assert {info.name: (info.split, info.examples) for info in infos} == {
        "train-00002-of-00003.tfrecord.gz": ("train", 2),
        "test-00002-of-00003.tfrecord.gz": ("test", 1),
        "validation-00000-of-00003.tfrecord.gz": ("validation", 1),
        "augmented-00002-of-00003.tfrecord.gz": ("augmented", 3),
    }
    assert set(files) == {info.name for info in infos}
    augmented = _parse(tmp_path / "shards" / "augmented-00002-of-00003.tfrecord.gz")
    assert [_value(example, "id") for example in augmented] == ["id0", "id1", "id2"]


def test_labels_are_counted_by_language(tmp_path):
    # Languages are de, fr, none, de, …; labels bad, good, fair, bad, …
    (info,), _ = _write([(0, _examples(["train"] * 7))], tmp_path)

    assert info.labels == {"": {"fair": 2}, "de": {"bad": 3}, "fr": {"good": 2}}
    lengths = [len(row["token_ids"]) for row in _rows(7)]
    assert (info.examples, info.tokens, info.longest) == (7, sum(lengths), max(lengths))
    assert info.truncated == 2


def test_several_labels_are_counted_each_and_read_back_as_floats(tmp_path):
    labels = ([0, 2], [], [1], [0, 1, 2], [2])
    examples = _examples(["train"] * 5, MULTILABEL, labels)
    config = prepare_config("multilabel", **SETTINGS)
    (info,), _ = _write([(1, examples)], tmp_path, config)

    assert info.labels == {
        "": {"fair": 1},
        "de": {"bad": 2, "fair": 1, "good": 2},
        "fr": {"good": 1},
    }
    records = read_shard(str(tmp_path / "shards" / info.name))
    spec = {"label": tf.io.FixedLenFeature([3], tf.float32)}
    assert tf.io.parse_example(records, spec)["label"].numpy().tolist() == [
        [1, 0, 1],
        [0, 0, 0],
        [0, 1, 0],
        [1, 1, 1],
        [0, 0, 1],
    ]


def test_examples_of_no_label_at_all(tmp_path):
    examples = _examples(["test"] * 2, MULTILABEL, ([],))
    config = prepare_config("multilabel", **SETTINGS)
    (info,), _ = _write([(0, examples)], tmp_path, config)

    assert (info.examples, info.labels) == (2, {})


def test_no_examples_no_shards(tmp_path):
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        created = pipeline | beam.Create([(0, _examples(["train"]).slice(0, 0))])
        assert_that(created | WriteShards(CONFIG, str(tmp_path), 1), is_empty())
    assert list(tmp_path.iterdir()) == []
