"""Writes small dataset directories for the trainer's tests."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from reviewbeam.components.common.artifacts import FORMAT

NAMES = ("negative", "neutral", "positive")
WORDS = 100  # ids 3 to 102, which the tiny encoder's vocabulary has


def make_rows(
    count: int, *, seed: int, classes: int = 3, longest: int = 24
) -> list[tuple[list[int], int]]:
    """Makes (token_ids, label) of texts whose words tell the label.

    Class 0 is twice as frequent as the others; lengths are skewed as in reviews.
    """
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        label = int(random.integers(-1, classes))
        label = max(label, 0)
        length = 1 + int(min(random.exponential(longest / 4), longest - 3))
        words = random.integers(0, WORDS // classes, length) * classes + label
        rows.append(([0, *(3 + words).tolist(), 2], label))
    return rows


def make_multilabel_rows(
    count: int, *, seed: int, labels: int = 3, longest: int = 24
) -> list[tuple[list[int], list[int]]]:
    """Makes (token_ids, indices of labels): a label's words tell it; some have none."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        present = np.flatnonzero(random.random(labels) < 0.4)
        length = 2 + int(min(random.exponential(longest / 4), longest - 4))
        kinds = random.choice([*present, labels], length)  # the last: of no label
        steps = random.integers(0, WORDS // (labels + 1), length)
        words = steps * (labels + 1) + kinds
        rows.append(([0, *(3 + words).tolist(), 2], present.tolist()))
    return rows


def write_dataset(
    directory: Path,
    encoder: Path,
    splits: dict[str, Sequence[tuple[list[int], int]]],
    *,
    names: Sequence[str] = NAMES,
    shards: int = 3,
    label_type: str | None = None,
    languages: Sequence[str] = ("en",),
    counts: Sequence[int] = (1,),
    **manifest,
) -> Path:
    """Writes shards and manifest as `prepare` does.

    Args:
      directory: where to.
      encoder: whose vocabulary the dataset claims.
      splits: rows of (token_ids, label) by split; those left out are empty. A label
        is a list of indices for multilabel. Of
        "augmented", the manifest has an entry beside the splits, or None.
      names: the classes.
      shards: of each split; the last one may be empty.
      label_type: by default binary or multiclass.
      languages: of the rows, in turn; an empty one is not known.
      counts: how many reviews the rows stand for, in turn.
      manifest: replaces top-level entries.
    """
    directory.mkdir(parents=True)
    described = {}
    for split in ("train", "validation", "test", "augmented"):
        if split == "augmented" and split not in splits:
            continue
        rows = list(splits.get(split, ()))
        parts = [rows[i :: shards - 1] for i in range(shards - 1)] + [[]]
        entries, number = [], 0
        for index, part in enumerate(parts):
            name = f"{split}-{index:05d}-of-{shards:05d}.tfrecord.gz"
            with tf.io.TFRecordWriter(str(directory / name), "GZIP") as writer:
                for token_ids, label in part:
                    example_id = f"{split}-{number}"
                    language = languages[number % len(languages)]
                    count = counts[number % len(counts)]
                    number += 1
                    example = _example(
                        token_ids, label, example_id, language, count, len(names)
                    )
                    writer.write(example)
            entries.append({"name": name, "examples": len(part)})
        described[split] = {
            "examples": len(rows),
            "tokens": sum(len(token_ids) for token_ids, _ in rows),
            "labels": {
                name: count
                for index, name in enumerate(names)
                if (count := sum(index in np.atleast_1d(label) for _, label in rows))
            },
            "languages": {"en": len(rows)} if rows else {},
            "shards": entries,
        }
    vocabulary = (encoder / "sentencepiece.bpe.model").read_bytes()
    contents = {
        "format": FORMAT,
        "kind": "dataset",
        "fingerprint": hashlib.sha256(repr(splits).encode()).hexdigest(),
        "labels": {
            "type": label_type or ("binary" if len(names) == 2 else "multiclass"),
            "names": list(names),
            "mapping": {},
        },
        "text": {"max_tokens": 64},
        "split": {},
        "vocabulary_sha256": hashlib.sha256(vocabulary).hexdigest(),
        "language_detector": None,
        "augmented": described.pop("augmented", None),
        "splits": described,
    } | manifest
    (directory / "manifest.json").write_text(json.dumps(contents))
    return directory


def _example(token_ids, label, example_id, language, count, classes) -> bytes:
    def integers(values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def label_feature():
        if not isinstance(label, list):
            return integers([label])
        hot = [float(index in label) for index in range(classes)]
        return tf.train.Feature(float_list=tf.train.FloatList(value=hot))

    def text(value):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))

    feature = {
        "token_ids": integers(token_ids),
        "label": label_feature(),
        "id": text(example_id),
        "language": text(language) if language else tf.train.Feature(),
        "text": text(f"review {example_id}"),
        "count": integers([count]),
    }
    features = tf.train.Features(feature=feature)
    return tf.train.Example(features=features).SerializeToString()
