"""What was fitted on validation to turn a model's probabilities into decisions."""

from typing import Annotated

from pydantic import Field

from reviewbeam.components.common.config import Config


class SliceCalibration(Config):
    """Temperature and thresholds of some rows."""

    rows: int = 0  # of the validation split they were fitted on
    # The logits are divided by it; 1: the probabilities are as the model gives them.
    temperature: float = Field(1.0, gt=0)
    # Least probability of the positive class (binary), or of each label
    # (multilabel); empty: the label types that have no threshold.
    thresholds: tuple[Annotated[float, Field(ge=0, le=1)], ...] = ()


class Calibration(SliceCalibration):
    """That of all rows, and of the languages that differ from it."""

    languages: dict[str, SliceCalibration] = {}


def decide(probabilities, languages, kind: str, calibration: Calibration):
    """Decides by the probabilities."""
    import numpy as np

    if kind == "binary":
        return (probabilities[:, 1] >= calibration.thresholds[0]).astype(np.int64)
    if kind == "multilabel":
        return probabilities >= np.asarray(calibration.thresholds)
    if kind == "ordinal":
        return (np.cumsum(probabilities, axis=1) < 0.5).sum(axis=1)
    return probabilities.argmax(axis=1)
