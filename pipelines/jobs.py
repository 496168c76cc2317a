"""Each job of the command line: read its config, run it, tell the result.

A job's code is imported when the job is run, since it brings Beam or TensorFlow.
"""

import argparse
import dataclasses
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

from reviewbeam.components.common.config import load_config
from reviewbeam.components.common.errors import (
    ModelGateError,
    StoppedError,
    UserError,
)
from reviewbeam.components.common.places import place
from reviewbeam.pipelines import console, quick_jobs
from reviewbeam.pipelines.job_inputs import (
    artifact,
    beam_options,
    check_local,
    folder,
    model,
    output_place,
    overrides_of,
)
from reviewbeam.pipelines.quiet import quiet_import


def run_job(arguments: argparse.Namespace) -> int:
    """Runs the job that a command line names, and returns its exit code."""
    result, code = _JOBS[arguments.job](arguments)
    if arguments.json:
        console.say_json(result)
    return code


def _encoder(arguments: argparse.Namespace) -> tuple[Any, int]:
    from reviewbeam.components.common.encoder_directory import HUB_SCHEME, hub_cache
    from reviewbeam.components.encoder.bring import bring_encoder

    output = arguments.output
    if output is None:
        if not arguments.source.startswith(HUB_SCHEME):
            raise UserError("--output is missing: the folder for the encoder.")
        output = hub_cache(arguments.source)
    arguments.log.beside(folder(str(output)))
    with console.Step(f"encoder from {arguments.source}"):
        manifest, made = bring_encoder(
            arguments.source, folder(str(output)), overwrite=arguments.overwrite
        )
    console.say(f"Encoder in {output}" + ("" if made else ", made before"))
    return manifest | {"output": str(output)}, 0


def _prepare(arguments: argparse.Namespace) -> tuple[Any, int]:
    from reviewbeam.components.common.prepare_config import PrepareConfig

    overrides = overrides_of(arguments)
    if arguments.baseline is not None:
        overrides.append(f"baseline={json.dumps(arguments.baseline)}")
    config = load_config(PrepareConfig, arguments.config, overrides)
    options = beam_options(arguments)
    output = output_place(arguments)
    arguments.log.beside(output, config)
    with console.Step("prepare") as step:
        step.update("loading libraries")
        with quiet_import():
            from reviewbeam.pipelines.local_paths import note_local_paths
            from reviewbeam.pipelines.local_runner import workers_ahead
            from reviewbeam.pipelines.prepare import prepare

        note_local_paths(options, config, arguments)
        with workers_ahead(output):
            manifest, _ = prepare(
                config,
                output,
                options,
                overwrite=arguments.overwrite,
                infer_schema=arguments.infer_schema,
                lock=not arguments.no_lock,
                show=step.update,
            )
    console.say_dataset(manifest, output)
    if arguments.infer_schema:
        console.say(
            f"Review {output}/schema.pbtxt; schema_rules.schema_file holds later "
            "datasets against it."
        )
    return manifest, 0


def _train(arguments: argparse.Namespace) -> tuple[Any, int]:
    from reviewbeam.components.common.train_config import TrainConfig

    config = load_config(TrainConfig, arguments.config, arguments.set)
    check_local(arguments.dataset, "dataset")
    output = folder(arguments.output)
    arguments.log.beside(output, config)
    console.note("train …")
    from reviewbeam.pipelines.training_report import train_and_report

    summary = train_and_report(
        config,
        artifact(arguments.dataset),
        output,
        initial=artifact(arguments.init) if arguments.init else None,
        overwrite=arguments.overwrite,
    )
    console.say_model(summary)
    return summary, 0


def _tune(arguments: argparse.Namespace) -> tuple[Any, int]:
    from reviewbeam.components.common.train_config import TrainConfig
    from reviewbeam.components.common.tune_config import TuneConfig

    config = load_config(TuneConfig, arguments.config, arguments.set)
    output = folder(arguments.output)
    best_model = folder(arguments.train_best) if arguments.train_best else None
    if importlib.util.find_spec("keras_tuner") is None:
        raise UserError(
            "tune needs KerasTuner, which is not installed: "
            "pip install 'reviewbeam[tune]'."
        )
    arguments.log.beside(output, config)
    from reviewbeam.components.trainer.tuning import BEST, tune
    from reviewbeam.pipelines.training_report import train_and_report

    dataset = artifact(arguments.dataset)
    summary = tune(config, dataset, output, overwrite=arguments.overwrite)
    console.say_tuning(summary)
    if best_model is None:
        return summary, 0
    best = load_config(TrainConfig, str(output / BEST))
    trained = train_and_report(best, dataset, best_model, overwrite=arguments.overwrite)
    console.say_model(trained)
    return summary | {"model": trained}, 0


def _evaluate(arguments: argparse.Namespace) -> tuple[Any, int]:
    from reviewbeam.components.common.evaluate_config import EvaluateConfig

    config = load_config(EvaluateConfig, arguments.config, arguments.set)
    check_local(arguments.model, "model")
    check_local(arguments.gold or arguments.dataset, "dataset")
    options = beam_options(arguments)
    output = folder(arguments.output)
    arguments.log.beside(output, config)
    with console.Step("evaluate") as step:
        step.update("loading libraries")
        from reviewbeam.components.common.blessing_config import YES
        from reviewbeam.components.common.models_folder import pinned
        from reviewbeam.pipelines.blessing import evaluate_and_bless

        baseline = arguments.baseline and model(arguments.baseline)
        metrics = evaluate_and_bless(
            config,
            pinned(folder(arguments.model)),  # it may be blessed
            artifact(arguments.gold or arguments.dataset),
            output,
            options,
            baseline=baseline,
            gold=arguments.gold is not None,
            overwrite=arguments.overwrite,
            show=step.update,
        )
    console.say_metrics(metrics, output)
    console.say_blessing(metrics["blessing"])
    if config.blessing is None or metrics["blessing"]["verdict"] == YES:
        return metrics, 0
    console.note(f"reviewbeam: the model is not blessed; see {output}/blessing.json.")
    return metrics, ModelGateError.exit_code


def _quantize(arguments: argparse.Namespace) -> tuple[Any, int]:
    from reviewbeam.components.common.models_folder import is_models_folder, pinned

    given = folder(arguments.model)
    # In a models folder nothing but models may lie.
    parent = os.path.abspath(given.parent)
    arguments.log.beside(Path(parent) if is_models_folder(given.parent) else given)
    directory = pinned(given)
    with console.Step("quantize"):
        with quiet_import():
            from reviewbeam.pipelines.quantize import quantize

        manifest, _ = quantize(
            directory, artifact(arguments.dataset), overwrite=arguments.overwrite
        )
    console.say_quantized(manifest, directory)
    return manifest, 0


def _score(arguments: argparse.Namespace) -> tuple[Any, int]:
    from reviewbeam.components.common.score_config import ScoreConfig

    config = load_config(ScoreConfig, arguments.config, overrides_of(arguments))
    check_local(arguments.model, "model")
    options = beam_options(arguments)
    output = output_place(arguments)
    if not arguments.dry_run:  # which writes nothing
        arguments.log.beside(output, config)
    with console.Step("score") as step:
        step.update("loading libraries")
        from reviewbeam.pipelines.local_paths import note_local_paths
        from reviewbeam.pipelines.local_runner import workers_ahead
        from reviewbeam.pipelines.score import score
        from reviewbeam.pipelines.score_preview import preview
        from reviewbeam.pipelines.serving import model_to_score_with

        note_local_paths(options, config, arguments)
        with workers_ahead(output):
            chosen = model_to_score_with(config, place(arguments.model))
            if arguments.dry_run:
                found = preview(config, chosen, output, options)
            else:
                step.update("choosing engine and batch size")
                report = score(
                    config,
                    chosen,
                    output,
                    options,
                    limit=arguments.limit,
                    verify=arguments.verify,
                    accept_drift=arguments.accept_drift,
                    lock=not arguments.no_lock,
                    show=step.update,
                )
    from reviewbeam.pipelines import score_summary

    if arguments.dry_run:
        score_summary.say_preview(found)
        return dataclasses.asdict(found), 0
    score_summary.say_scores(report, output)
    return dataclasses.asdict(report), _score_code(report)


def _score_code(report: Any) -> int:
    """The exit code of a run of score that went to its end."""
    if report.stopped:
        return StoppedError.exit_code
    return 1 if report.damaged else 0


def _run(arguments: argparse.Namespace) -> tuple[Any, int]:
    from reviewbeam.components.common.run_config import RunConfig

    config = load_config(RunConfig, arguments.config, arguments.set)
    output = folder(config.output)
    arguments.log.beside(output, config)
    options = beam_options(arguments)
    with quiet_import():
        from reviewbeam.pipelines import run, score_summary

    report = run.run(config, options, overwrite=arguments.overwrite, step=console.Step)
    console.say()
    console.say_dataset(report.dataset, output / run.DATASET)
    console.say_model(report.model)
    console.say_metrics(report.metrics, output / run.EVALUATION)
    console.say_blessing(report.metrics["blessing"])
    if report.refused:
        console.note(f"reviewbeam: {report.refused}")
        return dataclasses.asdict(report), ModelGateError.exit_code
    if report.in_service:
        console.say(f"In service: {report.in_service}, in {config.models}")
    if report.scores is None:
        return dataclasses.asdict(report), 0
    score_summary.say_scores(report.scores, output / run.SCORES)
    return dataclasses.asdict(report), _score_code(report.scores)


_JOBS = {
    "init": quick_jobs.write_configs,
    "encoder": _encoder,
    "prepare": _prepare,
    "train": _train,
    "tune": _tune,
    "evaluate": _evaluate,
    "quantize": _quantize,
    "score": _score,
    "predict": quick_jobs.predict_texts,
    "promote": quick_jobs.promote_model,
    "rollback": quick_jobs.roll_back,
    "run": _run,
    "doctor": quick_jobs.examine,
}
