"""The config of `evaluate`: every key, its unit and its default."""

from typing import Literal

from pydantic import Field

from reviewbeam.components.common.blessing_config import BlessingConfig
from reviewbeam.components.common.config import Config
from reviewbeam.components.common.corpus_config import Fraction, Name
from reviewbeam.components.common.inference_config import InferenceConfig
from reviewbeam.components.common.prepare_config import PrivacyRules


class BootstrapConfig(Config):
    """How the 95 % intervals of figures come about."""

    resamples: int = Field(1000, ge=0, le=100_000)  # of the rows; 0: no intervals
    seed: int = Field(1, ge=0)  # the same one gives the same intervals


class CalibrationLimits(Config):
    """When a language counts as calibrated."""

    max_ece: Fraction = 0.05  # expected calibration error, 15 bins
    min_rows: int = Field(1000, ge=1)  # of a language; with fewer it is tested


class EvaluateConfig(Config):
    """Configures `evaluate`."""

    # Which rows; of a gold set all are taken.
    split: Literal["test", "validation", "train"] = "test"
    inference: InferenceConfig = InferenceConfig()
    # count: an example counts as often as the corpus had its text
    weight_by: Literal["none", "count"] = "none"
    # language, length (in tokens), truncated, and columns that prepare kept
    slices: tuple[Name, ...] = ("language", "length", "truncated")
    min_slice_rows: int = Field(50, ge=1)  # a slice with fewer is marked `too_small`
    mistakes: int = Field(20, ge=0)  # the most confident ones are listed
    bootstrap: BootstrapConfig = BootstrapConfig()
    calibration: CalibrationLimits = CalibrationLimits()
    privacy: PrivacyRules = PrivacyRules()  # of the texts of the mistakes
    # Rules by which the model may be put in service; None: it is not judged.
    blessing: BlessingConfig | None = None
