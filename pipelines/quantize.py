"""`quantize`: an int8 twin of a model for OpenVINO, measured before it is used."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from reviewbeam.components.common import artifacts, publishing
from reviewbeam.components.common.columns import concat_batches
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.model_directory import ModelDirectory, open_model
from reviewbeam.components.examples.encode import decode_examples
from reviewbeam.components.examples.shards import read_shard
from reviewbeam.components.inference import quantized
from reviewbeam.components.inference.faults import infer_rows
from reviewbeam.components.inference.openvino_engine import OpenVinoEngine
from reviewbeam.components.inference.openvino_library import import_openvino
from reviewbeam.components.inference.quantize import (
    GROUP_SIZE,
    agreement,
    write_quantized,
)
from reviewbeam.components.inference.safe_saved_model import check_saved_model
from reviewbeam.pipelines.evaluated_splits import check_fit, checked_shards

_LIBRARIES = ("openvino", "nncf")
_SPLIT = "validation"
_COMPARED_ROWS = 3000
_BATCH_TOKENS = 1024
_SEED = 0


def quantize(
    model: Path, dataset: Path, *, overwrite: bool = False
) -> tuple[dict[str, Any], bool]:
    """Writes `openvino-int8/` beside a model's core.

    Compared with the exact model on rows of the dataset's validation split. The core
    and its manifest stay as they are.

    Returns:
      The manifest, and whether the files were made now rather than found.

    Raises:
      UserError: the dataset is a gold set, OpenVINO or NNCF is not installed, the
        processor has no VNNI, or model and dataset don't fit.
      BusyError: another run does the same.
    """
    manifest = artifacts.read_manifest(dataset, "dataset")
    if manifest.get("gold"):
        raise UserError(
            f"The dataset {str(dataset)!r} is a gold set (gold: true in its config), "
            "which models are only evaluated on. Quantize with the dataset that the "
            "model was trained on."
        )
    for name in _LIBRARIES:
        import_openvino(name)
    quantized.check_processor()
    directory = open_model(os.fspath(model))
    check_saved_model(directory.saved_model, len(directory.metadata.labels.names))
    check_fit(directory.metadata, manifest, _SPLIT)
    identity = _identity(directory, manifest)
    output = model / quantized.FOLDER
    if publishing.is_done(output, quantized.KIND, identity, overwrite=overwrite):
        return quantized.open_quantized(model, directory.core_fingerprint)[1], False
    compared = _rows(directory, dataset, manifest)
    with publishing.staged_output(output, "quantize", overwrite=overwrite) as staging:
        exact = _probabilities(directory, directory.saved_model, compared)
        write_quantized(directory.saved_model, staging)
        path = os.fspath(staging / quantized.INT8_MODEL)
        found = _probabilities(directory, path, compared)
        publishing.add_to_run_record(
            staging, model=str(model.absolute()), dataset=str(dataset.absolute())
        )
        made = artifacts.write_manifest(
            staging,
            quantized.KIND,
            identity,
            files=[quantized.INT8_MODEL, quantized.INT8_CONSTANTS],
            model=directory.core_fingerprint,
            dataset=manifest["fingerprint"],
            group_size=GROUP_SIZE,
            agreement=_compare(directory, exact, found, compared),
            versions={name: import_openvino(name).__version__ for name in _LIBRARIES},
        )
    return made, True


def _identity(model: ModelDirectory, manifest: dict[str, Any]) -> str:
    return artifacts.fingerprint(
        {
            "job": "quantize",
            "format": artifacts.FORMAT,
            "model": model.core_fingerprint,
            "dataset": manifest["fingerprint"],
            "recipe": ["int8_asym", GROUP_SIZE],
        }
    )


def _rows(
    model: ModelDirectory, dataset: Path, manifest: dict[str, Any]
) -> pa.RecordBatch:
    """Draws the rows to compare, by a seed."""
    multilabel = model.metadata.labels.type == "multilabel"
    shards = checked_shards(dataset, manifest, _SPLIT)
    batches = [
        decode_examples(read_shard(os.fspath(dataset / name)), multilabel=multilabel)
        for name in shards
    ]
    rows = concat_batches(batches, batches[0].schema)
    order = np.random.default_rng(_SEED).permutation(rows.num_rows)
    return rows.take(pa.array(np.sort(order[:_COMPARED_ROWS])))


def _probabilities(
    model: ModelDirectory, path: str, rows: pa.RecordBatch
) -> np.ndarray:
    """Returns what OpenVINO gives for a model's files, float32 [rows, classes]."""
    engine = OpenVinoEngine(path, threads=len(os.sched_getaffinity(0)))
    return infer_rows(
        engine.probabilities,
        *_flat(rows.column("token_ids")),
        classes=len(model.metadata.labels.names),
        kind=model.metadata.labels.type,
        budget=_BATCH_TOKENS,
        max_faults=0,
        concurrency=engine.concurrency,
    ).probabilities


def _compare(
    model: ModelDirectory, exact: np.ndarray, found: np.ndarray, rows: pa.RecordBatch
) -> dict[str, Any]:
    languages = rows.column("language").to_pylist()
    kind, calibration = model.metadata.labels.type, model.metadata.calibration
    return agreement(exact, found, languages, kind, calibration)


def _flat(lists: pa.ListArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns all token ids, where each row begins in them, and its length."""
    offsets = np.asarray(lists.offsets)
    return np.asarray(lists.values), offsets[:-1], np.diff(offsets)
