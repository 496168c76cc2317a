"""Tuning: trials that are kept, taken up, told; most without a real training."""

import csv
import json
import types

import pytest
import yaml

from reviewbeam.components.common.artifacts import check_files, read_manifest
from reviewbeam.components.common.config import check_config, load_config
from reviewbeam.components.common.errors import (
    ReviewbeamError,
    StoppedError,
    UserError,
)
from reviewbeam.components.common.train_config import TrainConfig
from reviewbeam.components.common.tune_config import TuneConfig
from reviewbeam.components.trainer import trial_runs
from reviewbeam.components.trainer.dataset import open_dataset
from reviewbeam.components.trainer.display import TrainingDisplay
from reviewbeam.components.trainer.metrics import ValidationMetrics
from reviewbeam.components.trainer.progress import Progress
from reviewbeam.components.trainer.tuning import tune
from tests.components.trainer.datasets import make_rows, write_dataset

RATES = [1e-4, 1e-3, 1e-2]
SPACE = {
    "training.learning_rate": RATES,
    "model.freeze_embeddings": [True, False],
    "model.freeze_layers": ["half", 0],
}


def quiet():
    return TrainingDisplay(quiet=True)


@pytest.fixture
def make_tuning(make_config):
    def make(space=SPACE, method="grid", model=None, training=None, **search):
        train = make_config(model, **(training or {})).model_dump()
        data = {"train": train, "search": {"method": method} | search, "space": space}
        return check_config(TuneConfig, data, "tune")

    return make


@pytest.fixture(scope="module")
def splits(dataset):
    return trial_runs.read_splits(open_dataset(dataset))


@pytest.fixture
def trained(monkeypatch, splits):
    """Trains in no time; the configs that were trained, in order.

    The macro F1 is best at a rate of 1e-3, and better with all layers.
    """
    configs = []
    monkeypatch.setattr(trial_runs, "read_splits", lambda data: splits)
    monkeypatch.setattr(trial_runs, "_free_memory", lambda: None)  # no model is made

    def fit(config, data, encoder, strategy, checkpoints, display, *, splits):
        assert len(splits["train"]) and len(splits["validation"])
        configs.append(config)
        f1 = {1e-4: 0.5, 1e-3: 0.7, 1e-2: 0.6}[config.training.learning_rate]
        f1 += 0.05 * (config.model.freeze_layers == 0)
        best = ValidationMetrics(loss=1 - f1, accuracy=f1 / 2, macro_f1=f1)
        progress = Progress(history=[{}, {}, {}], best_epoch=2, best=best)
        return types.SimpleNamespace(progress=progress)

    monkeypatch.setattr(trial_runs, "fit_classifier", fit)
    return configs


def test_trials_are_published_best_first(make_tuning, dataset, trained, tmp_path):
    output = tmp_path / "tuning"
    summary = tune(make_tuning(), dataset, output, displays=quiet)

    assert len(trained) == 9 and len(summary["trials"]) == 12
    figures = [t["metrics"] and t["metrics"]["macro_f1"] for t in summary["trials"]]
    assert figures == [0.75, 0.75, 0.7, 0.65, 0.65, 0.6, 0.55, 0.55, 0.5] + [None] * 3
    assert summary["best"]["values"] == {
        "training.learning_rate": 1e-3,
        "model.freeze_embeddings": True,  # of equals the first
        "model.freeze_layers": 0,
    }
    failed = summary["trials"][-1]
    assert failed["status"] == "failed"
    assert "set freeze_layers: 0" in failed["failure"]
    assert failed["values"]["model.freeze_embeddings"] is False
    assert failed["values"]["model.freeze_layers"] == "half"

    assert {path.name for path in tmp_path.iterdir()} == {"tuning"}
    manifest = read_manifest(output, "tuning")
    assert set(manifest["files"]) == {
        "best.yaml", "report.txt", "trials.csv", "trials.json",
    }  # fmt: skip
    check_files(output, manifest["files"], "tuning")
    trials = json.loads((output / "trials.json").read_text())
    assert [trial["number"] for trial in trials] == list(range(1, 13))
    assert trials[0]["epochs"] == 3 and trials[0]["best_epoch"] == 2
    rows = list(csv.DictReader((output / "trials.csv").read_text().splitlines()))
    assert [row["training.learning_rate"] for row in rows[::4]] == [
        "0.0001", "0.001", "0.01",
    ]  # fmt: skip
    assert [float(row["macro_f1"] or 0) for row in rows[:4]] == [0.5, 0.55, 0, 0.55]
    lines = (output / "report.txt").read_text().splitlines()
    assert lines[0].split()[:3] == ["trial", "macro_f1", "accuracy"]
    assert lines[1].split()[:2] == [str(summary["best"]["number"]), "0.7500"]
    assert lines[-1].startswith("trial 11 failed: This combination can't be used")


def test_best_yaml_is_a_config_of_train(make_tuning, dataset, trained, tmp_path):
    config = make_tuning(training={"epochs": 9})
    tune(config, dataset, tmp_path / "tuning", displays=quiet)
    best = load_config(TrainConfig, str(tmp_path / "tuning" / "best.yaml"))
    assert best.training.learning_rate == 1e-3 and best.training.epochs == 9
    assert best.model.freeze_layers == 0
    assert best in trained


@pytest.mark.parametrize(
    ("objective", "rate"), [("loss", 1e-3), ("accuracy", 1e-3), ("macro_f1", 1e-3)]
)
def test_less_loss_is_better(make_tuning, dataset, trained, tmp_path, objective, rate):
    config = make_tuning({"training.learning_rate": RATES}, objective=objective)
    summary = tune(config, dataset, tmp_path / "tuning", displays=quiet)
    assert summary["best"]["values"]["training.learning_rate"] == rate
    assert summary["trials"][-1]["values"]["training.learning_rate"] == 1e-4


def test_a_finished_tuning_is_not_run_again(make_tuning, dataset, trained, tmp_path):
    output = tmp_path / "tuning"
    first = tune(make_tuning(), dataset, output, displays=quiet)
    again = tune(make_tuning(), dataset, output, displays=quiet)
    assert len(trained) == 9
    assert again == first | {"done_before": True}
    with pytest.raises(UserError, match="--overwrite"):
        tune(make_tuning(trials=3), dataset, output, displays=quiet)
    tune(make_tuning(trials=3), dataset, output, displays=quiet, overwrite=True)
    assert len(json.loads((output / "trials.json").read_text())) == 3


@pytest.mark.parametrize(
    "error", [StoppedError("stop"), KeyboardInterrupt(), OSError()]
)
def test_a_stopped_tuning_goes_on(
    make_tuning, dataset, trained, tmp_path, monkeypatch, error
):
    whole = tune(make_tuning(), dataset, tmp_path / "whole", displays=quiet)
    expected = list(trained)
    trained.clear()
    fit = trial_runs.fit_classifier

    def stops(config, *arguments, **options):
        if len(trained) == 4:
            raise error
        return fit(config, *arguments, **options)

    monkeypatch.setattr(trial_runs, "fit_classifier", stops)
    output = tmp_path / "tuning"
    with pytest.raises(type(error)):
        tune(make_tuning(), dataset, output, displays=quiet)
    assert not output.exists()
    with pytest.raises(UserError, match="holds the trials of a tuning .*--overwrite"):
        tune(make_tuning(trials=9), dataset, output, displays=quiet)
    monkeypatch.setattr(trial_runs, "fit_classifier", fit)
    summary = tune(make_tuning(), dataset, output, displays=quiet)
    assert trained == expected  # none of them twice
    assert [t["values"] for t in summary["trials"]] == [
        t["values"] for t in whole["trials"]
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "tuning"}


def test_a_training_that_diverges_is_a_failed_trial(
    make_tuning, dataset, trained, tmp_path, monkeypatch
):
    fit = trial_runs.fit_classifier

    def diverges(config, *arguments, **options):
        if config.training.learning_rate == 1e-3:
            raise ReviewbeamError("The loss of step 2 is nan.\nTry less.")
        return fit(config, *arguments, **options)

    monkeypatch.setattr(trial_runs, "fit_classifier", diverges)
    config = make_tuning({"training.learning_rate": RATES})
    summary = tune(config, dataset, tmp_path / "tuning", displays=quiet)
    assert summary["best"]["values"] == {"training.learning_rate": 1e-2}
    assert summary["trials"][-1]["failure"] == "The loss of step 2 is nan. Try less."


def test_a_tuning_without_a_finished_trial_publishes_nothing(
    make_tuning, dataset, trained, tmp_path, monkeypatch
):
    def fails(*arguments, **options):
        raise UserError("no memory")

    fit = trial_runs.fit_classifier
    monkeypatch.setattr(trial_runs, "fit_classifier", fails)
    config = make_tuning({"training.learning_rate": RATES})
    with pytest.raises(UserError, match="All 3 trials failed:\n  trial 1 failed: no m"):
        tune(config, dataset, tmp_path / "tuning", displays=quiet)
    assert not (tmp_path / "tuning").exists()
    monkeypatch.setattr(trial_runs, "fit_classifier", fit)
    tune(config, dataset, tmp_path / "tuning", displays=quiet)
    assert len(trained) == 3  # what failed is tried again


@pytest.mark.parametrize("name", ["open_encoder", "read_splits", "training_strategy"])
def test_what_the_machine_lacks_is_no_failed_trial(
    make_tuning, dataset, trained, tmp_path, monkeypatch, name
):
    def fails(*arguments, **options):
        raise UserError("not there")

    config = make_tuning({"training.learning_rate": RATES})
    with monkeypatch.context() as patch:
        patch.setattr(trial_runs, name, fails)
        with pytest.raises(UserError, match="^not there$"):
            tune(config, dataset, tmp_path / "tuning", displays=quiet)
    assert not trained
    summary = tune(config, dataset, tmp_path / "tuning", displays=quiet)
    assert [t["failure"] for t in summary["trials"]] == [None] * 3


def test_a_checkpoint_stays_until_its_trial_is_kept(
    make_tuning, dataset, trained, tmp_path, monkeypatch
):
    config = make_tuning({"training.learning_rate": RATES})
    write, kept = trial_runs.write_json, []

    def watched(path, data):
        kept.append([folder.name for folder in path.parent.glob("*.training")])
        write(path, data)

    monkeypatch.setattr(trial_runs, "write_json", watched)
    tune(config, dataset, tmp_path / "tuning", displays=quiet)
    # One at a time: it is there when the trial is written, and gone after that.
    assert kept == [["trial-1.training"], ["trial-2.training"], ["trial-3.training"]]


def test_the_same_values_are_trained_once(
    make_tuning, dataset, trained, tmp_path, monkeypatch
):
    def search(config, known, run, folder):
        points = [0, 1, 0]
        figures = [
            run(number, {"training.learning_rate": point})
            for number, point in enumerate(points, 1)
        ]
        assert figures == [0.55, 0.75, 0.55]

    monkeypatch.setattr("reviewbeam.components.trainer.tuning.search", search)
    config = make_tuning({"training.learning_rate": RATES})
    summary = tune(config, dataset, tmp_path / "tuning", displays=quiet)
    assert len(trained) == 2
    assert [(t["number"], t["same_as"]) for t in summary["trials"]] == [
        (2, None), (1, None), (3, 1),
    ]  # fmt: skip


def test_what_can_not_be_compared_is_refused(
    make_tuning, make_config, dataset, tiny_encoder, tmp_path
):
    output = tmp_path / "tuning"
    with pytest.raises(UserError, match="'error', which ordinal labels have"):
        tune(make_tuning(objective="error"), dataset, output)
    bare = write_dataset(
        tmp_path / "data", tiny_encoder, {"train": make_rows(30, seed=1)}
    )
    with pytest.raises(UserError, match="needs validation examples"):
        tune(make_tuning(training={"early_stopping_metric": "none"}), bare, output)
    assert not output.exists()


REAL = {
    "space": {"training.learning_rate": [1e-5, 1e-2]},
    "model": {"freeze_layers": 2},
    "training": {"epochs": 1, "batch_tokens": 1024, "checkpoint_steps": 1},
}


def plain(trials):
    return [trial | {"seconds": 0} for trial in trials]


def test_a_killed_trial_ends_as_if_it_was_not(
    make_tuning, binary_dataset, tmp_path, eager
):
    """Two real trials, the second one killed between its checkpoints."""
    config = make_tuning(**REAL)
    notes, steps = [], []

    class Display(TrainingDisplay):
        def __init__(self):
            super().__init__(quiet=True)

        def note(self, text):
            notes.append(text)

        def step(self, *arguments, **options):
            super().step(*arguments, **options)
            steps.append(1)
            if kill_at == len(steps):
                raise KeyboardInterrupt

    kill_at = None
    whole = tune(config, binary_dataset, tmp_path / "whole", displays=Display)
    total, notes[:] = len(steps), []
    kill_at = total - 1
    steps.clear()
    with pytest.raises(KeyboardInterrupt):
        tune(config, binary_dataset, tmp_path / "tuning", displays=Display)
    kill_at = None
    summary = tune(config, binary_dataset, tmp_path / "tuning", displays=Display)
    assert sum(line.startswith("going on from step") for line in notes) == 1
    assert len(steps) < total + 4  # the first trial was not repeated
    assert plain(summary["trials"]) == plain(whole["trials"])


@pytest.mark.slow
def test_a_trial_is_what_train_would_give(
    make_tuning, binary_dataset, train_quietly, tmp_path
):
    output = tmp_path / "tuning"
    summary = tune(make_tuning(**REAL), binary_dataset, output, displays=quiet)
    best = yaml.safe_load((output / "best.yaml").read_text())
    model = train_quietly(TrainConfig(**best), binary_dataset, tmp_path / "model")
    assert model["validation"] == summary["best"]["metrics"]
