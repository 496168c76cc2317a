"""The config of `run`: prepare, train, evaluate and score by one file."""

from reviewbeam.components.common.config import Config
from reviewbeam.components.common.corpus_config import Name
from reviewbeam.components.common.evaluate_config import EvaluateConfig
from reviewbeam.components.common.prepare_config import PrepareConfig
from reviewbeam.components.common.score_config import ScoreConfig
from reviewbeam.components.common.train_config import TrainConfig


class RunConfig(Config):
    """Configures `run`: prepare, train, evaluate, score, one after the other."""

    output: Name  # holds dataset/, model/, evaluation/ and scores/
    prepare: PrepareConfig
    train: TrainConfig
    evaluate: EvaluateConfig = EvaluateConfig()
    score: ScoreConfig
