"""`evaluate`: a model's figures on a split of a dataset."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from reviewbeam.components.common import artifacts, publishing
from reviewbeam.components.common.coders import register_record_batch_coder
from reviewbeam.components.common.columns import select_columns, with_columns
from reviewbeam.components.common.errors import ReviewbeamError, UserError
from reviewbeam.components.common.evaluate_config import EvaluateConfig
from reviewbeam.components.common.language_codes import shown_language
from reviewbeam.components.common.model_directory import (
    ModelDirectory,
    ModelMetadata,
    open_model,
)
from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.evaluation.metrics import evaluate_predictions
from reviewbeam.components.evaluation.table import metrics_table
from reviewbeam.components.examples.encode import decode_examples
from reviewbeam.components.examples.shards import read_shard
from reviewbeam.components.inference.decide import with_labels
from reviewbeam.components.inference.handler import ClassifierHandler, Inferred
from reviewbeam.components.inference.resolve import (
    ResolvedInference,
    resolve_inference,
)
from reviewbeam.components.inference.safe_saved_model import check_saved_model
from reviewbeam.pipelines.console import quiet_workers

KIND = "evaluation"
METRICS = "metrics.json"
REPORT = "report.txt"
PREDICTIONS = "predictions"
_COLUMNS = ["id", "language", "true_label", "label", "score", "probabilities"]


def evaluate(
    config: EvaluateConfig,
    model: Path,
    dataset: Path,
    output: Path,
    options: PipelineOptions,
    *,
    overwrite: bool = False,
) -> tuple[dict[str, Any], bool]:
    """Evaluates a model by its SavedModel, through the stage that `score` uses.

    Returns:
      The metrics, and whether they were computed now rather than found.

    Raises:
      UserError: model and dataset don't fit, the split is empty, or the output
        can't be used.
      BusyError: another run writes the same output.
    """
    directory = open_model(os.fspath(model))
    check_saved_model(directory.saved_model, len(directory.metadata.labels.names))
    manifest = artifacts.read_manifest(dataset, "dataset")
    check_fit(directory.metadata, manifest, config.split)
    identity = artifacts.fingerprint(
        {
            "job": "evaluate",
            "format": artifacts.FORMAT,
            "config": config.model_dump(mode="json"),
            "model": directory.core_fingerprint,
            "dataset": manifest["fingerprint"],
        }
    )
    if publishing.is_done(output, KIND, identity, overwrite=overwrite):
        return artifacts.read_json(output / METRICS), False
    with publishing.staged_output(output, "evaluate", overwrite=overwrite) as staging:
        (staging / PREDICTIONS).mkdir()
        shards = [
            shard["name"]
            for shard in manifest["splits"][config.split]["shards"]
            if shard["examples"]
        ]
        files = {name: manifest["files"][name] for name in shards}
        artifacts.check_files(dataset, files, "dataset")
        workers = options.get_all_options().get("direct_num_workers") or 1
        resolved = resolve_inference(config.inference, directory, workers=workers)
        _run_pipeline(config, resolved, directory, dataset, shards, staging, options)
        metrics = _metrics(directory.metadata, staging, manifest, config.split)
        artifacts.write_json(staging / METRICS, metrics)
        artifacts.write_text(staging / REPORT, metrics_table(metrics))
        publishing.add_to_run_record(
            staging,
            model=str(model.absolute()),
            dataset=str(dataset.absolute()),
            runner=options.get_all_options()["runner"],
            config=config.model_dump(mode="json"),
            inference=dataclasses.asdict(resolved),
        )
        artifacts.write_manifest(
            staging,
            KIND,
            identity,
            files=artifacts.files_below(staging),
            model=directory.core_fingerprint,
            dataset=manifest["fingerprint"],
            split=config.split,
        )
    return metrics, True


def check_fit(model: ModelMetadata, dataset: dict[str, Any], split: str) -> None:
    """Refuses a dataset whose token ids or labels mean something else to the model.

    Raises:
      UserError: says what differs, or that the split is empty.
    """
    pairs = {
        "vocabulary": (model.vocabulary_sha256, dataset["vocabulary_sha256"]),
        "text rules": (model.text.model_dump(mode="json"), dataset["text"]),
        "label type": (model.labels.type, dataset["labels"]["type"]),
        "label names": (list(model.labels.names), dataset["labels"]["names"]),
    }
    for what, (of_model, of_dataset) in pairs.items():
        if of_model != of_dataset:
            raise UserError(
                f"The dataset's {what} differ from the model's: {of_dataset} against "
                f"{of_model}. Prepare the dataset with the model's rules and encoder."
            )
    if not dataset["splits"][split]["examples"]:
        raise UserError(
            f"The dataset has no example in its {split} split. Choose another split: "
            "in the config, or prepare a larger corpus."
        )


def _run_pipeline(
    config: EvaluateConfig,
    resolved: ResolvedInference,
    model: ModelDirectory,
    dataset: Path,
    shards: list[str],
    staging: Path,
    options: PipelineOptions,
) -> None:
    register_record_batch_coder()
    quiet_workers()
    handler = ClassifierHandler(
        model,
        resolved,
        classes=len(model.metadata.labels.names),
        kind=model.metadata.labels.type,
        max_faults=config.inference.max_faults,
    )
    with beam.Pipeline(options=options) as pipeline:
        _ = (
            pipeline
            | "ListShards" >> beam.Create(shards)
            | "SpreadShards" >> beam.Reshuffle()
            | "ReadShard"
            >> beam.Map(_read, os.fspath(dataset), model.metadata.labels.type)
            # (shard, RecordBatch)
            | "RunInference" >> RunInference(KeyedModelHandler(handler))
            | "WritePredictions"
            >> beam.Map(_write, model.metadata, os.fspath(staging / PREDICTIONS))
        )


def _read(shard: str, dataset: str, kind: str) -> tuple[str, pa.RecordBatch]:
    records = read_shard(os.path.join(dataset, shard))
    return shard, decode_examples(records, multilabel=kind == "multilabel")


def _write(element: tuple[str, Inferred], model: ModelMetadata, directory: str) -> None:
    shard, inferred = element[0], element[1].batch
    faults = inferred.column("fault").drop_null()
    if len(faults):
        raise ReviewbeamError(
            f"{len(faults)} examples of {shard} got no probabilities (the first: "
            f"{faults[0]}); figures without them would say too much. Try another "
            "inference.engine, or train the model again."
        )
    names = pa.array(model.labels.names, pa.string())
    indices = inferred.column("label_index")
    if model.labels.type == "multilabel":
        flat = names.take(indices.flatten())
        true = pa.ListArray.from_arrays(indices.offsets, flat)
    else:
        true = names.take(indices)
    predicted = with_columns(with_labels(inferred, model), true_label=true)
    name = shard.replace(".tfrecord.gz", ".parquet")
    table = pa.Table.from_batches([select_columns(predicted, _COLUMNS)])
    pq.write_table(table, os.path.join(directory, name), compression="zstd")


def _metrics(
    model: ModelMetadata, staging: Path, manifest: dict[str, Any], split: str
) -> dict[str, Any]:
    columns = ["true_label", "label", "language", "probabilities"]
    table = pq.read_table(staging / PREDICTIONS, columns=columns).combine_chunks()
    expected = manifest["splits"][split]["examples"]
    if table.num_rows != expected:
        raise RuntimeError(f"{expected} examples went in, {table.num_rows} came out")
    true, predicted = (
        _decisions(table[column].chunk(0), model.labels)
        for column in ("true_label", "label")
    )
    probabilities = np.asarray(table["probabilities"].chunk(0).flatten())
    languages = [shown_language(value) for value in table["language"].to_pylist()]
    return {"split": split} | evaluate_predictions(
        true,
        predicted,
        languages,
        model.labels.names,
        model.labels.type,
        probabilities.reshape(-1, len(model.labels.names)),
    )


def _decisions(labels: pa.Array, rules: LabelRules) -> np.ndarray:
    """Returns the class of each row; for multilabel, int [rows, labels] of 0 and 1."""
    names = pa.array(rules.names, pa.string())
    if rules.type != "multilabel":
        return np.asarray(pc.index_in(labels, names))
    given = np.zeros((len(labels), len(names)), np.int64)
    rows = np.asarray(pc.list_parent_indices(labels))
    given[rows, np.asarray(pc.index_in(labels.flatten(), names))] = 1
    return given
