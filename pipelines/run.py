"""`run`: prepare, train, evaluate and score, one after the other."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from reviewbeam.components.common.run_config import RunConfig
from reviewbeam.components.trainer.train import train
from reviewbeam.pipelines.evaluate import evaluate
from reviewbeam.pipelines.prepare import prepare
from reviewbeam.pipelines.score import ScoreReport, score

DATASET, MODEL, EVALUATION, SCORES = "dataset", "model", "evaluation", "scores"


@dataclasses.dataclass(frozen=True)
class RunReport:
    """What each job of a run gave."""

    dataset: dict[str, Any]  # the manifest
    model: dict[str, Any]  # the trainer's summary
    metrics: dict[str, Any]
    scores: ScoreReport


def run(
    config: RunConfig,
    options: PipelineOptions,
    *,
    overwrite: bool = False,
    step: Callable[..., AbstractContextManager],
) -> RunReport:
    """Runs the four jobs; each does nothing where its result stands already.

    Args:
      config: the jobs' configs, and the folder for what they make.
      options: Beam's.
      overwrite: replace what was made from other inputs or another config.
      step: makes the context that a job runs in, and shows it to a person.
    """
    output = Path(config.output)
    dataset, model = output / DATASET, output / MODEL
    with step("prepare"):
        manifest, _ = prepare(config.prepare, dataset, options, overwrite=overwrite)
    with step("train", live=False):
        trained = train(config.train, dataset, model, overwrite=overwrite)
    with step("evaluate"):
        metrics, _ = evaluate(
            config.evaluate,
            model,
            dataset,
            output / EVALUATION,
            options,
            overwrite=overwrite,
        )
    with step("score"):
        scores = score(config.score, model, output / SCORES, options)
    return RunReport(manifest, trained, metrics, scores)
