"""`evaluate`: a model's figures on a split of a dataset, or on a gold set."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from reviewbeam.components.common import artifacts, publishing
from reviewbeam.components.common.coders import register_record_batch_coder
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.evaluate_config import EvaluateConfig
from reviewbeam.components.common.model_directory import (
    ModelDirectory,
    ModelMetadata,
    open_model,
)
from reviewbeam.components.common.places import remove_tree
from reviewbeam.components.common.prepare_config import SPLITS
from reviewbeam.components.common.privacy import shown
from reviewbeam.components.common.progress import rows_in_progress
from reviewbeam.components.common.run_record import RunRecord
from reviewbeam.components.evaluation.metrics import evaluate_predictions
from reviewbeam.components.evaluation.mistakes import confident_mistakes
from reviewbeam.components.evaluation.predictions import Predictions, kept_names
from reviewbeam.components.evaluation.slices import check_slices
from reviewbeam.components.evaluation.table import report
from reviewbeam.components.inference.handler import ClassifierHandler
from reviewbeam.components.inference.resolve import ResolvedInference, resolve_inference
from reviewbeam.components.inference.safe_saved_model import check_saved_model
from reviewbeam.pipelines.evaluation_rows import (
    PREDICTIONS,
    Parts,
    ReadExamples,
    write_predictions,
)
from reviewbeam.pipelines.flink_runner import end_earlier_job
from reviewbeam.pipelines.launching import launching, threads_of_a_process
from reviewbeam.pipelines.model_gate import ModelGate, as_resolved
from reviewbeam.pipelines.quiet import quiet_workers
from reviewbeam.pipelines.watching import Show, watching

KIND = "evaluation"
METRICS = "metrics.json"
REPORT = "report.txt"
ALL = "all"  # splits, of a gold set
_PROGRESS = "_progress"  # rows inferred, by process; gone before it is published


def evaluate(
    config: EvaluateConfig,
    model: Path,
    dataset: Path,
    output: Path,
    options: PipelineOptions,
    *,
    baseline: Path | None = None,
    gold: bool = False,
    overwrite: bool = False,
    show: Show = None,
) -> tuple[dict[str, Any], bool]:
    """Evaluates a model by its SavedModel, through the stage that `score` uses.

    Args:
      config: of the job.
      model: directory of the model.
      dataset: directory of the dataset.
      output: directory of the evaluation.
      options: Beam's.
      baseline: directory of another model, to compare this one with.
      gold: the dataset is a gold set: it must be marked so, and is evaluated as a
        whole.
      overwrite: replace what was made from other inputs or another config.
      show: is told how far it is, from a thread.

    Returns:
      The metrics, and whether they were computed now rather than found.

    Raises:
      UserError: models and dataset don't fit, the split is empty, a slice or a figure
        of a rule is unknown, or the output can't be used.
      BusyError: another run writes the same output.
    """
    manifest = artifacts.read_manifest(dataset, "dataset")
    split = ALL if gold else config.split
    if gold and not manifest.get("gold"):
        raise UserError(
            f"The dataset {str(dataset)!r} is no gold set: training may use it. "
            "Prepare it with gold: true in the config, or give it as --dataset."
        )
    directory = _open(model, manifest, split)
    gate = ModelGate(
        config, directory, baseline and _open_baseline(baseline, manifest, split)
    )
    kept = kept_names(manifest["columns"]["keep"]).values()
    check_slices(config.slices, kept)
    gate.check(kept)
    identity = artifacts.fingerprint(
        {
            "job": "evaluate",
            "format": artifacts.FORMAT,
            "config": config.model_dump(mode="json"),
            "models": gate.fingerprints(),
            "dataset": manifest["fingerprint"],
            "gold": gold,
        }
    )
    if publishing.is_done(output, KIND, identity, overwrite=overwrite):
        return artifacts.read_json(output / METRICS), False
    run = RunRecord("evaluate", recover=end_earlier_job)
    with publishing.staged_output(
        output, "evaluate", run=run, overwrite=overwrite
    ) as staging:
        shards = [
            shard["name"]
            for name in _splits(split)
            for shard in manifest["splits"][name]["shards"]
            if shard["examples"]
        ]
        files = {name: manifest["files"][name] for name in shards}
        artifacts.check_files(dataset, files, "dataset")
        inference, taken = config.inference, {}
        threads = threads_of_a_process(options)
        models, progress = gate.models(staging), staging / _PROGRESS
        rows = _examples(manifest, split) * len(models)
        progress.mkdir()
        with watching(lambda: f"{rows_in_progress(progress):,} of {rows:,} rows", show):
            for opened, folder in models:
                folder.mkdir()
                resolved = resolve_inference(inference, opened, threads=threads)
                _run_pipeline(
                    config, resolved, opened, dataset, shards, folder, options, run
                )
                inference = as_resolved(inference, resolved)
                taken[folder.name] = dataclasses.asdict(resolved)
        remove_tree(progress)
        parts = Parts(staging / PREDICTIONS)
        _check_rows(parts, manifest, split)
        metrics = {"split": split, "gold": gold}
        metrics |= _metrics(config, directory.metadata, parts, dataset)
        metrics["seen_in_training"] = gate.judge(staging, dataset, shards)
        artifacts.write_json(staging / METRICS, metrics)
        artifacts.write_text(staging / REPORT, report(metrics))
        publishing.add_to_run_record(
            staging,
            model=str(model.absolute()),
            baseline=baseline and str(baseline.absolute()),
            dataset=str(dataset.absolute()),
            runner=options.get_all_options()["runner"],
            config=config.model_dump(mode="json"),
            inference=taken,
        )
        artifacts.write_manifest(
            staging,
            KIND,
            identity,
            files=artifacts.files_below(staging),
            model=directory.core_fingerprint,
            dataset=manifest["fingerprint"],
            split=split,
            gold=gold,
        )
    return metrics, True


def _open(model: Path, dataset: dict[str, Any], split: str) -> ModelDirectory:
    directory = open_model(os.path.abspath(model))
    check_saved_model(directory.saved_model, len(directory.metadata.labels.names))
    check_fit(directory.metadata, dataset, split)
    return directory


def _open_baseline(
    baseline: Path, dataset: dict[str, Any], split: str
) -> ModelDirectory:
    try:
        return _open(baseline, dataset, split)
    except UserError as error:
        raise UserError(
            f"The baseline {str(baseline)!r} can't be compared with: {error}"
        ) from None


def check_fit(model: ModelMetadata, dataset: dict[str, Any], split: str) -> None:
    """Refuses a dataset whose token ids or labels mean something else to the model.

    Args:
      model: what it was trained with.
      dataset: the manifest.
      split: which is evaluated; ALL for all of them.

    Raises:
      UserError: says what differs, or that there is no example.
    """
    try:
        pairs = {
            "vocabulary": (model.vocabulary_sha256, dataset["vocabulary_sha256"]),
            "text rules": (model.text.model_dump(mode="json"), dataset["text"]),
            "language detector": (
                model.language_detector,
                dataset["language_detector"],
            ),
            "label type": (model.labels.type, dataset["labels"]["type"]),
            "label names": (list(model.labels.names), dataset["labels"]["names"]),
        }
        examples = _examples(dataset, split)
    except (KeyError, TypeError) as error:
        raise UserError(
            f"The dataset's manifest is not one that prepare wrote: {error} is missing "
            "or wrong. Run prepare again."
        ) from None
    for what, (of_model, of_dataset) in pairs.items():
        if of_model != of_dataset:
            raise UserError(
                f"The dataset's {what} differ from the model's: {of_dataset} against "
                f"{of_model}. Prepare the dataset with the model's rules and encoder."
            )
    if not examples:
        where = "in any split" if split == ALL else f"in its {split} split"
        raise UserError(
            f"The dataset has no example {where}. Choose another split: in the config, "
            "or prepare a larger corpus."
        )


def _splits(split: str) -> tuple[str, ...]:
    return SPLITS if split == ALL else (split,)


def _examples(dataset: dict[str, Any], split: str) -> int:
    return sum(dataset["splits"][name]["examples"] for name in _splits(split))


def _run_pipeline(
    config: EvaluateConfig,
    resolved: ResolvedInference,
    model: ModelDirectory,
    dataset: Path,
    shards: list[str],
    predictions: Path,
    options: PipelineOptions,
    run: RunRecord,
) -> None:
    register_record_batch_coder()
    quiet_workers()
    labels = model.metadata.labels
    handler = ClassifierHandler(
        model,
        resolved,
        classes=len(labels.names),
        kind=labels.type,
        max_faults=config.inference.max_faults,
        progress_folder=str(predictions.absolute().with_name(_PROGRESS)),
    )
    read = ReadExamples(
        dataset=os.path.abspath(dataset),
        multilabel=labels.type == "multilabel",
        keep=tuple(artifacts.read_manifest(dataset, "dataset")["columns"]["keep"]),
        vocabulary=model.vocabulary,
        text=model.metadata.text,
    )
    with (
        launching(options, "evaluate", run) as ready,
        beam.Pipeline(options=ready) as pipeline,
    ):
        _ = (
            pipeline
            | "ListShards" >> beam.Create(shards)
            | "SpreadShards" >> beam.Reshuffle()
            | "ReadShard" >> beam.Map(read)
            # (shard, RecordBatch)
            | "RunInference" >> RunInference(KeyedModelHandler(handler))
            | "WritePredictions"
            >> beam.Map(write_predictions, model.metadata, os.path.abspath(predictions))
        )


def _check_rows(parts: Parts, manifest: dict[str, Any], split: str) -> None:
    expected, found = _examples(manifest, split), parts.table.num_rows
    if found != expected:
        raise RuntimeError(f"{expected} examples went in, {found} came out")


def _metrics(
    config: EvaluateConfig, model: ModelMetadata, parts: Parts, dataset: Path
) -> dict[str, Any]:
    labels = model.labels
    found = Predictions.of_table(parts.table, labels)
    metrics = evaluate_predictions(found, labels.names, labels.type, config)
    mistakes = confident_mistakes(found, labels.names, labels.type, config.mistakes)
    described = [mistake.described for mistake in mistakes]
    if config.privacy.text != "none":
        rows, multilabel = [m.row for m in mistakes], labels.type == "multilabel"
        texts = parts.texts(rows, dataset, multilabel)
        for mistake, text in zip(described, texts, strict=True):
            mistake["text"] = shown(text, config.privacy)
    return metrics | {"mistakes": described}
