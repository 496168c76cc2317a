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
from reviewbeam.components.common.model_directory import ModelDirectory, open_model
from reviewbeam.components.common.places import remove_tree
from reviewbeam.components.common.privacy import shown
from reviewbeam.components.common.progress import rows_in_progress
from reviewbeam.components.common.run_record import RunRecord
from reviewbeam.components.evaluation.metrics import evaluate_predictions
from reviewbeam.components.evaluation.mistakes import confident_mistakes
from reviewbeam.components.evaluation.predictions import Predictions, kept_names
from reviewbeam.components.evaluation.reliability import before_and_after
from reviewbeam.components.evaluation.slices import check_slices
from reviewbeam.components.evaluation.table import report
from reviewbeam.components.inference.handler import ClassifierHandler
from reviewbeam.components.inference.resolve import (
    ResolvedInference,
    resolve_inference,
)
from reviewbeam.components.inference.safe_saved_model import check_saved_model
from reviewbeam.pipelines.evaluated_splits import (
    ALL,
    check_fit,
    checked_shards,
    count_examples,
)
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
      gold: the dataset is a gold set, must be marked so, and is evaluated whole.
      overwrite: replace what was made from other inputs or another config.
      show: is told how far it is, from a thread.

    Returns:
      The metrics, and whether they were computed now rather than found.

    Raises:
      UserError: models, dataset, slices, rules or the output can't be used.
      BusyError: another run writes the same output.
    """
    manifest, split = _manifest(dataset, gold), ALL if gold else config.split
    gate = _gate(config, model, baseline, manifest, split)
    identity = _identity(gate, manifest, gold)
    if publishing.is_done(output, KIND, identity, overwrite=overwrite):
        return artifacts.read_json(output / METRICS), False
    run = RunRecord("evaluate", recover=end_earlier_job)
    staged = publishing.staged_output(output, "evaluate", run=run, overwrite=overwrite)
    with staged as staging:
        job = _Evaluation(gate, dataset, manifest, split, options, run, show)
        metrics = job.run_into(staging)
        run.note(
            model=str(model.absolute()),
            baseline=baseline and str(baseline.absolute()),
            dataset=str(dataset.absolute()),
            runner=options.get_all_options()["runner"],
            config=config.model_dump(mode="json"),
        )
        artifacts.write_manifest(
            staging,
            KIND,
            identity,
            files=artifacts.files_below(staging),
            model=gate.model.core_fingerprint,
            dataset=manifest["fingerprint"],
            split=split,
            gold=gold,
        )
    return metrics, True


def _manifest(dataset: Path, gold: bool) -> dict[str, Any]:
    """Reads the dataset's manifest; refuses as a gold set what isn't marked so."""
    manifest = artifacts.read_manifest(dataset, "dataset")
    if gold and not manifest.get("gold"):
        raise UserError(
            f"The dataset {str(dataset)!r} is no gold set: training may use it. "
            "Prepare it with gold: true in the config, or give it as --dataset."
        )
    return manifest


def _gate(
    config: EvaluateConfig,
    model: Path,
    baseline: Path | None,
    manifest: dict[str, Any],
    split: str,
) -> ModelGate:
    """Opens the models, and refuses what can't be measured before anything runs."""
    opened = _open(model, manifest, split)
    gate = ModelGate(
        config, opened, baseline and _open_baseline(baseline, manifest, split)
    )
    kept = kept_names(manifest["columns"]["keep"]).values()
    check_slices(config.slices, kept)
    gate.check(kept)
    return gate


def _identity(gate: ModelGate, manifest: dict[str, Any], gold: bool) -> str:
    """Fingerprint of all that an evaluation follows from."""
    return artifacts.fingerprint(
        {
            "job": "evaluate",
            "format": artifacts.FORMAT,
            "config": gate.config.model_dump(mode="json"),
            "models": gate.fingerprints(),
            "dataset": manifest["fingerprint"],
            "gold": gold,
        }
    )


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


@dataclasses.dataclass(frozen=True)
class _Evaluation:
    """One run on an output that is locked."""

    gate: ModelGate
    dataset: Path
    manifest: dict[str, Any]  # the dataset's
    split: str
    options: PipelineOptions
    run: RunRecord
    show: Show

    def run_into(self, staging: Path) -> dict[str, Any]:
        """Writes predictions, metrics and verdict; returns the metrics."""
        shards = checked_shards(self.dataset, self.manifest, self.split)
        self._predict(staging, shards)
        metrics = {"split": self.split, "gold": self.split == ALL}
        metrics |= self._metrics(Parts(staging / PREDICTIONS))
        self._tell("the rules")
        metrics["seen_in_training"] = self.gate.judge(staging, self.dataset, shards)
        artifacts.write_json(staging / METRICS, metrics)
        artifacts.write_text(staging / REPORT, report(metrics))
        return metrics

    def _predict(self, staging: Path, shards: list[str]) -> None:
        """Has all models predict the rows, the later ones as the first one did."""
        inference, taken = self.gate.config.inference, {}
        threads = threads_of_a_process(self.options)
        models, progress = self.gate.models(staging), staging / _PROGRESS
        rows = count_examples(self.manifest, self.split) * len(models)

        def look() -> str:
            return f"{rows_in_progress(progress):,} of {rows:,} rows"

        progress.mkdir()
        with watching(look, self.show):
            for model, folder in models:
                folder.mkdir()
                resolved = resolve_inference(inference, model, threads=threads)
                self._run_pipeline(model, resolved, shards, folder)
                inference = as_resolved(inference, resolved)
                taken[folder.name] = dataclasses.asdict(resolved)
        remove_tree(progress)
        self.run.note(inference=taken)

    def _run_pipeline(
        self,
        model: ModelDirectory,
        resolved: ResolvedInference,
        shards: list[str],
        predictions: Path,
    ) -> None:
        register_record_batch_coder()
        quiet_workers()
        labels = model.metadata.labels
        handler = ClassifierHandler(
            model,
            resolved,
            classes=len(labels.names),
            kind=labels.type,
            max_faults=self.gate.config.inference.max_faults,
            progress_folder=os.path.abspath(predictions.with_name(_PROGRESS)),
        )
        read = ReadExamples(
            dataset=os.path.abspath(self.dataset),
            multilabel=labels.type == "multilabel",
            keep=tuple(self.manifest["columns"]["keep"]),
            vocabulary=model.vocabulary,
            text=model.metadata.text,
        )
        folder = os.path.abspath(predictions)
        with (
            launching(self.options, "evaluate", self.run) as ready,
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
                >> beam.Map(write_predictions, model.metadata, folder)
            )

    def _tell(self, state: str) -> None:
        if self.show is not None:
            self.show(state)

    def _metrics(self, parts: Parts) -> dict[str, Any]:
        """Computes the figures, and lists the mistakes with what may be shown."""
        expected = count_examples(self.manifest, self.split)
        if parts.table.num_rows != expected:
            raise RuntimeError(
                f"{expected} examples went in, {parts.table.num_rows} came out"
            )
        config, labels = self.gate.config, self.gate.model.metadata.labels
        predictions = Predictions.of_table(parts.table, labels)
        metrics = evaluate_predictions(
            predictions, labels.names, labels.type, config, self._tell
        )
        mistakes = confident_mistakes(
            predictions, labels.names, labels.type, config.mistakes
        )
        described = [mistake.described for mistake in mistakes]
        if config.privacy.text != "none":
            rows = [mistake.row for mistake in mistakes]
            texts = parts.texts(rows, self.dataset, labels.type == "multilabel")
            for mistake, text in zip(described, texts, strict=True):
                mistake["text"] = shown(text, config.privacy)
        calibration = self.gate.model.metadata.calibration
        reliability = before_and_after(predictions, labels.type, calibration)
        return metrics | {"mistakes": described, "reliability": reliability}
