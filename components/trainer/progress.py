"""Where a training is."""

import dataclasses
from typing import Any

from reviewbeam.components.trainer.metrics import ValidationMetrics


@dataclasses.dataclass
class Progress:
    """Where a training is: what a checkpoint says besides the variables.

    Attributes:
      step: steps done, over all epochs.
      epoch: the current one, counted from 0.
      batch: batches done of it.
      loss: sum of its rows' losses so far.
      history: one entry for each finished epoch, for `history.json`.
      best_epoch: counted from 1; 0: none is finished.
      best: its metrics; None without a validation split.
      finished: nothing is left to train.
      loss_scale: of float16; None before the first step.
      good_steps: likewise.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    loss: float = 0.0
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    best_epoch: int = 0
    best: ValidationMetrics | None = None
    finished: bool = False
    loss_scale: float | None = None
    good_steps: int = 0

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Progress":
        """Rebuilds it from a checkpoint's JSON."""
        best = state["best"] and ValidationMetrics(**state["best"])
        return cls(**state | {"best": best})
