"""Jobs that answer at once and make no artifact, as `jobs` has the others."""

import argparse
import dataclasses
from typing import Any

from reviewbeam.components.common.errors import UserError
from reviewbeam.pipelines import console
from reviewbeam.pipelines.job_inputs import (
    artifact,
    beam_options,
    check_local,
    folder,
    lines_of_standard_input,
    model,
)
from reviewbeam.pipelines.job_options import ROLES


def write_configs(arguments: argparse.Namespace) -> tuple[Any, int]:
    """Looks at a corpus, and writes the configs that fit it."""
    output = folder(arguments.output)
    given = {r: c for r in ROLES if (c := getattr(arguments, r)) is not None}
    beam_options(arguments)  # of its file systems
    from reviewbeam.pipelines import init, init_summary

    report = init.init(
        output,
        arguments.input,
        encoder=arguments.encoder or init.ENCODER,
        given=given,
        overwrite=arguments.overwrite,
    )
    init_summary.say_init(report)
    return init_summary.public(report), 0


def predict_texts(arguments: argparse.Namespace) -> tuple[Any, int]:
    """Labels texts of the command line or of standard input."""
    check_local(arguments.model, "model")
    texts = arguments.text or lines_of_standard_input()
    from reviewbeam.pipelines.predict import predict

    predictions = predict(model(arguments.model), texts)
    if not arguments.json:
        console.say_predictions(predictions)
    return [dataclasses.asdict(answer) for answer in predictions], 0


def promote_model(arguments: argparse.Namespace) -> tuple[Any, int]:
    """Puts a model in service."""
    from reviewbeam.components.common.models_folder import promote

    models = folder(arguments.models)
    serving, new = promote(artifact(arguments.model), models, force=arguments.force)
    console.say_serving(serving, models, "" if new else ", as before")
    return serving.model_dump(mode="json") | {"done_before": not new}, 0


def roll_back(arguments: argparse.Namespace) -> tuple[Any, int]:
    """Puts the model in service that was before."""
    from reviewbeam.components.common.models_folder import rollback

    models = folder(arguments.models)
    serving = rollback(models)
    console.say_serving(serving, models, f", no longer {serving.rolled_back[0]}")
    return serving.model_dump(mode="json"), 0


def examine(arguments: argparse.Namespace) -> tuple[Any, int]:
    """Looks at all that jobs need; its findings are shown as they come."""
    from reviewbeam.pipelines.doctor import diagnose
    from reviewbeam.pipelines.findings import BAD, GOOD, WARNING

    styles = {GOOD: None, WARNING: "yellow", BAD: "bold red"}
    findings = []
    for finding in diagnose(beam_file=arguments.beam, outputs=arguments.outputs):
        findings.append(finding)
        if arguments.json:
            continue
        line = f"{finding.state:<7}  {finding.check}: {finding.found}"
        console.say(line, style=styles[finding.state])
        if finding.state != GOOD:
            console.say(f"         {finding.advice}")
    bad = any(finding.state == BAD for finding in findings)
    return [dataclasses.asdict(f) for f in findings], UserError.exit_code if bad else 0
