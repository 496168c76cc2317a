"""`evaluate` and what follows from its verdict: the model's BLESSED file."""

from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from reviewbeam.components.common.artifacts import RUN_FILE, read_json, read_manifest
from reviewbeam.components.common.blessed import (
    BLESSING,
    latest_verdict,
    read_blessing,
    withdraw_blessing,
    write_blessing,
)
from reviewbeam.components.common.blessing_config import NO, YES
from reviewbeam.components.common.evaluate_config import EvaluateConfig
from reviewbeam.pipelines import console
from reviewbeam.pipelines.evaluate import KIND, evaluate
from reviewbeam.pipelines.evaluation_report import put_evaluation_report
from reviewbeam.pipelines.report_file import page_beside


def evaluate_and_bless(
    config: EvaluateConfig,
    model: Path,
    dataset: Path,
    output: Path,
    options: PipelineOptions,
    **more: Any,
) -> dict[str, Any]:
    """Evaluates a model, and blesses it where the rules hold.

    Takes what `evaluate` takes, and raises what it raises.

    Returns:
      The metrics; under `blessing` the verdict, None: nothing was asked; and under
      `report` the name of the page, None: it could not be made.
    """
    metrics, new = evaluate(config, model, dataset, output, options, **more)
    verdict = None
    if (output / BLESSING).is_file():
        verdict = read_json(output / BLESSING)
        _settle(model, output, verdict)
    put_evaluation_report(output, model, new=new)
    return metrics | {"blessing": verdict} | page_beside(output)


def _settle(model: Path, evaluation: Path, verdict: dict[str, Any]) -> None:
    """Gives or takes back a model's blessing, unless a later evaluation has spoken.

    Done after the evaluation is published, and again by each run that finds it done:
    one that was killed between the two is cured by the next. A no by the rules that a
    blessing was given by takes it back; one by other rules asked another question.
    """
    date = read_json(evaluation / RUN_FILE)["finished"]
    if date < latest_verdict(model):
        return
    manifest = read_manifest(evaluation, KIND)
    standing = read_blessing(model)
    if verdict["verdict"] == YES:
        facts = {
            "evaluation": manifest["fingerprint"],
            "dataset": manifest["dataset"],
            "date": date,
        }
        if standing is None or standing.get("evaluation") != facts["evaluation"]:
            told = ("baseline", "judged_rows", "rules", "rules_given")
            write_blessing(model, facts | {key: verdict[key] for key in told})
    elif verdict["verdict"] == NO and standing is not None:
        if standing.get("rules_given") == verdict["rules_given"]:
            withdraw_blessing(model, manifest["fingerprint"], date)
            console.note(
                f"reviewbeam: the blessing of {standing.get('date')} was by the same "
                f"rules and is withdrawn: {model} is no longer blessed."
            )
        else:
            console.note(
                f"reviewbeam: {model} stays blessed by the other rules of "
                f"{standing.get('date')}; to put another model in service, use promote "
                "or rollback."
            )
