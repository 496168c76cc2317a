"""The config of `evaluate`: every key, its unit and its default."""

from typing import Literal

from reviewbeam.components.common.config import Config
from reviewbeam.components.common.inference_config import InferenceConfig


class EvaluateConfig(Config):
    """Configures `evaluate`."""

    split: Literal["test", "validation", "train"] = "test"
    inference: InferenceConfig = InferenceConfig()
