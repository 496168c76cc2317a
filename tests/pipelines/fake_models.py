"""Writes model directories that need no training: a formula in a SavedModel."""

import json
import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf

from reviewbeam.components.common.artifacts import file_sha256, write_json
from reviewbeam.components.common.model_directory import (
    KERAS_FILE,
    METADATA,
    SAVED_MODEL,
    VOCABULARY,
    ModelMetadata,
    write_model_manifest,
)
from reviewbeam.components.common.text_hashes import (
    TRAINING_TEXTS,
    VALIDATION_TEXTS,
    text_hashes,
    write_hashes,
)


def formula(token_ids, classes):
    """Logits of a text: whole numbers, so that no order of adding changes them.

    Args:
      token_ids: of its real tokens.
      classes: how many.
    """
    ids = np.asarray(token_ids)
    return np.array([((ids * (c + 3)) % 11 - 5).sum() % 9 - 4 for c in range(classes)])


class Formula(tf.Module):
    """A model whose answers are `formula`'s."""

    def __init__(self, classes, kind):
        super().__init__()
        self._factors = tf.Variable([c + 3 for c in range(classes)])
        self._to_probabilities = tf.sigmoid if kind == "multilabel" else tf.nn.softmax

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.int32, "token_ids"),
            tf.TensorSpec([None, None], tf.int32, "padding_mask"),
        ]
    )
    def serve(self, token_ids, padding_mask):
        return {"probabilities": self.answer(token_ids, padding_mask)}

    def answer(self, token_ids, padding_mask):
        """Returns float32 [rows, classes]."""
        each = (token_ids[:, :, None] * self._factors) % 11 - 5
        total = tf.reduce_sum(each * padding_mask[:, :, None], axis=1)
        values = tf.cast(total % 9 - 4, tf.float32)
        return self._to_probabilities(values)


class Oracle(tf.Module):
    """Answers each text that it was told, and 0 to any other.

    Args:
      answers: token ids of a text -> its class.
      classes: how many.
    """

    _SIZE = 2**20

    def __init__(self, answers: dict[tuple[int, ...], int], classes: int = 3):
        super().__init__()
        table = np.zeros(self._SIZE, np.int32)
        for ids, answer in answers.items():
            places = np.arange(len(ids)) * 7 + 1
            table[(np.array(ids) * places).sum() % self._SIZE] = answer
        self._table = tf.Variable(table)
        self._classes = classes

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.int32, "token_ids"),
            tf.TensorSpec([None, None], tf.int32, "padding_mask"),
        ]
    )
    def serve(self, token_ids, padding_mask):
        places = tf.range(tf.shape(token_ids)[1]) * 7 + 1
        total = tf.reduce_sum(token_ids * padding_mask * places, axis=1)
        answer = tf.gather(self._table, total % self._SIZE)
        return {"probabilities": tf.one_hot(answer, self._classes) * 0.7 + 0.1}


def told_by(encoder: Path, labels=("negative", "neutral", "positive")) -> dict:
    """What a dataset's manifest says that a model must fit, of no dataset."""
    return {
        "labels": {"type": "multiclass", "names": list(labels)},
        "text": {},
        "split": {},
        "language_detector": None,
        "vocabulary_sha256": file_sha256(encoder / "sentencepiece.bpe.model"),
        "fingerprint": "d",
    }


def write_model(
    directory: Path,
    dataset: Path | dict,
    encoder: Path,
    calibration=None,
    *,
    module: tf.Module | None = None,
    trained=(),
    validated=(),
) -> Path:
    """Writes a model directory for the labels and text rules of a dataset.

    Args:
      directory: of the model.
      dataset: its directory, or `told_by`.
      encoder: whose vocabulary it has.
      calibration: of the model; None: none.
      module: in place of the formula.
      trained: texts that it was trained on.
      validated: texts that chose its epoch.
    """
    told = dataset
    if isinstance(dataset, Path):
        told = json.loads((dataset / "manifest.json").read_text())
    labels = told["labels"]
    module = module or Formula(len(labels["names"]), labels["type"])
    tf.saved_model.save(
        module,
        str(directory / SAVED_MODEL),
        signatures={"serving_default": module.serve},
    )
    (directory / VOCABULARY).parent.mkdir()
    shutil.copyfile(encoder / "sentencepiece.bpe.model", directory / VOCABULARY)
    metadata = ModelMetadata.model_validate(
        {
            "labels": labels,
            "text": told["text"],
            "split": told["split"],
            "config": {"encoder": str(encoder)},
            "language_detector": told["language_detector"],
            "vocabulary_sha256": told["vocabulary_sha256"],
            "weights_sha256": "w",
            "encoder_fingerprint": "e",
            "dataset_fingerprint": told["fingerprint"],
            "initial_model": None,
            "class_weights": [1.0] * len(labels["names"]),
            "calibration": calibration or {},
            "training_statistics": {},
            "versions": {},
        }
    )
    write_json(directory / METADATA, metadata.model_dump(mode="json"))
    (directory / KERAS_FILE).write_bytes(b"none: these jobs don't open it")
    write_hashes(directory / TRAINING_TEXTS, text_hashes(trained))
    write_hashes(directory / VALIDATION_TEXTS, text_hashes(validated))
    write_model_manifest(directory, "m", metadata.core_fingerprint())
    return directory
