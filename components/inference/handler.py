"""Runs a SavedModel over record batches of token ids, in Beam or alone."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
from apache_beam.ml.inference.base import ModelHandler

from reviewbeam.components.common.batching import cut_batches
from reviewbeam.components.common.columns import with_columns
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.inference.safe_saved_model import check_saved_model

PAD_ID = 1  # of XLM-R


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A SavedModel; the object keeps its variables alive."""

    saved_model: Any
    signature: Any

    def probabilities(self, token_ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Returns float32 [rows, classes] for int32 [rows, length] inputs."""
        outputs = self.signature(
            token_ids=tf.constant(token_ids), padding_mask=tf.constant(mask)
        )
        return outputs["probabilities"].numpy()


class SavedModelHandler(ModelHandler[pa.RecordBatch, pa.RecordBatch, LoadedModel]):
    """Adds a `probabilities` column to record batches with `token_ids`.

    One element is a whole chunk of reviews. The handler batches it by length under
    a token budget and gives the rows back in their order, so that Beam's own
    batching, which knows no lengths, is set to one element a call.
    """

    def __init__(self, saved_model: str, *, classes: int, batch_tokens: int):
        """Remembers where the model is; workers load it.

        Args:
          saved_model: directory with the signature `serving_default`.
          classes: how many labels the model's metadata names.
          batch_tokens: rows x longest row of one call of the model, at most.
        """
        super().__init__()
        self._saved_model = saved_model
        self._classes = classes
        self._batch_tokens = batch_tokens

    def load_model(self) -> LoadedModel:
        """Looks through the SavedModel and loads it; called once per process.

        Raises:
          UserError: it is damaged, doesn't fit the labels, or could run code.
        """
        check_saved_model(self._saved_model, self._classes)
        try:
            loaded = tf.saved_model.load(self._saved_model)
            return LoadedModel(loaded, loaded.signatures["serving_default"])
        except (
            AssertionError,
            AttributeError,
            KeyError,
            IndexError,
            OSError,
            TypeError,
            ValueError,
            tf.errors.OpError,
        ) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(
                f"TensorFlow {tf.__version__} can't open {self._saved_model}: "
                f"{reason[:300]}. Copy the model again."
            ) from error

    def run_inference(
        self,
        batch: Sequence[pa.RecordBatch],
        model: LoadedModel,
        inference_args: dict[str, Any] | None = None,
    ) -> list[pa.RecordBatch]:
        """Returns each record batch with its probabilities at the end."""
        return [self._infer(chunk, model) for chunk in batch]

    def batch_elements_kwargs(self) -> dict[str, int]:
        """Tells Beam to hand over one chunk at a time."""
        return {"min_batch_size": 1, "max_batch_size": 1}

    def get_num_bytes(self, batch: Sequence[pa.RecordBatch]) -> int:
        """Returns the size of the chunks; Beam would pickle them to know."""
        return sum(chunk.nbytes for chunk in batch)

    def get_metrics_namespace(self) -> str:
        """Names the counters of this handler."""
        return "reviewbeam"

    def _infer(self, chunk: pa.RecordBatch, model: LoadedModel) -> pa.RecordBatch:
        token_ids = chunk.column("token_ids")
        offsets = np.asarray(token_ids.offsets)
        ids = np.asarray(token_ids.values).astype(np.int32, copy=False)
        lengths = np.diff(offsets)
        rows = np.empty((len(lengths), self._classes), np.float32)
        for indices in cut_batches(lengths, self._batch_tokens):
            padded, mask = pad(ids, offsets[indices], lengths[indices])
            probabilities = model.probabilities(padded, mask)
            if probabilities.shape != (len(indices), self._classes):
                raise UserError(
                    f"{self._saved_model} gave probabilities of the shape "
                    f"{list(probabilities.shape)} for {len(indices)} texts, and the "
                    f"model's metadata names {self._classes} labels. Use a model from "
                    "where you trust it."
                )
            rows[indices] = probabilities
        return with_columns(chunk, probabilities=_as_lists(rows))


def pad(
    ids: np.ndarray, starts: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gathers runs of ids into a rectangle.

    Args:
      ids: all token ids, int32 [tokens].
      starts: where each row begins in them.
      lengths: tokens of each row.

    Returns:
      `token_ids` and `padding_mask`, int32 [rows, longest].
    """
    columns = np.arange(lengths.max(initial=0))
    mask = columns < lengths[:, None]
    places = np.where(mask, starts[:, None] + columns, 0)
    return np.where(mask, ids[places], PAD_ID).astype(np.int32), mask.astype(np.int32)


def _as_lists(rows: np.ndarray) -> pa.ListArray:
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.ravel()))
