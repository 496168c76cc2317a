"""Models in service: promoted, gone back from, and pinned by the jobs that use them."""

import json
import shutil

import pandas as pd
import pytest
import yaml

from reviewbeam.components.common.blessed import write_blessing
from reviewbeam.components.common.errors import ModelGateError
from reviewbeam.components.common.model_directory import model_name, open_model
from reviewbeam.components.common.models_folder import pinned, promote, read_serving
from reviewbeam.components.common.score_config import ScoreConfig
from reviewbeam.pipelines import serving
from reviewbeam.pipelines.serving import model_to_score_with
from tests.pipelines.conftest import SAMPLE
from tests.pipelines.fake_models import write_model
from tests.pipelines.test_blessing import FIXED
from tests.pipelines.test_poisoned_models import change_json, rehash


@pytest.fixture(scope="module")
def sources(dataset, tiny_encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving")
    return [
        write_model(folder / name, dataset, tiny_encoder, {"temperature": temperature})
        for name, temperature in [("a", 1.0), ("b", 2.0)]
    ]


@pytest.fixture
def blessed(sources, tmp_path):
    copies = [shutil.copytree(path, tmp_path / path.name) for path in sources]
    for path in copies:
        write_blessing(path, {"evaluation": path.name, "date": "2026-01-01T00:00:00Z"})
    return copies


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


def name_of(path):
    return model_name(open_model(str(path)).content_fingerprint)


def test_promote_and_rollback_say_what_is_in_service(command, blessed, models):
    a, b = map(name_of, blessed)
    code, out, _ = command("promote", blessed[0], "--models", models)
    assert code == 0 and f"In service: {a}\n" in out and "before it: none" in out
    code, out, _ = command("promote", blessed[1], "--models", models, "--json")
    assert code == 0 and f"before it: {a}" in out
    told = json.loads(out.splitlines()[-1])
    assert (told["current"], told["previous"], told["done_before"]) == (b, [a], False)
    code, out, _ = command("promote", blessed[1], "--models", models)
    assert code == 0 and f"In service: {b}, as before" in out

    code, out, _ = command("rollback", "--models", models)
    assert code == 0 and f"In service: {a}, no longer {b}" in out
    code, _, err = command("rollback", "--models", models)
    assert code == 2 and f"{a} is in service" in err and "nothing to go back to" in err


def test_an_unblessed_model_needs_force(command, sources, models):
    code, _, err = command("promote", sources[0], "--models", models)
    assert code == 4 and "not blessed" in err and "reviewbeam evaluate" in err
    code, *_ = command("promote", sources[0], "--models", models, "--force")
    assert code == 0 and pinned(models).name == name_of(sources[0])


def test_a_model_or_folder_that_is_none(command, models, tmp_path):
    for arguments in (
        ["promote", tmp_path, "--models", models],
        ["rollback", "--models", models],
        ["rollback"],
        ["promote", tmp_path],
        ["promote", tmp_path, "--models", "gs://bucket/models"],
    ):
        code, _, err = command(*arguments)
        assert code == 2 and err.startswith("reviewbeam: ")


def score(command, write_config, model, output, **config):
    columns = {"text": "text", "id": "id", "language": "language"}
    return command(
        "score", "--config", write_config({"columns": columns} | FIXED | config),
        "--model", model, "--output", output,
        "--input", SAMPLE / "new_arrivals.jsonl",
    )  # fmt: skip


def test_score_and_predict_take_what_is_in_service(
    command, write_config, blessed, models, tmp_path
):
    promote(blessed[0], models)
    code, out, err = score(command, write_config, models, tmp_path / "scores")
    assert code == 0 and "warning" not in err
    run = json.loads((tmp_path / "scores" / "_run.json").read_text())
    assert run["model"] == str(models / name_of(blessed[0]))
    by_folder = command("predict", "--model", models, "--json", "good", "bad")
    by_model = command("predict", "--model", blessed[0], "--json", "good", "bad")
    assert by_folder == by_model

    promote(blessed[1], models)
    assert score(command, write_config, models, tmp_path / "scores")[0] == 0
    scores = pd.read_parquet(tmp_path / "scores")
    assert scores["model_version"].nunique() == 2  # another model, other scores


def test_evaluate_takes_what_is_in_service(
    command, write_config, blessed, models, dataset, tmp_path
):
    promote(blessed[0], models)
    code, *_ = command(
        "evaluate", "--config", write_config(FIXED),
        "--model", blessed[1], "--baseline", models, "--dataset", dataset,
        "--output", tmp_path / "evaluation",
    )  # fmt: skip
    assert code == 0
    verdict = json.loads((tmp_path / "evaluation" / "blessing.json").read_text())
    assert name_of(blessed[0]) == model_name(verdict["baseline"])
    (models / "SERVING").write_text("{")
    code, _, err = command("predict", "--model", models, "good")
    assert code == 2 and "SERVING is damaged" in err


def test_score_demands_a_blessing_of_what_is_in_service(
    command, write_config, sources, models, tmp_path
):
    promote(sources[0], models, force=True)
    output = tmp_path / "scores"
    code, _, err = score(command, write_config, models, output)
    assert code == 4 and "not blessed" in err and "require_blessing: false" in err
    assert not output.exists()
    code, _, err = score(command, write_config, models, output, require_blessing=False)
    assert code == 0 and "not blessed" not in err


def test_score_warns_of_any_other_model(command, write_config, sources, tmp_path):
    output = tmp_path / "scores"
    code, _, err = score(command, write_config, sources[0], output)
    assert code == 0
    assert (
        "warning" in err
        and f"reviewbeam evaluate --config CONFIG --model {sources[0]}" in err
    )
    code, _, err = score(
        command, write_config, sources[0], output, require_blessing=True
    )
    assert code == 4 and "not blessed" in err
    code, out, err = score(
        command, write_config, sources[0], output, require_blessing=False
    )
    assert code == 0 and "warning" not in err
    assert "scored before: 1 file;" in out  # no score depends on it


def test_a_blessing_of_another_model_counts_for_nothing(blessed):
    shutil.copy(blessed[0] / "BLESSED", blessed[1])
    columns = {"text": "text", "id": "id"}
    config = ScoreConfig.model_validate({"columns": columns, "require_blessing": True})
    assert model_to_score_with(config, blessed[0]) == blessed[0]
    with pytest.raises(ModelGateError):
        model_to_score_with(config, blessed[1])


# What `run` does with a new model; its training is a copy here.


@pytest.fixture
def run(command, configs, dataset, monkeypatch, tmp_path, models):
    """Returns a function that runs all jobs, with a model in place of training.

    The dataset is there already, as if from an earlier run.
    """
    from reviewbeam.pipelines import run as module

    shutil.copytree(dataset, tmp_path / "run" / "dataset")

    def run(trained, blessing, *more, scored=True):
        def train(config, dataset, output, *, overwrite):
            if not output.exists() or overwrite:
                shutil.rmtree(output, ignore_errors=True)
                shutil.copytree(trained, output)
            return {
                "output": str(output), "epochs": 1, "best_epoch": 1,
                "validation": None, "against_initial": None, "report": None,
            }  # fmt: skip

        monkeypatch.setattr(module, "train_and_report", train)
        data = {job: configs[job] for job in ("prepare", "train", "score")}
        data["prepare"] = data["prepare"] | {
            "input": [str(SAMPLE / "reviews.jsonl"), str(SAMPLE / "broken.jsonl")]
        }
        arrivals = {"input": [str(SAMPLE / "new_arrivals.jsonl")]}
        data["score"] = data["score"] | arrivals | FIXED if scored else None
        data |= {"output": str(tmp_path / "run"), "models": str(models)}
        resamples = {"bootstrap": {"resamples": 50}}
        data["evaluate"] = {
            "blessing": {"min_rows": 50} | blessing,
            **resamples,
            **FIXED,
        }
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump(data))
        return command("run", "--config", path, *more)

    return run


LENIENT = {"min": {"accuracy": 0.0}}


def test_run_promotes_what_is_blessed_and_does_nothing_twice(
    run, sources, models, tmp_path
):
    a, b = map(name_of, sources)
    code, out, err = run(sources[0], LENIENT, "--json")
    assert code == 0, err
    assert read_serving(models).current == a
    assert (
        json.loads(out.splitlines()[-1])["metrics"]["blessing"]["verdict"] == "blessed"
    )
    used = json.loads((tmp_path / "run/scores/_run.json").read_text())["model"]
    assert used == str(models / a)

    def state():
        return {
            p: p.stat().st_mtime_ns
            for p in [*models.rglob("*"), *(tmp_path / "run").rglob("*")]
            if p.is_file() and p.name != "_run.json"
        }

    before = state()
    assert run(sources[0], LENIENT)[0] == 0
    assert state() == before

    assert run(sources[1], LENIENT, "--overwrite")[0] == 0
    assert (read_serving(models).current, read_serving(models).previous) == (b, (a,))
    verdict = json.loads((tmp_path / "run/evaluation/blessing.json").read_text())
    assert model_name(verdict["baseline"]) == a  # the one that was in service
    before = state()
    assert run(sources[1], LENIENT)[0] == 0
    assert state() == before


def test_run_keeps_the_old_model_where_the_new_one_is_not_blessed(
    run, sources, models, tmp_path
):
    assert run(sources[0], LENIENT)[0] == 0
    scored = sorted((tmp_path / "run/scores").rglob("*.parquet"))
    for _ in range(2):  # the second finds it done, and says no again
        code, out, err = run(sources[1], {"min": {"accuracy": 1.0}}, "--overwrite")
        assert code == 4
        assert "Verdict: not blessed" in out and "nothing was scored" in err
        assert f"{name_of(sources[0])} stays in service" in " ".join(err.split())
        assert read_serving(models).current == name_of(sources[0])
        assert sorted((tmp_path / "run/scores").rglob("*.parquet")) == scored


def test_run_says_no_to_the_model_in_service_too(run, sources, models, tmp_path):
    assert run(sources[0], LENIENT)[0] == 0
    shutil.rmtree(tmp_path / "run" / "scores")
    for _ in range(2):
        code, out, err = run(sources[0], {"min": {"accuracy": 1.0}}, "--overwrite")
        assert code == 4
        assert "Verdict: not blessed" in out and "nothing was scored" in err
        assert "is not blessed: 1 of 1 rules" in " ".join(err.split())
        assert "It stays there" in err and "rollback" not in err
        assert read_serving(models).current == name_of(sources[0])
        assert not (tmp_path / "run" / "scores").exists()


def test_run_of_a_first_model_that_is_not_blessed(run, sources, models, tmp_path):
    shutil.rmtree(tmp_path / "run/dataset")  # `run` makes it anew
    code, _, err = run(sources[0], {"min": {"accuracy": 1.0}})
    assert code == 4 and "no model is in service" in err
    assert (tmp_path / "run/dataset/_SUCCESS").is_file()
    assert not models.exists()


def test_run_may_leave_the_scoring_to_another_job(run, sources, models, tmp_path):
    for _ in range(2):
        code, out, err = run(sources[0], LENIENT, "--json", scored=False)
        assert code == 0, err
        result = json.loads(out.splitlines()[-1])
        assert (result["scores"], result["refused"]) == (None, None)
        assert result["in_service"] == read_serving(models).current
    assert (
        run(sources[1], {"min": {"accuracy": 1.0}}, "--overwrite", scored=False)[0] == 4
    )
    assert read_serving(models).current == name_of(sources[0])
    assert not (tmp_path / "run/scores").exists()


def test_run_does_not_undo_a_rollback(run, command, sources, models):
    for source in sources:
        assert run(source, LENIENT, "--overwrite")[0] == 0
    assert command("rollback", "--models", models)[0] == 0
    code, _, err = run(sources[1], LENIENT)
    assert code == 4 and "rollback took it out" in err and "reviewbeam promote" in err
    assert read_serving(models).current == name_of(sources[0])


def test_run_goes_on_from_a_model_of_another_kind_by_force(
    run, command, sources, blessed, models
):
    change_json(
        blessed[1] / "model.json",
        lambda data: data["text"].update(truncate="head_tail"),
    )
    rehash(blessed[1])
    assert command("promote", blessed[1], "--models", models, "--force")[0] == 0
    code, _, err = run(sources[0], LENIENT)
    assert code == 2 and "The baseline" in err and "text rules differ" in err
    assert command("promote", sources[0], "--models", models, "--force")[0] == 0
    assert run(sources[0], {"min": {"accuracy": 1.0}})[0] == 4  # not blessed yet
    assert run(sources[0], LENIENT, "--overwrite")[0] == 0
    assert read_serving(models).current == name_of(sources[0])


def test_run_needs_rules_for_a_models_folder(command, write_config, configs, models):
    data = {job: configs[job] for job in ("prepare", "train", "score")}
    data |= {"output": "out", "models": str(models)}
    code, _, err = command("run", "--config", write_config(data))
    assert code == 2 and "evaluate.blessing" in err


def test_a_blessing_taken_back_promotes_nothing(blessed, models):
    (blessed[0] / "BLESSED").unlink()
    yes = {"verdict": "blessed", "reason": None}
    told = serving.promote_blessed(blessed[0], models, yes)
    assert "a later evaluation took its blessing back" in told
    assert not models.exists()
