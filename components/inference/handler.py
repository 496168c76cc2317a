"""Runs a model over record batches of token ids, in Beam or alone."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from apache_beam.ml.inference.base import ModelHandler

from reviewbeam.components.common.columns import with_columns
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.gpus import visible_gpus
from reviewbeam.components.common.host_copies import on_every_host
from reviewbeam.components.common.model_directory import ModelDirectory
from reviewbeam.components.common.progress import ProgressFile
from reviewbeam.components.inference.devices import claim_gpu
from reviewbeam.components.inference.engines import TENSORFLOW, Engine, load_engine
from reviewbeam.components.inference.faults import Outcome, infer_rows
from reviewbeam.components.inference.resolve import ResolvedInference


@dataclasses.dataclass(frozen=True)
class Inferred:
    """A chunk behind the model, and what that took."""

    # As it came, with `probabilities` (list<float32>) and `fault` (string) at its
    # end: one of them is null, the fault where the model gave probabilities.
    batch: pa.RecordBatch
    calls: int  # of the model
    tokens: int  # real tokens of these calls
    padded_tokens: int  # rows x longest row of these calls
    halved: int  # batches that did not fit into memory


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """What a process keeps: the engine, and how many rows it inferred."""

    engine: Engine
    progress: ProgressFile | None = None


class ClassifierHandler(ModelHandler[pa.RecordBatch, Inferred, LoadedModel]):
    """Infers the probabilities of record batches with `token_ids`.

    One element is a whole chunk of reviews. The handler batches it by length under
    a token budget and gives the rows back in their order, so that Beam's own
    batching, which knows no lengths, is set to one element a call.
    """

    def __init__(
        self,
        model: ModelDirectory,
        resolved: ResolvedInference,
        classes: int,
        kind: str,
        max_faults: int,
        *,
        progress_folder: str | None = None,
        devices_folder: str | None = None,
    ):
        """Remembers where the model is; workers load it.

        Args:
          model: the model directory.
          resolved: engine, budget and threads.
          classes: how many labels the model's metadata names.
          kind: the type of the labels.
          max_faults: rows of one chunk that may fail one by one.
          progress_folder: where each process tells how many rows it has inferred.
          devices_folder: where several worker processes tell which GPU they took;
            None: every process may use all GPUs.
        """
        super().__init__()
        self._path = on_every_host(model.path)
        self._core_fingerprint = model.core_fingerprint
        self._resolved = resolved
        self._classes = classes
        self._kind = kind
        self._max_faults = max_faults
        self._progress_folder = progress_folder
        self._devices_folder = devices_folder

    def load_model(self) -> LoadedModel:
        """Looks through the model's files and loads them; called once per process.

        Raises:
          UserError: they are damaged, don't fit the labels, or could run code; or
            the engine is not installed.
        """
        if self._devices_folder is not None and self._resolved.engine == TENSORFLOW:
            gpus = visible_gpus()
            if gpus:
                claim_gpu(self._devices_folder, gpus)
        engine = load_engine(
            self._resolved.engine,
            Path(self._path.here()),
            core_fingerprint=self._core_fingerprint,
            classes=self._classes,
            threads=self._resolved.threads,
            xla=self._resolved.xla,
            engine_fingerprint=self._resolved.engine_fingerprint,
        )
        folder = self._progress_folder
        return LoadedModel(engine, ProgressFile(folder) if folder else None)

    def run_inference(
        self,
        batch: Sequence[pa.RecordBatch],
        model: LoadedModel,
        inference_args: dict[str, Any] | None = None,
    ) -> list[Inferred]:
        """Returns each record batch with its probabilities or faults.

        Raises:
          ReviewbeamError: more than `max_faults` rows of one batch failed.
          UserError: the model gives another shape than the metadata says.
        """
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

    def _infer(self, chunk: pa.RecordBatch, model: LoadedModel) -> Inferred:
        token_ids = chunk.column("token_ids")
        offsets = np.asarray(token_ids.offsets)
        progress = model.progress
        report: dict[str, Callable[[int], None]] = (
            {"on_rows": progress.add} if progress else {}
        )
        outcome = infer_rows(
            lambda ids, mask: self._probabilities(model.engine, ids, mask),
            np.asarray(token_ids.values).astype(np.int32, copy=False),
            offsets[:-1],
            np.diff(offsets),
            classes=self._classes,
            kind=self._kind,
            budget=self._resolved.batch_tokens,
            max_faults=self._max_faults,
            concurrency=model.engine.concurrency,
            **report,
        )
        if progress:
            progress.flush()
        return Inferred(
            with_columns(
                chunk,
                probabilities=_as_lists(outcome),
                fault=pa.array(outcome.faults, pa.string()),
            ),
            outcome.calls,
            outcome.tokens,
            outcome.padded_tokens,
            outcome.halved,
        )

    def _probabilities(
        self, engine: Engine, token_ids: np.ndarray, mask: np.ndarray
    ) -> np.ndarray:
        values = engine.probabilities(token_ids, mask)
        if values.shape != (len(token_ids), self._classes):
            raise UserError(
                f"{self._path.here()} gave probabilities of the shape "
                f"{list(values.shape)} for {len(token_ids)} texts, and the model's "
                f"metadata names {self._classes} labels. Use a model from where you "
                "trust it."
            )
        return values


def _as_lists(outcome: Outcome) -> pa.ListArray:
    """Probabilities of each row; a fault has none."""
    fine = np.array([fault is None for fault in outcome.faults], bool)
    values = outcome.probabilities[fine]
    ends = np.cumsum(fine) * outcome.probabilities.shape[1]
    offsets = np.append(0, ends).astype(np.int32)
    # A null offset marks a null list.
    starts = pa.array(offsets, mask=np.append(~fine, False))
    return pa.ListArray.from_arrays(starts, pa.array(values.ravel()))
