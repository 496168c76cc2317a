"""How a model is run over many reviews: engine, batches, and what may go wrong."""

from typing import Literal

from pydantic import Field

from reviewbeam.components.common.config import Config


class InferenceConfig(Config):
    """How a model is run over many reviews."""

    # auto: the faster one of the exact engines that are installed. openvino-int8 is
    # another model, nearly: it takes `reviewbeam quantize` first.
    engine: Literal["auto", "tensorflow", "openvino", "openvino-int8"] = "auto"
    # Rows x longest row of one call; null: the least that is nearly the fastest here.
    batch_tokens: int | None = Field(None, ge=8)
    threads: int | None = Field(
        None, ge=1
    )  # of a process; null: its share of the cores
    xla: bool = False  # tensorflow only; compiles for each new shape of a batch
    # Rows of one chunk that may fail one by one; more of them stop the run.
    max_faults: int = Field(100, ge=0)
    # Labels of openvino-int8 that agree with the exact model's, on validation.
    min_agreement: float = Field(0.99, ge=0, le=1)
