"""The config of `prepare`: every key a user can set, its unit and its default."""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from reviewbeam.components.common.config import Config
from reviewbeam.components.common.corpus_config import (
    CorpusConfig,
    Fraction,
    Name,
    TextRules,
    refuse_names,
)

# Names that an example has of its own; no kept column can have them.
EXAMPLE_FEATURES = ("token_ids", "label", "id", "language", "text", "count")
SPLITS = ("train", "validation", "test")
AUGMENTED = "augmented"  # examples made of those in train, in shards of their own
Split = Literal["train", "validation", "test"]
_DEFAULT_TEST = 0.1


class LabelRules(Config):
    """The classes, in the order of the model's outputs."""

    # multilabel: a list, or a text with delimiters; ordinal: names from low to high
    type: Literal["binary", "multiclass", "multilabel", "ordinal"]
    names: tuple[Name, ...]  # binary: the negative class, then the positive one
    mapping: dict[str, str] = {}  # value in the corpus -> name; empty: the names
    delimiter: Name = ","  # of a multilabel text

    @pydantic.model_validator(mode="after")
    def _check(self):
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"names has a name twice: {list(self.names)}")
        if self.delimiter != "," and self.type != "multilabel":
            raise ValueError(f"delimiter is of multilabel; type is {self.type}")
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


class DuplicateRules(Config):
    """What becomes of reviews with the same normalised text."""

    # Labels that disagree: the most frequent one, none of the reviews, or one
    # example for each label.
    on_conflict: Literal["majority", "drop", "keep_all"] = "majority"


class SplitRules(Config):
    """How examples are divided: by a salted hash, by time, or by a given column."""

    salt: Name = "reviewbeam"  # another one divides otherwise
    validation: Fraction = 0.1  # by time or column: of what is not in test
    test: Fraction | None = None  # by hash only; none: 0.1
    group_by: Name | None = None  # reviews of one group are never in two splits
    # The last `test_days` before the corpus's latest date are the test.
    time_column: Name | None = None
    test_days: float | None = Field(None, gt=0)  # with time_column only
    # A column that names each review's split.
    column: Name | None = None
    values: dict[str, Split] = {  # value of that column -> split
        "train": "train",
        "validation": "validation",
        "valid": "validation",
        "dev": "validation",
        "test": "test",
    }

    @pydantic.model_validator(mode="after")
    def _check(self):
        if self.column and self.time_column:
            raise ValueError("column and time_column both divide: give one of them")
        if (self.time_column is None) != (self.test_days is None):
            raise ValueError("time_column and test_days need each other")
        if self.values != SplitRules.model_fields["values"].default and not self.column:
            raise ValueError("values are those of column, which is missing")
        if self.test is not None and (self.column or self.time_column):
            raise ValueError("test is a share by hash; column or time_column tells it")
        if self.column and "train" not in self.values.values():
            raise ValueError("values names no split train: nothing to train on")
        if self.validation + self.test_share >= 1:
            raise ValueError("validation and test together leave nothing to train on")
        return self

    @property
    def test_share(self) -> float:
        """Share of the examples that the hash gives to test."""
        if self.column or self.time_column:
            return 0.0
        return _DEFAULT_TEST if self.test is None else self.test

    @property
    def validation_share(self) -> float:
        """Share of the examples that the hash gives to validation."""
        given = self.column and "validation" in self.values.values()
        return 0.0 if given else self.validation


class DriftRules(Config):
    """How far a dataset may be from its baseline."""

    # Jensen–Shannon divergence of a number's distribution, from 0 to 1.
    numbers: Fraction = 0.1
    # The largest difference of a category's share, from 0 to 1.
    categories: Fraction = 0.1
    features: dict[str, Fraction] = {}  # a threshold of its own for a feature


class SchemaRules(Config):
    """What the dataset's statistics are held against."""

    schema_file: Name | None = None  # a reviewed schema.pbtxt; none: inferred
    drift: DriftRules = DriftRules()
    # TFDV's anomaly types (as in ENUM_TYPE_UNEXPECTED_STRING_VALUES), or "all".
    fatal: tuple[Name, ...] = ()


class AugmentRules(Config):
    """Further examples made of those in the train split."""

    copies: int = Field(0, ge=0, le=16)  # of each example
    seed: int = Field(1, ge=0)  # of what is drawn
    # A word's chance to be left out (Wei and Zou 2019, "EDA").
    delete_words: Fraction = 0.0
    swap_words: Fraction = 0.0  # a word's chance to change places with another one
    # Segmentations drawn by their probability to this power (Kudo 2018, "Subword
    # Regularization"); none: always the best one.
    subword_alpha: Annotated[float, Field(gt=0, le=1)] | None = None

    @pydantic.model_validator(mode="after")
    def _check(self):
        ways = self.delete_words or self.swap_words or self.subword_alpha
        if ways and not self.copies:
            raise ValueError("copies is 0: nothing is augmented")
        if self.copies and not ways:
            raise ValueError(
                "copies needs a way to differ: delete_words, swap_words, subword_alpha"
            )
        return self


class PrivacyRules(Config):
    """Where review texts may be seen besides the examples and the rejects."""

    # In the report: no text, or with mails, numbers and handles masked, or as it is.
    text: Literal["none", "redacted", "full"] = "none"


class PrepareConfig(CorpusConfig):
    """Configures `prepare`."""

    encoder: Name  # directory with the SentencePiece vocabulary
    labels: LabelRules
    text: TextRules = TextRules()
    duplicates: DuplicateRules = DuplicateRules()
    split: SplitRules = SplitRules()
    augment: AugmentRules = AugmentRules()
    schema_rules: SchemaRules = SchemaRules()
    baseline: Name | None = None  # an earlier dataset, to measure drift against
    gold: bool = False  # for `evaluate --gold` alone: training refuses it
    privacy: PrivacyRules = PrivacyRules()
    partition_bytes: int = Field(16 * 2**20, ge=1024)  # of input per shard of a split

    @pydantic.model_validator(mode="after")
    def _check(self):
        if self.columns.label is None:
            raise ValueError("columns.label is missing: training needs labels")
        refuse_names(self.columns.keep, EXAMPLE_FEATURES)
        return self

    def _has_language(self) -> bool:
        return super()._has_language() or self.text.language == "detect"
