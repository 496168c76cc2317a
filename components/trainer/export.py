"""Writes a trained classifier as the model directory that the other jobs read."""

import dataclasses
import gc
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from reviewbeam.components.common.errors import ReviewbeamError
from reviewbeam.components.common.model_directory import KERAS_FILE, SAVED_MODEL
from reviewbeam.components.trainer.batches import plan_in_order_of_length
from reviewbeam.components.trainer.input import PAD, Split, batches
from reviewbeam.components.trainer.model import PADDING_MASK, TOKEN_IDS

TOLERANCE = 1e-5  # between the probabilities of two forms of one model
_COMPARED_ROWS = 300
_COMPARED_TOKENS = 16_384  # some 10 s on two cores for 12 layers of 384
_BATCH_TOKENS = 2048
_INPUT = tf.TensorSpec([None, None], tf.int32)


class ServingModule(tf.Module):
    """The raw variables and one function.

    `keras.Model.export` would track, and so write, every weight twice.
    """

    def __init__(self, classifier: keras.Model):
        super().__init__(name="review_classifier")
        self.weights = [variable.value for variable in classifier.weights]

        @tf.function(
            input_signature=[
                tf.TensorSpec(_INPUT.shape, _INPUT.dtype, TOKEN_IDS),
                tf.TensorSpec(_INPUT.shape, _INPUT.dtype, PADDING_MASK),
            ]
        )
        def serve(token_ids, padding_mask):
            inputs = {TOKEN_IDS: token_ids, PADDING_MASK: padding_mask}
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


def compare_exports(directory: Path, split: Split, seed: int) -> float:
    """Runs both files on the same reviews, as a new process would open them.

    Args:
      directory: where they lie.
      split: some of its rows are used.
      seed: of the choice of rows.

    Returns:
      The largest difference of a probability.

    Raises:
      ReviewbeamError: they don't agree within 1e-5, or give no probabilities.
    """
    rows = np.random.default_rng(seed).permutation(len(split))[:_COMPARED_ROWS]
    tokens = np.cumsum(split.lengths[rows])
    rows = rows[: max(1, int(np.searchsorted(tokens, _COMPARED_TOKENS, side="right")))]
    sample = _sample(split, np.sort(rows))
    # One after the other, so that only one of them is in memory.
    served = _predict(_saved_model(directory), sample)
    gc.collect()
    kept = _predict(_keras_model(directory), sample)
    gc.collect()
    difference = float(np.abs(served - kept).max())
    sums = float(np.abs(served.sum(axis=1) - 1).max())
    # Not "greater than": a NaN must not pass.
    if not (difference <= TOLERANCE and sums <= TOLERANCE):
        raise ReviewbeamError(
            f"The SavedModel and {KERAS_FILE} give probabilities that differ by up to "
            f"{difference:.2g} and sum to 1 within {sums:.2g}, on {len(served)} "
            f"reviews; {TOLERANCE:g} is allowed. The model was not published."
        )
    return difference


def _sample(split: Split, rows: np.ndarray) -> list[np.ndarray]:
    lengths = split.lengths[rows]
    plan = plan_in_order_of_length(lengths, _BATCH_TOKENS)
    chosen = [
        split.token_ids[split.row_splits[row] : split.row_splits[row + 1]]
        for row in rows
    ]
    sample = dataclasses.replace(
        split,
        token_ids=np.concatenate(chosen),
        row_splits=np.concatenate([[0], np.cumsum(lengths)]),
        labels=split.labels[rows],
    )
    return [batch.token_ids.numpy() for batch in batches(sample, plan)]


def _predict(function, sample) -> np.ndarray:
    return np.concatenate(
        [function(ids, (ids != PAD).astype(np.int32)) for ids in sample]
    )


def _saved_model(directory: Path):
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


def _keras_model(directory: Path):
    model = keras.models.load_model(directory / KERAS_FILE)

    def predict(token_ids, padding_mask):
        inputs = {TOKEN_IDS: token_ids, PADDING_MASK: padding_mask}
        return model.predict_on_batch(inputs)

    return predict
