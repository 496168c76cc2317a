"""Tells a model which texts it was trained on, so that none of them judges it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.model_directory import ModelDirectory
from reviewbeam.components.common.text_hashes import (
    TRAINING_TEXTS,
    VALIDATION_TEXTS,
    known_texts,
    text_hashes,
    write_hashes,
)
from reviewbeam.components.trainer.dataset import Dataset

_ROWS_PER_PARSE = 1024
_TEXT = {"text": tf.io.FixedLenFeature([], tf.string)}


def write_texts_seen(
    directory: Path, data: Dataset, initial: ModelDirectory | None
) -> None:
    """Writes the hashes of the texts that a model learned from and was chosen by.

    The texts that the earlier model saw count as seen by the new one, which began
    with its weights.

    Args:
      directory: of the model.
      data: what it was trained on.
      initial: the model that was begun with.

    Raises:
      UserError: an example has no text, or the earlier model doesn't tell its own.
    """
    trained = [_hashes(data.path, data.splits["train"])]
    if data.augmented:
        trained.append(_hashes(data.path, data.augmented))
    validated = [_hashes(data.path, data.splits["validation"])]
    if initial is not None:
        for own, earlier in zip(
            (trained, validated), known_texts(initial.path), strict=True
        ):
            own.append(earlier)
    write_hashes(directory / TRAINING_TEXTS, np.concatenate(trained))
    write_hashes(directory / VALIDATION_TEXTS, np.concatenate(validated))


def _hashes(dataset: Path, described: Mapping[str, Any]) -> np.ndarray:
    found = [np.zeros(0, np.uint64)]
    try:
        for shard in described["shards"]:
            path = str(dataset / shard["name"])
            records = tf.data.TFRecordDataset(path, compression_type="GZIP")
            for batch in records.batch(_ROWS_PER_PARSE):
                texts = tf.io.parse_example(batch, _TEXT)["text"].numpy()
                found.append(text_hashes(text.decode() for text in texts))
    except tf.errors.InvalidArgumentError:
        raise UserError(
            f"The dataset {str(dataset)!r} has an example without its text. Run "
            "prepare again."
        ) from None
    return np.concatenate(found)
