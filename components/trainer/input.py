"""Reads a split of a dataset into memory and feeds it in batches of one length.

A split is held as flat arrays, at 4 bytes a token and about 50 bytes a row besides
its id: a million reviews of 40 tokens take some 200 MB. TensorFlow cuts a batch out
of them in C++, so that Python sees one call a batch.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import tensorflow as tf

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.language_codes import shown_languages
from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.trainer.batches import BatchPlan

PAD = 1  # XLM-R's <pad>; no text has it
_ROWS_PER_PARSE = 1024
_FEATURES = {
    "token_ids": tf.io.RaggedFeature(tf.int64),
    "id": tf.io.FixedLenFeature([], tf.string),
    "language": tf.io.FixedLenFeature([], tf.string, ""),
    "count": tf.io.FixedLenFeature([], tf.int64, 1),
}


class Batch(NamedTuple):
    """Some rows of a split as tensors.

    Attributes:
      token_ids: int32 [rows or more, longest or longer], padded.
      labels: of `Split`, one for each row of token_ids.
      rows: int32; how many are real: what follows them only fills a shape.
    """

    token_ids: tf.Tensor
    labels: tf.Tensor
    rows: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Split:
    """All examples of a split.

    Attributes:
      token_ids: int32 [tokens]; the rows one after the other, not padded.
      row_splits: int64 [rows + 1]; row i is `token_ids[row_splits[i]:row_splits[i+1]]`.
      labels: int32 [rows]; multilabel: float32 [rows, labels], 1 or 0.
      ids: large_binary [rows].
      languages: string [rows]; null where it is not known.
      counts: int64 [rows]; how many reviews each stands for.
    """

    token_ids: np.ndarray
    row_splits: np.ndarray
    labels: np.ndarray
    ids: pa.ChunkedArray
    languages: pa.ChunkedArray
    counts: np.ndarray

    def __len__(self):
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, int64 [rows]."""
        return np.diff(self.row_splits)

    def language_codes(self) -> tuple[np.ndarray, list[str | None]]:
        """Returns a number for each row, int32 [rows], and the language of each."""
        encoded = self.languages.dictionary_encode("encode").combine_chunks()
        return np.asarray(encoded.indices), encoded.dictionary.to_pylist()

    def example_ids(self, rows: np.ndarray) -> list[str]:
        """Returns the ids of some rows, for a message."""
        return [
            self.ids[int(row)].as_py().decode("utf-8", "backslashreplace")
            for row in rows
        ]


def read_split(
    dataset: Path, name: str, described: Mapping[str, Any], labels: LabelRules
) -> Split:
    """Reads the shards of a split and holds them against the manifest.

    Args:
      dataset: the dataset's directory.
      name: of the split.
      described: what the manifest says of the split.
      labels: the classes, in the order of the label indices.

    Raises:
      UserError: a shard is missing, can't be read, or isn't what the manifest says.
    """
    parts = [
        _read_shard(dataset / shard["name"], shard["examples"], labels)
        for shard in described["shards"]
    ]
    split = concatenate(parts) if parts else _no_rows(labels)
    _check_counts(split, dataset, name, described, labels.names)
    return split


def concatenate(parts: Sequence[Split]) -> Split:
    """Returns the rows of several splits, one after the other."""
    lengths = np.concatenate([part.lengths for part in parts])
    return Split(
        token_ids=np.concatenate([part.token_ids for part in parts]),
        row_splits=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=np.concatenate([part.labels for part in parts]),
        ids=pa.chunked_array([c for part in parts for c in part.ids.chunks]),
        languages=pa.chunked_array(
            [c for part in parts for c in part.languages.chunks], pa.string()
        ),
        counts=np.concatenate([part.counts for part in parts]),
    )


def batches(split: Split, plan: BatchPlan, *, first: int = 0) -> tf.data.Dataset:
    """Feeds the batches of a plan, as `Batch`es.

    Args:
      split: the rows.
      plan: which of them make up each batch, and its shape.
      first: the batch to begin with.

    Returns:
      A dataset of known cardinality.
    """
    with tf.device("CPU:0"):  # the whole split has no place on a GPU
        tokens = tf.RaggedTensor.from_row_splits(
            tf.constant(split.token_ids), tf.constant(split.row_splits), validate=False
        )
        labels = tf.constant(split.labels)
        rows = tf.constant(plan.rows)

    def gather(start, end, shape):
        batch = rows[start:end]
        filling = tf.cast(shape[0], tf.int32) - tf.cast(end - start, tf.int32)
        # What fills up is a copy of row 0, and counts nothing.
        chosen = tf.pad(batch, [[0, filling]])
        padded = tf.gather(tokens, chosen).to_tensor(PAD)[:, : shape[1]]
        padded = tf.pad(
            padded,
            [[0, 0], [0, tf.cast(shape[1], tf.int32) - tf.shape(padded)[1]]],
            constant_values=PAD,
        )
        return Batch(padded, tf.gather(labels, chosen), tf.cast(end - start, tf.int32))

    ranges = (plan.starts[first:-1], plan.starts[first + 1 :], plan.shapes[first:])
    return (
        tf.data.Dataset.from_tensor_slices(ranges)
        .map(gather, num_parallel_calls=2, deterministic=True)
        .apply(tf.data.experimental.assert_cardinality(len(plan) - first))
        .prefetch(4)
    )


def _no_rows(labels: LabelRules) -> Split:
    return Split(
        np.zeros(0, np.int32),
        np.zeros(1, np.int64),
        _labels([], labels),
        pa.chunked_array([], pa.large_binary()),
        pa.chunked_array([], pa.string()),
        np.zeros(0, np.int64),
    )


def _labels(parts: Sequence[np.ndarray], labels: LabelRules) -> np.ndarray:
    if labels.type == "multilabel":
        return np.concatenate([np.zeros((0, len(labels.names)), np.float32), *parts])
    return np.concatenate([np.zeros(0, np.int64), *parts]).astype(np.int32)


def _read_shard(path: Path, examples: int, labels: LabelRules) -> Split:
    empty = np.zeros(0, np.int64)
    tokens, lengths, counts = [empty], [empty], [empty]
    found, ids, languages = [], [], []
    try:
        for parsed in _parsed(path, labels):
            tokens.append(parsed["token_ids"].values.numpy())
            lengths.append(parsed["token_ids"].row_lengths().numpy())
            counts.append(parsed["count"].numpy())
            found.append(parsed["label"].numpy())
            ids.extend(parsed["id"].numpy())
            languages.extend(parsed["language"].numpy())
    except tf.errors.NotFoundError:
        raise UserError(
            f"The dataset's manifest lists the shard {path.name!r}, which is not in "
            f"{str(path.parent)!r}. Copy the dataset again, or run prepare again."
        ) from None
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        raise UserError(
            f"The shard {str(path)!r} can't be read ({error.message.splitlines()[0]}). "
            "Copy the dataset again, or run prepare again."
        ) from None
    if len(ids) != examples:
        raise UserError(
            f"The shard {str(path)!r} holds {len(ids)} examples; the manifest says "
            f"{examples}. Copy the dataset again, or run prepare again."
        )
    known = [language.decode("utf-8", "replace") or None for language in languages]
    return Split(
        np.concatenate(tokens).astype(np.int32),
        np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64),
        _labels(found, labels),
        pa.chunked_array([pa.array(ids, pa.large_binary())]),
        pa.chunked_array([shown_languages(pa.array(known, pa.string()))]),
        np.concatenate(counts),
    )


def _parsed(path: Path, labels: LabelRules) -> Iterator[dict[str, Any]]:
    label = tf.io.FixedLenFeature([], tf.int64)
    if labels.type == "multilabel":
        label = tf.io.FixedLenFeature([len(labels.names)], tf.float32)
    records = tf.data.TFRecordDataset(str(path), compression_type="GZIP")
    return iter(
        records.batch(_ROWS_PER_PARSE).map(
            lambda rows: tf.io.parse_example(rows, _FEATURES | {"label": label})
        )
    )


def _check_counts(split, dataset, name, described, label_names) -> None:
    found = {"examples": len(split), "tokens": len(split.token_ids)}
    found |= {
        f"examples of {label!r}": _examples_of(split.labels, index)
        for index, label in enumerate(label_names)
    }
    expected = {"examples": described["examples"], "tokens": described["tokens"]}
    expected |= {
        f"examples of {label!r}": described["labels"].get(label, 0)
        for label in label_names
    }
    for what, count in expected.items():
        if found[what] != count:
            raise UserError(
                f"The {name} split of {str(dataset)!r} holds {found[what]} {what}; its "
                f"manifest says {count}. Copy the dataset again, or run prepare again."
            )
    if len(split) and split.lengths.min() < 2:
        raise UserError(
            f"The {name} split of {str(dataset)!r} has an example without the tokens "
            "<s> and </s>. Run prepare again."
        )


def _examples_of(labels: np.ndarray, index: int) -> int:
    if labels.ndim == 2:
        return int(labels[:, index].sum())
    return int((labels == index).sum())
