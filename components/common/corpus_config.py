"""How files become reviews: the settings that training and scoring share."""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from reviewbeam.components.common.config import Config

Name = Annotated[str, Field(min_length=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class TextRules(Config):
    """How a text becomes token ids; stored in the dataset and in the model."""

    unicode: Literal["none", "NFC", "NFKC"] = "none"  # before SentencePiece's own rule
    max_tokens: int = Field(256, ge=3, le=512)  # with <s> and </s>
    # What stays of a text with more: its beginning, or its beginning and its end.
    truncate: Literal["head", "head_tail"] = "head"
    # Share of the tokens kept from the head by head_tail: 128 of 510 was best in
    # Sun et al. 2019, "How to Fine-Tune BERT for Text Classification?".
    head_fraction: Fraction = 0.25
    # detect: a language that is missing is told from the text; needs the extra
    # reviewbeam[language]
    language: Literal["given", "detect"] = "given"


class Columns(Config):
    """Which columns of the corpus hold what; a dot reaches into nested values."""

    text: Name  # the review
    id: Name | None = None  # none: derived from the content
    label: Name | None = None  # what is learned; prepare needs it, score has none
    language: Name | None = None  # a code, such as en or pt-BR
    keep: tuple[Name, ...] = ()  # carried along unchanged, as text


class RuleActions(Config):
    """What becomes of a row that breaks a rule.

    `reject` takes it out, `repair` mends it, `allow` lets it be; all are counted. A
    rule that isn't named here always rejects.
    """

    text_wrong_type: Literal["reject", "repair"] = "reject"  # a number becomes text
    text_too_short: Literal["reject", "allow"] = "reject"  # see min_characters
    # Above max_characters; repair: it is cut.
    text_too_long: Literal["reject", "repair", "allow"] = "reject"
    # What can't be decoded becomes U+FFFD.
    invalid_utf8: Literal["reject", "repair"] = "reject"
    # Half of a pair of escapes in JSON; it becomes U+FFFD.
    lone_surrogates: Literal["reject", "repair"] = "reject"
    nul_characters: Literal["reject", "repair", "allow"] = "repair"  # taken out
    control_characters: Literal["reject", "repair", "allow"] = "repair"  # taken out
    not_nfc: Literal["reject", "repair", "allow"] = "allow"  # it is composed
    language_wrong_type: Literal["reject", "repair"] = "reject"  # it becomes missing
    # none: rejected where rules.languages is set, else allowed
    language_missing: Literal["reject", "allow"] | None = None
    language_not_allowed: Literal["reject", "allow"] = "reject"  # see languages
    id_wrong_type: Literal["reject", "repair"] = "reject"  # an id is derived
    id_missing: Literal["reject", "repair"] = "repair"  # an id is derived
    # Another text has the same id. Of these reviews the first in a fixed order stays.
    id_repeated: Literal["reject", "allow"] = "allow"


class RecordRules(Config):
    """What a usable review is."""

    min_characters: int = Field(1, ge=1)  # after trimming white space
    max_characters: int = Field(100_000, ge=1)  # after trimming white space
    # Those that are welcome; none: all are.
    languages: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    actions: RuleActions = RuleActions()
    max_reject_fraction: Fraction = 1.0  # of all rows; above it: exit 3
    max_reject_fraction_per_file: Fraction = 1.0  # of any file's rows

    @pydantic.model_validator(mode="after")
    def _check(self):
        if self.min_characters > self.max_characters:
            raise ValueError("min_characters is above max_characters")
        return self

    def action(self, rule: str) -> str:
        """Returns `reject`, `repair` or `allow` for a rule's name."""
        if rule == "language_missing" and self.actions.language_missing is None:
            return "allow" if self.languages is None else "reject"
        return getattr(self.actions, rule, "reject")


class RejectRules(Config):
    """What a reject keeps of its row."""

    keep_raw: bool = True  # the line or record as it was; it may hold personal data


class CorpusConfig(Config):
    """How files become reviews; the same for training and for scoring."""

    input: tuple[Name, ...] = ()  # globs; --input replaces them
    # auto: by the ending of each file's name
    format: Literal["auto", "jsonl", "csv", "tsv", "parquet"] = "auto"
    # One character, between the fields of CSV; TSV has tabs.
    csv_delimiter: Annotated[str, Field(pattern=r'^[^"\r\n]$')] = ","
    columns: Columns
    rules: RecordRules = RecordRules()
    rejects: RejectRules = RejectRules()
    # salvage: what is before the damage is taken, the damage is one reject
    on_damaged_file: Literal["fail", "salvage"] = "fail"
    # Ids whose reviews are left out, one a line: requests for erasure.
    exclude_ids: Name | None = None
    slice_bytes: int = Field(8 * 2**20, ge=1024)  # of plain JSON Lines, per task

    @pydantic.model_validator(mode="after")
    def _check_rules(self):
        if self.rules.languages is not None and not self._has_language():
            raise ValueError(
                "rules.languages needs columns.language, or text.language: detect"
            )
        return self

    def _has_language(self) -> bool:
        return self.columns.language is not None


def refuse_names(keep: tuple[str, ...], reserved: tuple[str, ...]) -> None:
    """Refuses kept columns that the output has of its own, or that stand twice."""
    taken = sorted(set(keep) & set(reserved))
    if taken or len(set(keep)) < len(keep):
        raise ValueError(
            f"columns.keep has a name twice, or one of {list(reserved)}, which the "
            f"output has of its own: {list(keep)}"
        )
