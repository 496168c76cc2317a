"""The config of `train`: every key, its unit and its default."""

import re
from typing import Annotated, Literal

import pydantic
from pydantic import Field

from reviewbeam.components.common.config import Config
from reviewbeam.components.common.corpus_config import Fraction, Name
from reviewbeam.components.common.errors import listing, nearest

_OBJECT = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*"
Rate = Annotated[float, Field(ge=0, lt=1)]


def is_custom(name: str) -> bool:
    """Tells a user's own object, MODULE:NAME, imported because the config asks."""
    return ":" in name


def _or_custom(*choices: str) -> type[str]:
    """A name that must be one of the choices, or MODULE:NAME."""

    def check(name: str) -> str:
        if name not in choices and not re.fullmatch(_OBJECT, name):
            raise ValueError(
                f"{listing(choices)} or MODULE:NAME was expected"
                + nearest(name, choices)
            )
        return name

    return Annotated[str, pydantic.AfterValidator(check)]


class LoraConfig(Config):
    """Low-rank adaptation: of the layers named, only two thin factors are trained.

    Hu et al. 2021, as Keras has it; merged into the weights when training ends.
    """

    rank: int = Field(8, ge=1)  # of the factors
    alpha: float | None = Field(None, gt=0)  # the update counts alpha / rank; none: 1
    targets: Literal["attention", "all"] = "attention"  # query and value, or all


class ModelConfig(Config):
    """The classifier on top of the encoder."""

    # mean, max: of the real tokens; cls: of <s> alone; or one's own MODULE:NAME.
    pooling: _or_custom("mean", "max", "cls") = "mean"
    hidden_units: int | None = Field(None, ge=1)  # of a tanh layer before the last
    embedding_dropout: Rate = 0.1  # behind the embeddings
    encoder_dropout: Rate = 0.1  # in every transformer layer
    dropout: Rate = 0.1  # of what was pooled
    hidden_dropout: Rate = 0.1  # behind the hidden layer
    # Of ordinal labels: one scale with ordered thresholds, or classes without order.
    ordinal_head: Literal["cumulative", "softmax"] = "cumulative"
    freeze_embeddings: bool = True  # they stay as the encoder has them
    # How many of the encoder's layers stay as they are, the first ones.
    freeze_layers: Literal["half"] | Annotated[int, Field(ge=0)] = "half"
    lora: LoraConfig | None = None

    @pydantic.model_validator(mode="after")
    def _check(self):
        if not self.freeze_embeddings and self.freeze_layers != 0:
            raise ValueError(
                f"freeze_embeddings is false and freeze_layers {self.freeze_layers!r}: "
                "embeddings below frozen layers can't be trained; set freeze_layers: 0"
            )
        if self.lora and not self.freeze_embeddings:
            raise ValueError("lora needs freeze_embeddings: true; it trains no tables")
        return self

    def frozen_layers(self, layers: int) -> int:
        """Returns how many of an encoder's layers are frozen."""
        return layers // 2 if self.freeze_layers == "half" else self.freeze_layers


class LossConfig(Config):
    """What training minimises, row by row."""

    # cross_entropy or focal, each of the labels' type (for ordinal: of the cumulative
    # model); or one's own MODULE:NAME.
    name: _or_custom("cross_entropy", "focal") = "cross_entropy"
    label_smoothing: Rate = 0.0  # of the cross-entropy
    focal_gamma: float = Field(2.0, ge=0)  # of the focal loss; 0: cross-entropy

    @pydantic.model_validator(mode="after")
    def _check(self):
        if self.label_smoothing and self.name != "cross_entropy":
            raise ValueError(f"label_smoothing is of cross_entropy, not of {self.name}")
        if self.focal_gamma != 2.0 and self.name != "focal":
            raise ValueError(f"focal_gamma is of focal, not of {self.name}")
        return self


class SamplingConfig(Config):
    """How often the groups of the training rows are seen.

    A group with the share p of the rows is seen in proportion to p to the power of
    alpha: 1 leaves the mix as it is, 0 makes all equal (Conneau et al. 2020).
    """

    by: Literal["language"] = "language"  # what makes a group
    # 1: the mix as it is; 0: all groups as often.
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.3


class TrainingConfig(Config):
    """The optimisation."""

    epochs: int = Field(3, ge=1)  # at most; see patience
    batch_tokens: int = Field(2048, ge=8)  # rows x longest row, over all devices
    accumulation: int = Field(1, ge=1)  # batches whose gradients make one step
    learning_rate: float = Field(3e-4, gt=0)  # the peak, of the last layers
    layer_decay: float = Field(1.0, gt=0, le=1)  # a layer's rate over the next one's
    schedule: Literal["linear", "cosine", "constant"] = "linear"  # after the warm-up
    warmup_fraction: Fraction = 0.1  # of all steps
    weight_decay: float = Field(0.01, ge=0)  # not of biases and norms
    clip_norm: float | None = Field(1.0, gt=0)  # of the gradient over all variables
    # By class frequency: none, sqrt or balanced, or a power of balanced from 0 to 1.
    class_weights: Literal["none", "sqrt", "balanced"] | Fraction = 0.75
    # auto: bfloat16 or float16 on GPUs that gain by it, float32 elsewhere
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    xla: bool = False  # compile the step; batches then have few shapes, more padding
    # none: all epochs, and the weights of the last; error: mean absolute, of ordinal
    early_stopping_metric: Literal["macro_f1", "accuracy", "loss", "error", "none"] = (
        "macro_f1"
    )
    patience: int = Field(2, ge=1)  # epochs without a better metric
    checkpoint_steps: int = Field(500, ge=1)  # and at the end of each epoch
    seed: int = Field(1, ge=0, lt=2**32)  # of new weights, dropout and the order
    deterministic: bool = True  # the same weights from the same data and seed
    logical_cpus: int | None = Field(None, ge=1)  # replicas on the CPU, to try out


class TrainConfig(Config):
    """Configures `train`."""

    encoder: Name  # the directory that prepare used
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    sampling: SamplingConfig | None = None  # none: every row once an epoch
    training: TrainingConfig = TrainingConfig()
