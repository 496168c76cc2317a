"""`tune` and `train --init` on the command line; what they call is tested elsewhere."""

import importlib.util
import json

import pytest

from reviewbeam.components.common.artifacts import write_manifest
from reviewbeam.components.common.config import load_config
from reviewbeam.components.common.train_config import TrainConfig
from reviewbeam.components.trainer import train as train_module

METRICS = {"loss": 0.5, "accuracy": 0.75, "macro_f1": 0.625, "error": None}


@pytest.fixture
def tuning():
    return {
        "train": {"encoder": "e"},
        "search": {"method": "grid"},
        "space": {"training.learning_rate": [0.001, 0.002], "model.lora": [None]},
    }


@pytest.fixture
def run(command, write_config, tmp_path):
    """Returns a function that runs a job with a config and `data`, into `out`."""

    def run(job, config, *options):
        (tmp_path / "data").mkdir(exist_ok=True)
        write_manifest(tmp_path / "data", "dataset", "f", files=[])
        return command(
            job, "--config", write_config(config), "--dataset", tmp_path / "data",
            "--output", tmp_path / "out", *options,
        )  # fmt: skip

    return run


@pytest.fixture
def trained(monkeypatch):
    """Trains in no time; the arguments of each training."""
    calls = []

    def train(config, dataset, output, *, initial=None, overwrite=False):
        calls.append((config, dataset, output, initial))
        figures = {"accuracy": 0.5, "macro_f1": 0.4, "error": None}
        against = [
            {"language": name, "rows": 7, "before": figures, "after": METRICS}
            for name in ("de", None)
        ]
        return {
            "output": str(output),
            "done_before": False,
            "epochs": 3,
            "best_epoch": 2,
            "validation": METRICS,
            "against_initial": against if initial else None,
        }

    monkeypatch.setattr(train_module, "train", train)
    return calls


@pytest.fixture
def tuned(monkeypatch):
    """Tunes in no time, and writes best.yaml."""
    from reviewbeam.components.trainer import tuning
    from reviewbeam.components.trainer.trials import Trial

    def tune(config, dataset, output, *, overwrite=False):
        values = [{"training.learning_rate": r, "model.lora": None} for r in (1, 2)]
        best = Trial(2, values[1], {}, METRICS, None, 3, 2, 12.5).public()
        failed = Trial(1, values[0], {}, failure="its loss is nan").public()
        output.mkdir()
        (output / "best.yaml").write_text("encoder: e\ntraining: {learning_rate: 2}\n")
        return {
            "output": str(output),
            "objective": config.search.objective,
            "best": best,
            "trials": [best, failed],
        }

    monkeypatch.setattr(tuning, "tune", tune)


def test_a_typo_in_the_space(run, tuning, tmp_path):
    tuning["space"]["training.learning_rat"] = [0.1]
    code, _, err = run("tune", tuning)
    assert code == 2
    assert "'training.learning_rat' is no key of train" in err
    assert "did you mean 'training.learning_rate'" in err
    assert not (tmp_path / "out").exists()


def test_keras_tuner_is_missing(run, tuning, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: None if n == "keras_tuner" else find(n)
    )
    code, _, err = run("tune", tuning)
    assert code == 2
    assert "pip install 'reviewbeam[tune]'" in err


def test_a_missing_dataset(run, tuning, tmp_path, tiny_encoder):
    tuning["train"]["encoder"] = str(tiny_encoder)
    code, _, err = run("tune", tuning)
    assert code == 2 and "data" in err and "Traceback" not in err
    assert not list(tmp_path.glob("out*"))


def test_the_trials_are_shown_and_the_best_is_trained(
    run, tuning, tuned, trained, tmp_path
):
    code, out, _ = run("tune", tuning, "--train-best", tmp_path / "model", "--json")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == (
        "Tuning: 2 trials, 1 of them failed; the best is trial 2, macro_f1 0.6250"
    )
    assert lines[1].split()[:3] == ["trial", "macro_f1", "accuracy"]
    assert lines[2].split() == (
        ["2", "0.6250", "0.7500", "0.5000", "2", "of", "3", "12", "None", "2"]
    )
    assert lines[3].split() == ["1", "failed", "0", "None", "1"]
    assert "  trial 1 failed: its loss is nan" in lines
    assert json.loads(lines[-1])["model"]["best_epoch"] == 2
    ((config, dataset, output, initial),) = trained
    assert config == load_config(TrainConfig, str(tmp_path / "out" / "best.yaml"))
    assert config.training.learning_rate == 2
    assert (dataset, output) == (tmp_path / "data", tmp_path / "model")
    assert initial is None


def test_without_train_best_nothing_is_trained(run, tuning, tuned, trained):
    assert run("tune", tuning)[0] == 0
    assert trained == []


def test_train_begins_with_a_model_and_tells_what_changed(run, trained, tmp_path):
    code, out, _ = run("train", {"encoder": "e"}, "--init", tmp_path / "earlier")
    assert code == 0
    assert trained[0][3] == tmp_path / "earlier"
    rows = [line.split() for line in out.splitlines()[2:5]]
    assert rows == [
        ["language", "rows", "accuracy", "macro", "F1"],
        ["de", "7", "0.500", "->", "0.750", "0.400", "->", "0.625"],
        ["unknown", "7", "0.500", "->", "0.750", "0.400", "->", "0.625"],
    ]


def test_train_without_init_compares_nothing(run, trained):
    code, out, _ = run("train", {"encoder": "e"})
    assert code == 0 and trained[0][3] is None
    assert "->" not in out
