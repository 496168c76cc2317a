"""Reads a split of a dataset into memory and feeds it in batches of one length.

A split is held as flat arrays, at 4 bytes a token and about 40 bytes a row besides
its id: a million reviews of 40 tokens take some 200 MB. TensorFlow cuts a batch out
of them in C++, so that Python sees one call a batch.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.trainer.batches import BatchPlan

PAD = 1  # XLM-R's <pad>; no text has it
_ROWS_PER_PARSE = 1024
_FEATURES = {
    "token_ids": tf.io.RaggedFeature(tf.int64),
    "label": tf.io.FixedLenFeature([], tf.int64),
    "id": tf.io.FixedLenFeature([], tf.string),
}


@dataclasses.dataclass(frozen=True)
class Split:
    """All examples of a split.

    Attributes:
      token_ids: int32 [tokens]; the rows one after the other, not padded.
      row_splits: int64 [rows + 1]; row i is `token_ids[row_splits[i]:row_splits[i+1]]`.
      labels: int32 [rows].
      ids: large_binary [rows].
    """

    token_ids: np.ndarray
    row_splits: np.ndarray
    labels: np.ndarray
    ids: pa.ChunkedArray

    def __len__(self):
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, int64 [rows]."""
        return np.diff(self.row_splits)

    def example_ids(self, rows: np.ndarray) -> list[str]:
        """Returns the ids of some rows, for a message."""
        return [
            self.ids[int(row)].as_py().decode("utf-8", "backslashreplace")
            for row in rows
        ]


def read_split(
    dataset: Path, name: str, described: Mapping[str, Any], label_names: Sequence[str]
) -> Split:
    """Reads the shards of a split and holds them against the manifest.

    Args:
      dataset: the dataset's directory.
      name: of the split.
      described: what the manifest says of the split.
      label_names: the classes, in the order of the label indices.

    Raises:
      UserError: a shard is missing, can't be read, or isn't what the manifest says.
    """
    parts = [
        _read_shard(dataset / shard["name"], shard["examples"])
        for shard in described["shards"]
    ]
    lengths = np.concatenate([part[1] for part in parts] or [np.zeros(0, np.int64)])
    split = Split(
        token_ids=np.concatenate(
            [part[0] for part in parts] or [np.zeros(0, np.int32)]
        ),
        row_splits=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=np.concatenate([part[2] for part in parts] or [np.zeros(0, np.int32)]),
        ids=pa.chunked_array([part[3] for part in parts], pa.large_binary()),
    )
    _check_counts(split, dataset, name, described, label_names)
    return split


def join(first: Split, second: Split) -> Split:
    """Returns the rows of a split and, behind them, those of another."""
    return Split(
        token_ids=np.concatenate([first.token_ids, second.token_ids]),
        row_splits=np.concatenate(
            [first.row_splits, first.row_splits[-1] + second.row_splits[1:]]
        ),
        labels=np.concatenate([first.labels, second.labels]),
        ids=pa.chunked_array(first.ids.chunks + second.ids.chunks, pa.large_binary()),
    )


def batches(split: Split, plan: BatchPlan) -> tf.data.Dataset:
    """Feeds the batches of a plan.

    Args:
      split: the rows.
      plan: which of them make up each batch.

    Returns:
      A dataset of known cardinality: token_ids int32 [rows, longest], padded, and
      labels int32 [rows].
    """
    with tf.device("CPU:0"):  # the whole split has no place on a GPU
        tokens = tf.RaggedTensor.from_row_splits(
            tf.constant(split.token_ids), tf.constant(split.row_splits), validate=False
        )
        labels = tf.constant(split.labels)
        rows = tf.constant(plan.rows)

    def gather(start, end):
        batch = rows[start:end]
        return (
            tf.gather(tokens, batch).to_tensor(PAD),
            tf.gather(labels, batch),
        )

    ranges = (plan.starts[:-1], plan.starts[1:])
    return (
        tf.data.Dataset.from_tensor_slices(ranges)
        .map(gather, num_parallel_calls=2, deterministic=True)
        .apply(tf.data.experimental.assert_cardinality(len(plan)))
        .prefetch(4)
    )


def _read_shard(path: Path, examples: int):
    """Returns token_ids, lengths, labels and ids of one shard."""
    empty = np.zeros(0, np.int64)
    tokens, lengths, labels, ids = [empty], [empty], [empty], []
    try:
        for parsed in _parsed(path):
            tokens.append(parsed["token_ids"].values.numpy())
            lengths.append(parsed["token_ids"].row_lengths().numpy())
            labels.append(parsed["label"].numpy())
            ids.extend(parsed["id"].numpy())
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
    return (
        np.concatenate(tokens).astype(np.int32),
        np.concatenate(lengths),
        np.concatenate(labels).astype(np.int32),
        pa.array(ids, pa.large_binary()),
    )


def _parsed(path: Path) -> Iterator[dict[str, Any]]:
    records = tf.data.TFRecordDataset(str(path), compression_type="GZIP")
    return iter(
        records.batch(_ROWS_PER_PARSE).map(
            lambda examples: tf.io.parse_example(examples, _FEATURES)
        )
    )


def _check_counts(split, dataset, name, described, label_names) -> None:
    found = {"examples": len(split), "tokens": len(split.token_ids)}
    found |= {
        f"examples of {label!r}": int((split.labels == index).sum())
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
