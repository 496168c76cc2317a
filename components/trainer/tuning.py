"""The tuning job: many short trainings, and the config of the best one.

OUTPUT/                   the artifact
  trials.json, trials.csv all trials in order
  best.yaml               a config of `train`
  report.txt              the trials, best first
OUTPUT.tuning/            while it runs
  run.json                the fingerprint of the tuning it belongs to
  trials.json             the trials that are done
  trial-N.training/       checkpoints of the one that runs
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from reviewbeam.components.common.artifacts import (
    files_below,
    fingerprint,
    read_json,
    read_manifest,
    write_json,
    write_manifest,
    write_text,
)
from reviewbeam.components.common.encoder_directory import open_encoder
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.publishing import (
    add_to_run_record,
    is_done,
    staged_output,
)
from reviewbeam.components.common.tune_config import TuneConfig
from reviewbeam.components.trainer.checkpoint import (
    remove_folder,
    remove_working_folder,
)
from reviewbeam.components.trainer.dataset import Dataset, check_trainable, open_dataset
from reviewbeam.components.trainer.display import TrainingDisplay
from reviewbeam.components.trainer.search import search
from reviewbeam.components.trainer.train import RECIPE
from reviewbeam.components.trainer.trial_runs import TRIALS, Trials
from reviewbeam.components.trainer.trials import (
    Trial,
    failures,
    ranked,
    trials_csv,
    trials_report,
)

KIND = "tuning"
BEST = "best.yaml"
_WORKING = ".tuning"  # behind an output's name


def tune(
    config: TuneConfig,
    dataset: Path,
    output: Path,
    *,
    overwrite: bool = False,
    displays: Callable[[], TrainingDisplay] = TrainingDisplay,
) -> dict[str, Any]:
    """Searches for the best config of `train` and publishes what was tried.

    Args:
      config: the job's config.
      dataset: the directory that `prepare` made.
      output: the directory of the result; it appears whole or not at all.
      overwrite: replace the result of another tuning, and discard what is left of
        one that was stopped.
      displays: makes what a person sees, for each trial.

    Returns:
      A summary: output, done_before, fingerprint, objective, best (a trial as in
      `trials.json`) and trials (all of them, best first).

    Raises:
      UserError: the dataset, an encoder or the output can't be used, or all trials
        failed.
      BusyError: another run writes the same output.
      StoppedError: a signal came; the same command goes on.
    """
    output = Path(output)
    data = open_dataset(Path(dataset))
    check_trainable(data, open_encoder(config.train.encoder), config.train)
    _check_objective(config, data)
    expected = _fingerprint(config, data)
    working = output.absolute().with_name(output.name + _WORKING)
    if is_done(output, KIND, expected, overwrite=overwrite):
        remove_working_folder(working, expected)
        return _summary(output) | {"done_before": True}
    with staged_output(output, "tune", overwrite=overwrite) as staging:
        trials = Trials(config, data, working, expected, displays, overwrite=overwrite)
        points = [trial.point for trial in trials.done]
        search(config, points, trials.run, working)
        _check_any_finished(trials)
        _write(staging, config, trials.done)
        write_manifest(
            staging,
            KIND,
            expected,
            files=files_below(staging),
            objective=config.search.objective,
        )
        add_to_run_record(staging, dataset=str(data.path))
    remove_folder(working)
    return _summary(output) | {"done_before": False}


def _check_any_finished(trials: Trials) -> None:
    told = failures(trials.done)
    if len(told) == len(trials.done):
        trials.forget()
        raise UserError(
            f"All {len(told)} trials failed:\n  " + "\n  ".join(told[:5]) + "\nChange "
            "what they name; the same command tries them again."
        )


def _write(staging: Path, config: TuneConfig, trials: list[Trial]) -> None:
    objective = config.search.objective
    best = ranked(trials, objective)[0]
    found = config.trial(best.values).model_dump(mode="json")
    write_json(staging / TRIALS, [trial.public() for trial in trials])
    write_text(staging / "trials.csv", trials_csv(trials))
    write_text(staging / "report.txt", trials_report(trials, objective))
    write_text(
        staging / BEST,
        f"# reviewbeam train --config {BEST} --dataset DATASET --output MODEL\n"
        f"# Of {len(trials)} trials the best, number {best.number}: {objective} "
        f"{best.figure(objective):.4f} on the validation split.\n"
        + yaml.safe_dump(found, sort_keys=False, allow_unicode=True),
    )


def _check_objective(config: TuneConfig, data: Dataset) -> None:
    where = f"the dataset {str(data.path)!r}"
    if not data.splits["validation"]["examples"]:
        raise UserError(
            f"A tuning needs validation examples, and {where} has none. Prepare again "
            "with a larger split.validation."
        )
    if config.search.objective == "error" and data.labels.type != "ordinal":
        raise UserError(
            "search.objective is 'error', which ordinal labels have; those of "
            f"{where} are {data.labels.type}. Set macro_f1, accuracy or loss."
        )


def _fingerprint(config: TuneConfig, data: Dataset) -> str:
    """Identifies the job's inputs: what they contain, not where they lie."""
    encoders = [config.train.encoder, *config.space.get("encoder", ())]
    return fingerprint(
        {
            "recipe": RECIPE,
            "config": config.model_dump(
                mode="json",
                exclude={"train": {"encoder": True, "training": {"checkpoint_steps"}}},
            ),
            "dataset": data.fingerprint,
            "encoders": [open_encoder(path).content for path in encoders],
        }
    )


def _summary(output: Path) -> dict[str, Any]:
    manifest = read_manifest(output, KIND)
    trials = [Trial.of_public(trial) for trial in read_json(output / TRIALS)]
    order = [trial.public() for trial in ranked(trials, manifest["objective"])]
    return {
        "output": str(output),
        "fingerprint": manifest["fingerprint"],
        "objective": manifest["objective"],
        "best": order[0],
        "trials": order,
    }
