"""The config of `score`: every key, its unit and its default."""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from reviewbeam.components.common.corpus_config import CorpusConfig, refuse_names
from reviewbeam.components.common.inference_config import InferenceConfig
from reviewbeam.components.common.serving_drift_config import ServingDriftRules

# Names that a score has of its own; no kept column can have them.
SCORE_COLUMNS = ("id", "language", "label", "score", "margin", "probabilities")
SCORE_PARTITION = "model_version"


class ScoreInferenceConfig(InferenceConfig):
    """How new reviews are run through a model."""

    chunk_rows: int = Field(16_384, ge=1)  # sorted by length and written together


class ScoreConfig(CorpusConfig):
    """Configures `score`."""

    inference: ScoreInferenceConfig = ScoreInferenceConfig()
    output_format: Literal["parquet", "jsonl", "csv"] = "parquet"  # of the scores
    # skip: nothing of that file is published, the other files are, exit 1;
    # salvage: its rows before the damage are scored, the damage is one reject
    on_damaged_file: Literal["skip", "salvage", "fail"] = "skip"
    # From this time of the day on, in the machine's time zone, no chunk is begun.
    deadline: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] | None = None
    # What a run that is stopped does with its finished chunks: publish them, or keep
    # them staged for the next run.
    partial: Literal["commit", "hold"] = "commit"

    # Whether the model must be blessed by `evaluate`. auto: demanded of the one that a
    # models folder has in service; of any other, a warning. No score depends on it.
    require_blessing: Literal["auto", True, False] = Field("auto", exclude=True)

    drift: ServingDriftRules = ServingDriftRules()

    @pydantic.model_validator(mode="after")
    def _check(self):
        if self.columns.label is not None:
            raise ValueError("columns.label has no use here: score gives labels")
        refuse_names(self.columns.keep, (*SCORE_COLUMNS, SCORE_PARTITION))
        return self

    def _has_language(self) -> bool:
        return True  # the model may detect it, which score looks at
