"""Trainings that are killed, stopped or fail, and are then taken up.

More kills: `KILLS=10 python -m pytest tests/components/trainer/test_resume.py -k kill`.
"""

import json
import os
import random
import signal
import time

import numpy as np
import pytest

from reviewbeam.components.common.encoder_directory import open_encoder
from reviewbeam.components.common.errors import (
    ReviewbeamError,
    StoppedError,
    UserError,
)
from reviewbeam.components.common.train_config import TrainConfig
from tests.components.trainer.datasets import make_rows, write_dataset
from tests.pipelines.launches import Launch, write_yaml

KILLS = int(os.environ.get("KILLS", 3))


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def data(tiny_encoder, tmp_path_factory):
    """Path of a dataset of three languages, one of them not known."""
    splits = {"train": make_rows(300, seed=1), "validation": make_rows(60, seed=2)}
    return write_dataset(
        tmp_path_factory.mktemp("resume") / "dataset",
        tiny_encoder,
        splits,
        languages=("en", "en", "en", "de", "en", ""),
    )


@pytest.fixture(scope="module")
def config_data(tiny_encoder):
    """Config data with all that a checkpoint must keep."""
    return {
        "encoder": str(tiny_encoder),
        "model": {"freeze_layers": 1, "hidden_units": 8},
        "sampling": {"alpha": 0.3},
        "training": {
            "epochs": 4,
            "batch_tokens": 128,
            "accumulation": 2,
            "learning_rate": 1e-2,
            "checkpoint_steps": 3,
            "patience": 2,
        },
    }


@pytest.fixture(scope="module")
def config(config_data):
    return TrainConfig.model_validate(config_data)


@pytest.fixture(scope="module")
def whole(config, data, train_quietly, tmp_path_factory):
    """Directory of a model whose training never stopped."""
    output = tmp_path_factory.mktemp("whole") / "model"
    train_quietly(config, data, output)
    return output


@pytest.fixture
def launch(config_data, data, tmp_path):
    """Returns a function that starts a training into `model`."""
    write_yaml(tmp_path / "train.yaml", config_data)

    def start():
        return Launch(
            tmp_path,
            *("train", "--config", tmp_path / "train.yaml", "--dataset", data),
            *("--output", tmp_path / "model"),
        )

    return start


@pytest.fixture
def steps(monkeypatch):
    """Returns a function that lets a step, counted from 1 in a process, fail."""
    from reviewbeam.components.trainer.step import TrainStep

    call = TrainStep.__call__

    def fail_at(number, failure):
        done = []

        def step(self, batches):
            done.append(1)
            return failure() if len(done) == number else call(self, batches)

        monkeypatch.setattr(TrainStep, "__call__", step)

    return fail_at


def die():
    raise Killed


def steps_saved(output):
    """The steps of the newest checkpoint, 0 without one."""
    folder = output.with_name(output.name + ".training")
    found = [path.name.partition("-")[2] for path in folder.glob("checkpoint-*")]
    return max((int(step) for step in found if step.isdigit()), default=0)


def results(output):
    metadata = json.loads((output / "model.json").read_text())
    history = json.loads((output / "history.json").read_text())
    return metadata["weights_sha256"], metadata["calibration"], history


def test_a_failed_training_goes_on_as_if_it_had_not(
    config, tiny_encoder, tmp_path, steps, monkeypatch, eager
):
    """A short one, which is written nowhere; the slow tests have whole ones."""
    from reviewbeam.components.trainer.checkpoint import Checkpoints
    from reviewbeam.components.trainer.dataset import open_dataset
    from reviewbeam.components.trainer.devices import training_strategy
    from reviewbeam.components.trainer.display import TrainingDisplay
    from reviewbeam.components.trainer.fitting import fit_classifier
    from reviewbeam.components.trainer.model import weights_sha256

    splits = {"train": make_rows(40, seed=1), "validation": make_rows(20, seed=2)}
    languages = ("en", "en", "en", "de", "en", "")
    path = write_dataset(
        tmp_path / "dataset", tiny_encoder, splits, languages=languages
    )
    changes = {"epochs": 2, "batch_tokens": 256, "checkpoint_steps": 1}
    training = config.training.model_copy(update=changes)

    def fit(name):
        fitted = fit_classifier(
            config.model_copy(update={"training": training}),
            open_dataset(path),
            open_encoder(str(tiny_encoder)),
            training_strategy(),
            Checkpoints(tmp_path / name, "fingerprint"),
            TrainingDisplay(quiet=True),
        )
        assert fitted.progress.step == 4
        return weights_sha256(fitted.classifier), fitted.progress

    whole = fit("whole")
    for step in (2, 2, 2):  # in one epoch, between two, in the other one
        steps(step, die)
        with pytest.raises(Killed):
            fit("model")
        monkeypatch.undo()
    assert steps_saved(tmp_path / "model") == 3
    assert fit("model") == whole


@pytest.mark.slow
def test_kills_at_random_steps_change_nothing(whole, launch, tmp_path):
    output, random_ = tmp_path / "model", random.Random(KILLS)
    last = results(whole)[2]["epochs"][-1]["steps"]
    goals = sorted(random_.sample(range(1, last - 3), KILLS))
    for goal in goals:
        goal = max(goal, steps_saved(output) + 1)
        moment = random_.uniform(0, 0.02)  # seconds later: also while it is saving
        run = launch()

        def is_time(goal=goal, moment=moment):
            return steps_saved(output) >= goal and (time.sleep(moment) or True)

        assert run.kill_when(is_time), run.err
        assert run.end() == -signal.SIGKILL
        assert goal <= steps_saved(output)
        assert not output.exists()
    run = launch()
    assert run.end() == 0, run.err
    assert "going on from step" in run.err
    assert results(output) == results(whole)
    assert sorted(path.name for path in tmp_path.glob("model*")) == [
        "model",
        "model.log",
    ]


@pytest.mark.slow
def test_a_signal_saves_the_state_and_the_same_command_goes_on(
    whole, launch, config, data, train_quietly, tmp_path
):
    output = tmp_path / "model"
    run = launch()
    assert run.kill_when(lambda: steps_saved(output) > 0, signal.SIGTERM), run.err
    assert run.end() == 75
    step, total = steps_saved(output), 4 * 3 * 4
    assert f"reviewbeam: stopped by SIGTERM at step {step} of " in run.err
    assert "the state is saved, and the same command goes on from there." in run.err
    assert step < total and not output.exists()
    # How often the state is saved may change.
    training = config.training.model_copy(update={"checkpoint_steps": 500})
    train_quietly(config.model_copy(update={"training": training}), data, output)
    assert results(output) == results(whole)


@pytest.mark.slow
def test_a_failure_at_any_point_changes_nothing(
    whole, config, data, train_quietly, tmp_path, steps, monkeypatch
):
    from reviewbeam.components.trainer import checkpoint, writing

    output = tmp_path / "model"

    def dies():
        with pytest.raises(Killed):
            train_quietly(config, data, output)
        monkeypatch.undo()
        return steps_saved(output)

    steps(2, die)  # before the first checkpoint
    assert dies() == 0
    steps(5, die)
    assert dies() == 3
    rename, renames = os.rename, []

    def rename_no_second(source, target):
        renames.append(target)
        die() if len(renames) == 2 else rename(source, target)

    monkeypatch.setattr(checkpoint.os, "rename", rename_no_second)
    assert dies() == 6  # the next one is written and has no name
    save = checkpoint.Checkpoints.save
    monkeypatch.setattr(
        checkpoint.Checkpoints,
        "save",
        lambda self, state, variables: (
            die() if state["epoch"] else save(self, state, variables)
        ),
    )
    before_epoch = dies()  # the epoch's weights are kept, its checkpoint isn't
    assert (output.with_name("model.training") / "best-1").is_dir()
    monkeypatch.setattr(writing, "export_model", lambda *_: die())
    last = results(whole)[2]["epochs"][-1]["steps"]
    assert before_epoch < dies() == last
    # What is trained to its end is only written.
    steps(1, die)
    train_quietly(config, data, output)
    assert results(output) == results(whole)


def test_a_signal_in_the_last_step_of_an_epoch_is_heard(
    config, data, train_quietly, tmp_path, monkeypatch
):
    from reviewbeam.components.trainer.checkpoint import Checkpoints

    save = Checkpoints.save_best

    def save_and_signal(self, epoch, variables):
        save(self, epoch, variables)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Checkpoints, "save_best", save_and_signal)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StoppedError, match="stopped by SIGTERM at step") as stopped:
        train_quietly(config, data, tmp_path / "model")
    step = steps_saved(tmp_path / "model")
    assert f"at step {step} of" in str(stopped.value)
    assert stopped.value.exit_code == 75
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_checkpoint_of_another_config_is_refused(
    config, data, train_quietly, tmp_path, steps
):
    output = tmp_path / "model"
    steps(5, die)
    with pytest.raises(Killed):
        train_quietly(config, data, output)
    training = config.training.model_copy(update={"seed": 2})
    other = config.model_copy(update={"training": training})
    with pytest.raises(UserError, match=r"\(checkpoint-3\) of a training with another"):
        train_quietly(other, data, output)
    assert steps_saved(output) == 3  # nothing was lost
    steps(2, die)
    with pytest.raises(Killed):
        train_quietly(other, data, output, overwrite=True)
    assert steps_saved(output) == 0


def test_a_damaged_checkpoint_is_told(config, data, train_quietly, tmp_path, steps):
    output = tmp_path / "model"
    steps(5, die)
    with pytest.raises(Killed):
        train_quietly(config, data, output)
    file = tmp_path / "model.training" / "checkpoint-3" / "variables.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(UserError, match="checkpoint-3' can't be used .* Remove .*"):
        train_quietly(config, data, output)


def test_a_loss_that_is_no_number_ends_the_training_for_good(
    config, data, train_quietly, tmp_path, steps
):
    from reviewbeam.components.trainer.batches import plan_batches
    from reviewbeam.components.trainer.dataset import open_dataset
    from reviewbeam.components.trainer.input import read_split
    from reviewbeam.components.trainer.sampling import epoch_rows

    steps(5, lambda: float("nan"))
    with pytest.raises(ReviewbeamError, match="The loss of step 5 is nan") as error:
        train_quietly(config, data, tmp_path / "model")
    opened = open_dataset(data)
    split = read_split(data, "train", opened.splits["train"], opened.labels)
    rows = epoch_rows(split, config.sampling, 1, 0)
    plan = plan_batches(rows, split.lengths, 128, 1, 0)
    ids = split.example_ids(np.concatenate([plan.batch(8), plan.batch(9)]))
    shown = ", ".join(repr(example_id) for example_id in ids[:12])
    assert f"The batch's examples: {shown}" in str(error.value)
    assert error.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []  # the same command would fail again
