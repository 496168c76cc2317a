"""The configs that users copy are ones that the jobs take."""

from pathlib import Path

import pytest

from reviewbeam.components.common.config import load_config
from reviewbeam.components.common.evaluate_config import EvaluateConfig
from reviewbeam.components.common.prepare_config import PrepareConfig
from reviewbeam.components.common.run_config import RunConfig
from reviewbeam.components.common.score_config import ScoreConfig
from reviewbeam.components.common.train_config import TrainConfig
from reviewbeam.components.common.tune_config import TuneConfig

CONFIGS = Path(__file__).parents[2] / "configs"
TYPES = {
    "prepare": PrepareConfig,
    "train": TrainConfig,
    "tune": TuneConfig,
    "evaluate": EvaluateConfig,
    "score": ScoreConfig,
    "quickstart": RunConfig,
    "weekly": RunConfig,
}


@pytest.mark.parametrize(
    "path",
    sorted(path for path in CONFIGS.rglob("*.yaml") if "beam" not in path.parts),
    ids=lambda path: path.relative_to(CONFIGS).as_posix(),
)
def test_a_config_is_taken(path):
    config = load_config(TYPES[path.stem], str(path))
    if path.parent == CONFIGS and path.stem in ("prepare", "train"):
        assert config.encoder == "hf://FacebookAI/xlm-roberta-base"
    if path.stem == "tune":
        twin = load_config(TrainConfig, str(path.with_name("train.yaml")))
        assert config.train.encoder == twin.encoder


def test_the_twin_for_a_laptop_has_the_default_recipe():
    config = load_config(TrainConfig, str(CONFIGS / "laptop/train.yaml"))
    assert config == TrainConfig(encoder=config.encoder)


def test_one_encoder_and_one_set_of_text_rules_per_run():
    config = load_config(RunConfig, str(CONFIGS / "quickstart.yaml"))
    assert config.prepare.encoder == config.train.encoder
