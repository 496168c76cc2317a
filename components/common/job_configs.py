"""The configs of the jobs after `prepare`: every key, its unit and its default."""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from reviewbeam.components.common.config import Config
from reviewbeam.components.common.corpus_config import (
    CorpusConfig,
    Fraction,
    Name,
    refuse_names,
)
from reviewbeam.components.common.prepare_config import PrepareConfig

# Names that a score has of its own; no kept column can have them.
SCORE_COLUMNS = ("id", "language", "label", "score", "probabilities")
SCORE_PARTITION = "model_version"


class ModelConfig(Config):
    """The classifier on top of the encoder."""

    pooling: Literal["mean", "cls"] = "mean"  # mean of the real tokens, or of <s>
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1  # before the last layer
    encoder_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    freeze_embeddings: bool = True
    freeze_layers: Literal["half"] | Annotated[int, Field(ge=0)] = "half"  # the first

    @pydantic.model_validator(mode="after")
    def _check(self):
        if not self.freeze_embeddings and self.freeze_layers != 0:
            raise ValueError(
                f"freeze_embeddings is false and freeze_layers {self.freeze_layers!r}: "
                "embeddings below frozen layers can't be trained; set freeze_layers: 0"
            )
        return self

    def frozen_layers(self, layers: int) -> int:
        """Returns how many of an encoder's layers are frozen."""
        return layers // 2 if self.freeze_layers == "half" else self.freeze_layers


class TrainingConfig(Config):
    """The optimisation."""

    epochs: int = Field(3, ge=1)
    batch_tokens: int = Field(2048, ge=8)  # rows x longest row, over all devices
    learning_rate: float = Field(3e-4, gt=0)  # the peak
    warmup_fraction: Fraction = 0.1  # of all steps; then linear to zero
    weight_decay: float = Field(0.01, ge=0)  # not of biases and norms
    clip_norm: float = Field(1.0, gt=0)  # of the gradient over all variables
    # By class frequency: none, sqrt or balanced, or a power of balanced from 0 to 1.
    class_weights: Literal["none", "sqrt", "balanced"] | Fraction = 0.75
    # none: all epochs, and the weights of the last
    early_stopping_metric: Literal["macro_f1", "accuracy", "loss", "none"] = "macro_f1"
    patience: int = Field(2, ge=1)  # epochs without a better metric
    seed: int = Field(1, ge=0)
    deterministic: bool = True  # the same weights from the same data and seed
    logical_cpus: int | None = Field(None, ge=1)  # replicas on the CPU, to try out


class TrainConfig(Config):
    """Configures `train`."""

    encoder: Name  # the directory that prepare used
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()


class InferenceConfig(Config):
    """How a model is run over many reviews."""

    batch_tokens: int = Field(4096, ge=8)  # rows x longest row of one call


class ScoreInferenceConfig(InferenceConfig):
    """How new reviews are run through a model."""

    chunk_rows: int = Field(16_384, ge=1)  # sorted by length and written together


class EvaluateConfig(Config):
    """Configures `evaluate`."""

    split: Literal["test", "validation", "train"] = "test"
    inference: InferenceConfig = InferenceConfig()


class ScoreConfig(CorpusConfig):
    """Configures `score`."""

    inference: ScoreInferenceConfig = ScoreInferenceConfig()
    # skip: nothing of that file is published, the other files are, exit 1;
    # salvage: its rows before the damage are scored, the damage is one reject
    on_damaged_file: Literal["skip", "salvage", "fail"] = "skip"

    @pydantic.model_validator(mode="after")
    def _check(self):
        if self.columns.label is not None:
            raise ValueError("columns.label has no use here: score gives labels")
        refuse_names(self.columns.keep, (*SCORE_COLUMNS, SCORE_PARTITION))
        return self

    def _has_language(self) -> bool:
        return True  # the model may detect it, which score looks at


class RunConfig(Config):
    """Configures `run`: prepare, train, evaluate, score, one after the other."""

    output: Name  # holds dataset/, model/, evaluation/ and scores/
    prepare: PrepareConfig
    train: TrainConfig
    evaluate: EvaluateConfig = EvaluateConfig()
    score: ScoreConfig
