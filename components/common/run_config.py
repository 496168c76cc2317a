"""The config of `run`: prepare, train, evaluate and score by one file."""

from typing import ClassVar

import pydantic

from reviewbeam.components.common.config import Config
from reviewbeam.components.common.corpus_config import Name
from reviewbeam.components.common.evaluate_config import EvaluateConfig
from reviewbeam.components.common.prepare_config import PrepareConfig
from reviewbeam.components.common.score_config import ScoreConfig
from reviewbeam.components.common.train_config import TrainConfig


class RunConfig(Config):
    """Configures `run`: prepare, train, evaluate, score, one after the other."""

    file_sections: ClassVar = ("prepare", "train", "evaluate", "score")

    output: Name  # holds dataset/, model/, evaluation/ and, with `score`, scores/
    # Folder of the models in service: the new model is evaluated beside the one that
    # is, takes its place only where it is blessed, and scores only then. None: the new
    # model scores.
    models: Name | None = None
    prepare: PrepareConfig
    train: TrainConfig
    evaluate: EvaluateConfig = EvaluateConfig()
    # None: nothing is scored, as where a job of its own does so every night.
    score: ScoreConfig | None = None

    @pydantic.model_validator(mode="after")
    def _check(self):
        if self.models is not None and self.evaluate.blessing is None:
            raise ValueError(
                "models: only a blessed model is put in service; give the rules under "
                "evaluate.blessing, such as {min: {macro_f1: 0.8}}"
            )
        return self
