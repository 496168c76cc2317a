"""The rules by which `evaluate` blesses a model."""

from collections.abc import Mapping
from typing import Any, Literal

import pydantic
from pydantic import Field

from reviewbeam.components.common.config import Config
from reviewbeam.components.common.corpus_config import Name

YES, NO, NO_VERDICT = "blessed", "not blessed", "no verdict"  # of all rules
HOLDS, BROKEN, UNDECIDED, TOO_SMALL = "holds", "broken", "undecided", "too small"


class LossRule(Config):
    """A figure that must not be worse than the baseline's.

    The difference has a 95 % interval, by a paired bootstrap. The rule is broken where
    the model loses more than `margin` and the loss is no chance: the interval lies
    below 0 as a whole. Where it isn't, and the interval reaches beyond `margin`, the
    rows are too few to tell: `undecided`.
    """

    metric: Name  # of figures.py; f1, precision and recall stand for the macro average
    slice: Name | None = None  # held for each of its values; None: for all rows at once
    margin: float = Field(0.0, ge=0)  # in the metric's own unit
    # refuse: the model must be shown to lose no more than the margin
    undecided: Literal["allow", "refuse"] = "allow"


class BlessingConfig(Config):
    """What a model must reach to be blessed; all rules must hold."""

    min: dict[str, float] = {}  # metric -> what it must reach
    max: dict[str, float] = {}  # metric -> what it must not exceed, as in ece: 0.05
    # against the baseline; one rule or a list of them
    must_not_lose: tuple[LossRule, ...] = ()
    # With fewer rows that neither model was trained on there is no verdict.
    min_rows: int = Field(200, ge=1)

    @pydantic.field_validator("must_not_lose", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, Mapping) else value

    @pydantic.model_validator(mode="after")
    def _check(self):
        if not (self.min or self.max or self.must_not_lose):
            raise ValueError("names no rule; give min, max or must_not_lose")
        return self
