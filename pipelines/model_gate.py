"""What `evaluate` needs to bless a model: rows that no model saw, a baseline, rules."""

import dataclasses
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from reviewbeam.components.common import artifacts
from reviewbeam.components.common.blessed import BLESSING
from reviewbeam.components.common.evaluate_config import EvaluateConfig
from reviewbeam.components.common.inference_config import InferenceConfig
from reviewbeam.components.common.model_directory import ModelDirectory
from reviewbeam.components.common.text_hashes import known_texts, text_hashes
from reviewbeam.components.evaluation.blessing import Judge
from reviewbeam.components.evaluation.blessing_text import blessing_text
from reviewbeam.components.evaluation.predictions import Predictions
from reviewbeam.components.evaluation.slices import OWN
from reviewbeam.components.examples.encode import decode_examples
from reviewbeam.components.examples.shards import read_shard
from reviewbeam.components.inference.resolve import ResolvedInference
from reviewbeam.pipelines.evaluation_rows import PREDICTIONS, Parts

BLESSING_TEXT = "blessing.txt"
BASELINE_PREDICTIONS = "baseline_predictions"


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

    def check(self, kept: Iterable[str]) -> None:
        """Refuses rules that can't be held, before anything runs.

        Args:
          kept: names of the kept columns among the slices.

        Raises:
          UserError: a rule names what there is not, or a model doesn't tell which
            texts it was trained on.
        """
        self._judge().check([*OWN, *kept])
        for model in filter(None, (self.model, self.baseline)):
            known_texts(model.path)

    def fingerprints(self) -> dict[str, str | None]:
        """Returns what an evaluation's fingerprint must say of the models."""
        return {
            "model": self.model.content_fingerprint,
            "baseline": self.baseline and self.baseline.content_fingerprint,
        }

    def models(self, staging: Path) -> list[tuple[ModelDirectory, Path]]:
        """Returns each model, and the folder for its predictions."""
        folders = [(self.model, staging / PREDICTIONS)]
        if self.baseline is not None:
            folders.append((self.baseline, staging / BASELINE_PREDICTIONS))
        return folders

    def judge(
        self, staging: Path, dataset: Path, shards: Sequence[str]
    ) -> dict[str, int]:
        """Judges the written predictions, and writes the verdict beside them.

        Args:
          staging: the evaluation.
          dataset: directory of the dataset.
          shards: those that were predicted.

        Returns:
          How many rows have a text that the model itself was trained on, and how many
          one that it was validated on.
        """
        labels = self.model.metadata.labels
        hashes = _row_hashes(dataset, shards, labels.type == "multilabel")
        seen = [_seen_by(model, hashes) for model, _ in self.models(staging)]
        if self.config.blessing is not None or self.baseline is not None:
            predictions, *others = (
                Predictions.of_table(Parts(folder).table, labels)
                for _, folder in self.models(staging)
            )
            if any(other.ids != predictions.ids for other in others):
                raise RuntimeError("the models' predictions are not of the same rows")
            left_out = np.logical_or.reduce([rows for both in seen for rows in both])
            by_count = self.config.weight_by == "count"
            verdict = self._judge().judge(
                predictions,
                others[0] if others else None,
                ~left_out,
                predictions.count.astype(np.float64) if by_count else None,
            )
            rules = self.config.blessing
            verdict |= self.fingerprints() | {
                "evaluated_rows": len(hashes),
                "left_out_rows": int(left_out.sum()),
                "rules_given": rules and rules.model_dump(mode="json"),
            }
            artifacts.write_json(staging / BLESSING, verdict)
            artifacts.write_text(staging / BLESSING_TEXT, blessing_text(verdict))
        trained, validated = (int(rows.sum()) for rows in seen[0])
        return {"training": trained, "validation": validated}

    def _judge(self) -> Judge:
        return Judge(
            self.config.blessing,
            self.model.metadata.labels,
            self.config.bootstrap,
            self.config.min_slice_rows,
        )


def as_resolved(
    inference: InferenceConfig, resolved: ResolvedInference
) -> InferenceConfig:
    """Leaves nothing open, so that the baseline is run as the model was."""
    names = ("engine", "batch_tokens", "threads")
    return inference.model_copy(update={n: getattr(resolved, n) for n in names})


def _row_hashes(dataset: Path, shards: Sequence[str], multilabel: bool) -> np.ndarray:
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
