"""Writes a trained classifier as the model directory that the other jobs read."""

import gc
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from reviewbeam.components.common.errors import ReviewbeamError
from reviewbeam.components.common.model_directory import (
    HUGGING_FACE,
    KERAS_FILE,
    SAVED_MODEL,
)
from reviewbeam.components.trainer.batches import plan_in_order_of_length
from reviewbeam.components.trainer.input import PAD, Split
from reviewbeam.components.trainer.model import PADDING_MASK, TOKEN_IDS
from reviewbeam.components.trainer.safe_keras import load_keras_model

TOLERANCE = 1e-5  # between the probabilities of two forms of one model
_COMPARED_ROWS = 500
_COMPARED_TOKENS = 65_536  # for long texts: a minute on two cores for 12 layers of 384
_BATCH_TOKENS = 2048


class ServingModule(tf.Module):
    """The raw variables and one function.

    `keras.Model.export` would track, and so write, every weight twice.
    """

    def __init__(self, classifier: keras.Model):
        super().__init__(name="review_classifier")
        self.weights = [variable.value for variable in classifier.weights]

        # One argument that is a dict: so `keras.layers.TFSMLayer` can call it. The
        # signature of the SavedModel has the two tensors by their names.
        @tf.function(
            input_signature=[
                {
                    name: tf.TensorSpec([None, None], tf.int32, name)
                    for name in (TOKEN_IDS, PADDING_MASK)
                }
            ]
        )
        def serve(inputs):
            return {"probabilities": classifier(inputs, training=False)}

        self.serve = serve


def export_model(classifier: keras.Model, directory: Path) -> None:
    """Writes the SavedModel and the Keras file of a plain, compiled classifier."""
    module = ServingModule(classifier)
    tf.saved_model.save(
        module,
        str(directory / SAVED_MODEL),
        signatures={"serving_default": module.serve},
    )
    classifier.save(directory / KERAS_FILE)


def compare_exports(
    directory: Path,
    split: Split,
    seed: int,
    *,
    single_label: bool = True,
    custom_objects: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Runs the written files on the same reviews, as a new process would open them.

    The SavedModel and the Keras file always, the Hugging Face directory if it was
    written and PyTorch is installed.

    Args:
      directory: where they lie.
      split: some of its rows are used.
      seed: of the choice of rows.
      single_label: a review has one label, so that its probabilities sum to 1.
      custom_objects: the user's own that the Keras file needs.

    Returns:
      For the record of the run: compared_reviews, largest_export_difference (of a
      probability), hf_compared and largest_hf_difference (or None).

    Raises:
      ReviewbeamError: they don't agree within 1e-5, or give no probabilities.
    """
    sample = _sample(split, seed)
    # One after the other, so that only one of them is in memory.
    served = _predict(_saved_model(directory), sample)
    gc.collect()
    _check_probabilities(served, single_label)
    kept = _predict(_keras_model(directory, custom_objects), sample)
    gc.collect()
    difference = _check_equal(served, kept, KERAS_FILE)
    hf_difference = None
    if (directory / HUGGING_FACE).is_dir() and importlib.util.find_spec("torch"):
        opened = _predict(_hugging_face(directory, single_label), sample)
        hf_difference = _check_equal(served, opened, f"{HUGGING_FACE}/")
    return {
        "compared_reviews": len(served),
        "largest_export_difference": difference,
        "hf_compared": hf_difference is not None,
        "largest_hf_difference": hf_difference,
    }


def _check_probabilities(probabilities: np.ndarray, single_label: bool) -> None:
    sums = probabilities.sum(axis=1) if single_label else np.ones(len(probabilities))
    away = float(np.abs(sums - 1).max())
    # Not "greater than": a NaN must not pass.
    if not (
        away <= TOLERANCE and probabilities.min() >= 0 and probabilities.max() <= 1
    ):
        raise ReviewbeamError(
            f"The SavedModel gives values from {probabilities.min():.2g} to "
            f"{probabilities.max():.2g} that sum to 1 within {away:.2g}, on "
            f"{len(probabilities)} reviews: they are no probabilities. The model was "
            "not published."
        )


def _check_equal(served: np.ndarray, other: np.ndarray, name: str) -> float:
    difference = float(np.abs(served - other).max())
    if not difference <= TOLERANCE:
        raise ReviewbeamError(
            f"The SavedModel and {name} give probabilities that differ by up to "
            f"{difference:.2g}, on {len(served)} reviews; {TOLERANCE:g} is allowed. "
            "The model was not published."
        )
    return difference


def _sample(split: Split, seed: int) -> list[np.ndarray]:
    """Chooses rows at random; returns batches, int32 [rows, longest], padded."""
    rows = np.random.default_rng(seed).permutation(len(split))[:_COMPARED_ROWS]
    tokens = np.cumsum(split.lengths[rows])
    rows = rows[: max(1, int(np.searchsorted(tokens, _COMPARED_TOKENS, side="right")))]
    lengths = split.lengths[rows]
    plan = plan_in_order_of_length(lengths, _BATCH_TOKENS)
    sample = []
    for index in range(len(plan)):
        batch = plan.batch(index)
        padded = np.full((len(batch), lengths[batch].max()), PAD, np.int32)
        for line, row in zip(padded, rows[batch], strict=True):
            ids = split.token_ids[split.row_splits[row] : split.row_splits[row + 1]]
            line[: len(ids)] = ids
        sample.append(padded)
    return sample


def _predict(function: Callable, sample: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(
        [function(ids, (ids != PAD).astype(np.int32)) for ids in sample]
    )


def _saved_model(directory: Path) -> Callable:
    loaded = tf.saved_model.load(str(directory / SAVED_MODEL))
    signature = loaded.signatures["serving_default"]

    def predict(token_ids, padding_mask):
        # `loaded` is named so that its variables live as long as the function.
        assert loaded is not None
        outputs = signature(
            token_ids=tf.constant(token_ids), padding_mask=tf.constant(padding_mask)
        )
        return outputs["probabilities"].numpy()

    return predict


def _keras_model(directory: Path, custom_objects: dict[str, Any] | None) -> Callable:
    model = load_keras_model(directory / KERAS_FILE, custom_objects=custom_objects)

    def predict(token_ids, padding_mask):
        inputs = {TOKEN_IDS: token_ids, PADDING_MASK: padding_mask}
        return model.predict_on_batch(inputs)

    return predict


def _hugging_face(directory: Path, single_label: bool) -> Callable:
    import torch
    from transformers import XLMRobertaForSequenceClassification

    model = XLMRobertaForSequenceClassification.from_pretrained(
        directory / HUGGING_FACE, local_files_only=True, use_safetensors=True
    ).eval()

    def predict(token_ids, padding_mask):
        with torch.no_grad():
            logits = model(
                input_ids=torch.tensor(token_ids, dtype=torch.long),
                attention_mask=torch.tensor(padding_mask),
            ).logits
        return (logits.softmax(-1) if single_label else logits.sigmoid()).numpy()

    return predict
