"""The configs of the jobs: every key a user can set, its unit and its default."""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from reviewbeam.components.common.config import Config

Name = Annotated[str, Field(min_length=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


# Names that an example and a score have of their own; no kept column can have them.
EXAMPLE_FEATURES = ("token_ids", "label", "id", "language", "text", "count")
SCORE_COLUMNS = ("id", "language", "label", "score", "probabilities")
SCORE_PARTITION = "model_version"


class TextRules(Config):
    """How a text becomes token ids; stored in the dataset and in the model."""

    unicode: Literal["none", "NFC", "NFKC"] = "none"  # before SentencePiece's own rule
    max_tokens: int = Field(256, ge=3, le=512)  # with <s> and </s>
    truncate: Literal["head", "head_tail"] = "head"
    # Share of the tokens kept from the head by head_tail: 128 of 510 was best in
    # Sun et al. 2019, "How to Fine-Tune BERT for Text Classification?".
    head_fraction: Fraction = 0.25


class LabelRules(Config):
    """The classes, in the order of the model's outputs."""

    type: Literal["binary", "multiclass"]
    names: tuple[Name, ...]  # binary: the negative class, then the positive one
    mapping: dict[str, str] = {}  # value in the corpus -> name; empty: the names

    @pydantic.model_validator(mode="after")
    def _check(self):
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"names has a name twice: {list(self.names)}")
        if self.type == "binary" and len(self.names) != 2:
            raise ValueError(
                f"binary takes exactly two names, found {len(self.names)}: "
                "the negative class, then the positive one"
            )
        if len(self.names) < 2:
            raise ValueError(f"names needs two classes or more, found {self.names}")
        unknown = sorted(set(self.mapping.values()) - set(self.names))
        if unknown:
            raise ValueError(f"mapping leads to {unknown}, which is not among names")
        return self

    def class_index(self) -> dict[str, int]:
        """Value in the corpus -> index of its class."""
        index = {name: i for i, name in enumerate(self.names)}
        mapping = self.mapping or {name: name for name in self.names}
        return {value: index[name] for value, name in mapping.items()}


class Columns(Config):
    """Which columns of the corpus hold what; a dot reaches into nested values."""

    text: Name
    id: Name | None = None  # none: derived from the content
    label: Name | None = None
    language: Name | None = None
    keep: tuple[Name, ...] = ()  # carried along unchanged, as text


class CorpusConfig(Config):
    """How files become reviews; the same for training and for scoring."""

    input: tuple[Name, ...] = ()  # globs; --input replaces them
    format: Literal["auto", "jsonl", "csv", "parquet"] = "auto"
    csv_delimiter: Annotated[str, Field(pattern=r'^[^"\r\n]$')] = ","
    columns: Columns
    slice_bytes: int = Field(8 * 2**20, ge=1024)  # of plain JSON Lines, per task


class RecordRules(Config):
    """What a usable review is; a row that breaks a rule becomes a reject."""

    min_characters: int = Field(1, ge=1)  # after trimming white space
    max_characters: int = Field(100_000, ge=1)
    languages: tuple[Name, ...] | None = None  # none: all are welcome
    max_reject_fraction: Fraction = 1.0  # of all rows; above it: exit 3

    @pydantic.model_validator(mode="after")
    def _check(self):
        if self.min_characters > self.max_characters:
            raise ValueError("min_characters is above max_characters")
        return self


class DuplicateRules(Config):
    """What becomes of reviews with the same normalised text."""

    # Labels that disagree: the most frequent one, none of the reviews, or one
    # example for each label.
    on_conflict: Literal["majority", "drop", "keep_all"] = "majority"


class SplitRules(Config):
    """How examples are divided: by a salted hash of the text, or of a column."""

    salt: Name = "reviewbeam"
    validation: Fraction = 0.1
    test: Fraction = 0.1
    group_by: Name | None = None  # reviews of one group are never in two splits

    @pydantic.model_validator(mode="after")
    def _check(self):
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together leave nothing to train on")
        return self


class SchemaRules(Config):
    """What the dataset's statistics are held against."""

    schema_file: Name | None = None  # a reviewed schema.pbtxt; none: inferred
    # TFDV's anomaly types (as in ENUM_TYPE_UNEXPECTED_STRING_VALUES), or "all".
    fatal: tuple[Name, ...] = ()


class PrepareConfig(CorpusConfig):
    """Configures `prepare`."""

    encoder: Name  # directory with the SentencePiece vocabulary
    labels: LabelRules
    text: TextRules = TextRules()
    rules: RecordRules = RecordRules()
    duplicates: DuplicateRules = DuplicateRules()
    split: SplitRules = SplitRules()
    schema_rules: SchemaRules = SchemaRules()
    partition_bytes: int = Field(64 * 2**20, ge=1024)  # of input per shard of a split

    @pydantic.model_validator(mode="after")
    def _check(self):
        if self.columns.label is None:
            raise ValueError("columns.label is missing: training needs labels")
        _refuse_names(self.columns.keep, EXAMPLE_FEATURES)
        _check_language(self)
        return self


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

    rules: RecordRules = RecordRules()
    inference: ScoreInferenceConfig = ScoreInferenceConfig()

    @pydantic.model_validator(mode="after")
    def _check(self):
        if self.columns.label is not None:
            raise ValueError("columns.label has no use here: score gives labels")
        _refuse_names(self.columns.keep, (*SCORE_COLUMNS, SCORE_PARTITION))
        _check_language(self)
        return self


class RunConfig(Config):
    """Configures `run`: prepare, train, evaluate, score, one after the other."""

    output: Name  # holds dataset/, model/, evaluation/ and scores/
    prepare: PrepareConfig
    train: TrainConfig
    evaluate: EvaluateConfig = EvaluateConfig()
    score: ScoreConfig


def _check_language(config) -> None:
    if config.rules.languages is not None and config.columns.language is None:
        raise ValueError("rules.languages needs columns.language")


def _refuse_names(keep: tuple[str, ...], reserved: tuple[str, ...]) -> None:
    taken = sorted(set(keep) & set(reserved))
    if taken or len(set(keep)) < len(keep):
        raise ValueError(
            f"columns.keep has a name twice, or one of {list(reserved)}, which the "
            f"output has of its own: {list(keep)}"
        )
