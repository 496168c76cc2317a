"""How a model is run over many reviews: engine, batches, and what may go wrong."""

from pydantic import Field

from reviewbeam.components.common.config import Config


class InferenceConfig(Config):
    """How a model is run over many reviews."""

    batch_tokens: int = Field(4096, ge=8)  # rows x longest row of one call
