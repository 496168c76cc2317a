"""What `evaluate` needs to bless a model: rows that no model saw, a baseline, rules."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reviewbeam.components.common import artifacts
from reviewbeam.components.common.evaluate_config import EvaluateConfig
from reviewbeam.components.common.model_directory import ModelDirectory
from reviewbeam.components.common.text_hashes import known_texts, text_hashes
from reviewbeam.components.evaluation.blessing import Judge
from reviewbeam.components.evaluation.blessing_text import blessing_text
from reviewbeam.components.evaluation.predictions import Predictions
from reviewbeam.components.evaluation.slices import OWN
from reviewbeam.components.examples.encode import decode_examples
from reviewbeam.components.examples.shards import read_shard

BLESSING = "blessing.json"
BLESSING_TEXT = "blessing.txt"


@dataclasses.dataclass(frozen=True)
class ModelGate:
    """Judges a model, perhaps beside another one.

    Attributes:
      config: of `evaluate`.
      model: the model.
      baseline: the other one, which `check_fit` let pass; None: there is none.
    """

    config: EvaluateConfig
    model: ModelDirectory
    baseline: ModelDirectory | None

    @property
    def wanted(self) -> bool:
        """Whether there is anything to judge or compare."""
        return self.config.blessing is not None or self.baseline is not None

    def check(self, kept: Sequence[str]) -> None:
        """Refuses rules that can't be held, before anything runs.

        Args:
          kept: names of the kept columns among the slices.

        Raises:
          UserError: a rule names what there is not, or a model doesn't tell which
            texts it was trained on.
        """
        self._judge().check([*OWN, *kept])
        for model in self._models():
            known_texts(model.path)

    def identity(self) -> dict[str, Any]:
        """Returns what an evaluation's fingerprint must say of the models."""
        return {
            "model": self.model.content_fingerprint,
            "baseline": self.baseline and self.baseline.content_fingerprint,
        }

    def judge(
        self,
        predictions: Predictions,
        others: Predictions | None,
        hashes: np.ndarray,
        weights: np.ndarray | None,
        staging: Path,
    ) -> dict[str, int]:
        """Writes the verdict beside the metrics.

        Args:
          predictions: of the model.
          others: of the baseline, of the same rows.
          hashes: of the rows' texts, uint64 [rows].
          weights: of the rows.
          staging: the evaluation.

        Returns:
          How many rows have a text that the model itself was trained on, and that its
          epoch was chosen by.
        """
        if others is not None and others.ids != predictions.ids:
            raise RuntimeError("the two models' predictions are of other rows")
        seen = [_seen_by(model, hashes) for model in self._models()]
        if self.wanted:
            left_out = np.logical_or.reduce([s for both in seen for s in both])
            verdict = self._judge().judge(predictions, others, ~left_out, weights)
            verdict |= {
                "evaluated_rows": len(hashes),
                "left_out_rows": int(left_out.sum()),
                "rules_given": self.config.blessing
                and self.config.blessing.model_dump(mode="json"),
                **self.identity(),
            }
            artifacts.write_json(staging / BLESSING, verdict)
            artifacts.write_text(staging / BLESSING_TEXT, blessing_text(verdict))
        trained, validated = (int(rows.sum()) for rows in seen[0])
        return {"training": trained, "validation": validated}

    def _models(self) -> list[ModelDirectory]:
        return [self.model] if self.baseline is None else [self.model, self.baseline]

    def _judge(self) -> Judge:
        return Judge(
            self.config.blessing,
            self.model.metadata.labels,
            self.config.bootstrap,
            self.config.min_slice_rows,
        )


def row_hashes(dataset: Path, shards: Sequence[str], multilabel: bool) -> np.ndarray:
    """Returns the hash of each row's text, uint64 [rows], in the shards' order."""
    found = [np.zeros(0, np.uint64)]
    for shard in sorted(shards):
        records = read_shard(os.fspath(dataset / shard))
        texts = decode_examples(records, multilabel=multilabel).column("text")
        found.append(text_hashes(texts.to_pylist()))
    return np.concatenate(found)


def _seen_by(
    model: ModelDirectory, hashes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Tells which rows a model was trained on, and which validated it, bool [rows]."""
    trained, validated = known_texts(model.path)
    return np.isin(hashes, trained), np.isin(hashes, validated)
