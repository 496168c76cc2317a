"""Writes model directories that need no training: a formula in a SavedModel."""

import json
import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf

from reviewbeam.components.common.artifacts import write_json
from reviewbeam.components.common.model_directory import (
    KERAS_FILE,
    METADATA,
    SAVED_MODEL,
    VOCABULARY,
    ModelMetadata,
    write_model_manifest,
)


def formula(token_ids, classes):
    """Logits of a text: whole numbers, so that no order of adding changes them.

    Args:
      token_ids: of its real tokens.
      classes: how many.
    """
    ids = np.asarray(token_ids)
    return np.array([((ids * (c + 3)) % 11 - 5).sum() % 9 - 4 for c in range(classes)])


class _Formula(tf.Module):
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
        each = (token_ids[:, :, None] * self._factors) % 11 - 5
        total = tf.reduce_sum(each * padding_mask[:, :, None], axis=1)
        values = tf.cast(total % 9 - 4, tf.float32)
        return {"probabilities": self._to_probabilities(values)}


def write_model(directory: Path, dataset: Path, encoder: Path, calibration) -> Path:
    """Writes a model directory for the labels and text rules of a dataset."""
    told = json.loads((dataset / "manifest.json").read_text())
    labels = told["labels"]
    module = _Formula(len(labels["names"]), labels["type"])
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
            "calibration": calibration,
            "training_statistics": {},
            "versions": {},
        }
    )
    write_json(directory / METADATA, metadata.model_dump(mode="json"))
    (directory / KERAS_FILE).write_bytes(b"none: these jobs don't open it")
    write_model_manifest(directory, "m", metadata.core_fingerprint())
    return directory
