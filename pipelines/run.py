"""`run`: prepare, train, evaluate, promote and score, one after the other."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from reviewbeam.components.common.models_folder import pinned
from reviewbeam.components.common.run_config import RunConfig
from reviewbeam.pipelines import serving
from reviewbeam.pipelines.blessing import evaluate_and_bless
from reviewbeam.pipelines.prepare import prepare
from reviewbeam.pipelines.score import score
from reviewbeam.pipelines.score_summary import ScoreReport
from reviewbeam.pipelines.training_report import train_and_report

DATASET, MODEL, EVALUATION, SCORES = "dataset", "model", "evaluation", "scores"


@dataclasses.dataclass(frozen=True)
class RunReport:
    """What each job of a run gave."""

    dataset: dict[str, Any]  # the manifest
    model: dict[str, Any]  # the trainer's summary
    metrics: dict[str, Any]  # with the verdict under `blessing`
    refused: str | None  # why the model isn't put in service, and nothing was scored
    scores: ScoreReport | None  # None: also where the config asks for none
    in_service: str | None  # the model; None: it is refused, or there is no folder


def run(
    config: RunConfig,
    options: PipelineOptions,
    *,
    overwrite: bool = False,
    step: Callable[..., AbstractContextManager],
) -> RunReport:
    """Runs the jobs; each does nothing where its result stands already.

    Args:
      config: the jobs' configs, and the folder for what they make.
      options: Beam's.
      overwrite: replace what was made from other inputs or another config.
      step: makes the context that a job runs in, and shows it to a person.
    """
    output = Path(config.output)
    dataset, model = output / DATASET, output / MODEL
    models = None if config.models is None else Path(config.models)
    with step("prepare") as shown:
        manifest, _ = prepare(
            config.prepare, dataset, options, overwrite=overwrite, show=shown.update
        )
    with step("train", live=False):
        trained = train_and_report(config.train, dataset, model, overwrite=overwrite)
    with step("evaluate") as shown:
        metrics = evaluate_and_bless(
            config.evaluate,
            model,
            dataset,
            output / EVALUATION,
            options,
            baseline=models and serving.rival(model, models, output / EVALUATION),
            overwrite=overwrite,
            show=shown.update,
        )
    if models is not None:
        with step("promote"):
            refused = serving.promote_blessed(model, models, metrics["blessing"])
        if refused:
            return RunReport(manifest, trained, metrics, refused, None, None)
    if config.score is None:
        name = None if models is None else pinned(models).name
        return RunReport(manifest, trained, metrics, None, None, name)
    with step("score") as shown:
        chosen = serving.model_to_score_with(config.score, models or model)
        scores = score(
            config.score, chosen, output / SCORES, options, show=shown.update
        )
    name = None if models is None else chosen.name
    return RunReport(manifest, trained, metrics, None, scores, name)
