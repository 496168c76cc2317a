"""A gold set: evaluated as a whole, and never trained on."""

import json
from pathlib import Path

import pandas as pd
import pytest

from reviewbeam.components.common.errors import UserError
from reviewbeam.pipelines.quantize import quantize
from tests.pipelines.fake_models import write_model
from tests.pipelines.test_prepare_rules import (
    reviews,
    run_command,
    run_prepare,
    settings,
    write,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_encoder):
    """A folder with a dataset, a gold set of other reviews, and a model."""
    folder = tmp_path_factory.mktemp("gold")
    for name, first, changes in (("dataset", 0, {}), ("gold", 500, {"gold": True})):
        corpus = write(folder / f"{name}.jsonl", reviews(60, first))
        prepared = run_prepare(
            folder, settings(tiny_encoder, corpus, **changes), name=name
        )
        assert prepared.code == 0, prepared.err
        assert prepared.manifest["gold"] == (name == "gold")
    calibration = {"temperature": 1.0}
    write_model(folder / "model", folder / "dataset", Path(tiny_encoder), calibration)
    (folder / "evaluate.yaml").write_text("bootstrap: {resamples: 20}\n")
    given = "engine: tensorflow, batch_tokens: 4096"  # not to be measured
    (folder / "gold.yaml").write_text(
        f"bootstrap: {{resamples: 20}}\ninference: {{{given}}}\n"
    )
    return folder


def _evaluate(folder, name, *arguments, config="gold"):
    config = ["--config", folder / f"{config}.yaml", "--model", folder / "model"]
    return run_command("evaluate", *config, *arguments, output=folder / name)


def test_every_row_is_evaluated(made):
    found = _evaluate(made, "all", "--gold", made / "gold")
    assert found.code == 0, found.err
    frame = pd.read_parquet(found.output / "predictions")
    metrics = json.loads((found.output / "metrics.json").read_text())

    assert sorted(frame["id"]) == [f"r{n:04}" for n in range(500, 560)]
    assert (metrics["split"], metrics["gold"], metrics["overall"]["rows"]) == (
        "all",
        True,
        60,
    )
    assert (found.manifest["split"], found.manifest["gold"]) == ("all", True)
    assert "Evaluation on the gold set" in found.out


def test_as_a_plain_dataset_its_split_is(made):
    # With what is fastest here: engine and budget are left to the job.
    found = _evaluate(made, "split", "--dataset", made / "gold", config="evaluate")
    assert found.code == 0, found.err
    rows = len(pd.read_parquet(found.output / "predictions"))
    gold = json.loads((made / "gold" / "manifest.json").read_text())
    assert rows == gold["splits"]["test"]["examples"] < 60
    assert (found.manifest["split"], found.manifest["gold"]) == ("test", False)


def test_a_dataset_that_training_may_use_is_no_gold_set(made):
    found = _evaluate(made, "none", "--gold", made / "dataset")
    assert found.code == 2
    assert "is no gold set: training may use it" in found.err
    assert not found.output.exists()


@pytest.mark.parametrize("arguments", [[], ["--gold", "a", "--dataset", "b"]])
def test_one_of_the_two_is_given(made, arguments):
    found = _evaluate(made, "both", *arguments)
    assert found.code == 2
    assert "--dataset" in found.err and "--gold" in found.err


def test_train_refuses_it(made, tiny_encoder):
    config = made / "train.yaml"
    config.write_text(f"encoder: {tiny_encoder}\n")
    found = run_command(
        "train", "--config", config, "--dataset", made / "gold", output=made / "m"
    )
    assert found.code == 2
    assert "is a gold set" in found.err and "no training may use" in found.err
    assert not found.output.exists()


def test_quantize_refuses_it(made):
    with pytest.raises(UserError, match="is a gold set .* only evaluated on"):
        quantize(made / "model", made / "gold")
    assert not (made / "model" / "openvino-int8").exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("vocabulary_sha256", "0" * 64, "vocabulary differ"),
        ("language_detector", {"name": "other"}, "language detector differ"),
        ("labels", {"type": "ordinal"}, "label type differ"),
        (
            "labels",
            {"names": ["neutral", "negative", "positive"]},
            "label names differ",
        ),
        ("text", {"max_tokens": 65}, "text rules differ"),
        ("text", None, "not one that prepare wrote"),
    ],
)
def test_a_dataset_of_other_rules_is_refused(made, tmp_path, key, value, message):
    manifest = json.loads((made / "gold" / "manifest.json").read_text())
    if value is None:
        del manifest[key]
    else:
        own = manifest[key]
        manifest[key] = own | value if isinstance(own, dict) else value
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    found = _evaluate(made, "refused", "--gold", tmp_path)
    assert found.code == 2
    assert message in found.err
    assert not found.output.exists()
