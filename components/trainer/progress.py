"""Where a training is."""

import dataclasses
from typing import Any

from reviewbeam.components.trainer.metrics import ValidationMetrics

_MOST_POINTS = 200  # of a curve: what a plot can show


@dataclasses.dataclass
class Progress:
    """Where a training is: what a checkpoint says besides the variables.

    Attributes:
      step: steps done, over all epochs.
      epoch: the current one, counted from 0.
      batch: batches done of it.
      loss: sum of its rows' losses so far.
      history: one entry for each finished epoch, for `history.json`.
      curve: points over the steps; each has `rows` and the sum of their losses so far.
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
    curve: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    best_epoch: int = 0
    best: ValidationMetrics | None = None
    finished: bool = False
    loss_scale: float | None = None
    good_steps: int = 0

    def count_step(self, loss: float, rows: int, rate: float, planned: int) -> None:
        """Counts a step that was done.

        Args:
          loss: mean over its rows.
          rows: how many they are.
          rate: its learning rate.
          planned: steps of the whole training; a point of the curve stands for as many
            as leave 200 points.
        """
        if not self.curve or self.step % -(-planned // _MOST_POINTS) == 0:
            self.curve.append({"loss": 0.0, "rows": 0})
        self.step += 1
        self.loss += loss * rows
        point = self.curve[-1]
        point["loss"] += loss * rows
        point["rows"] += rows
        point |= {"step": self.step, "learning_rate": float(rate)}

    def points(self) -> list[dict[str, float]]:
        """Returns `step`, its `learning_rate`, and the mean `loss` since the last."""
        return [
            {
                "step": point["step"],
                "learning_rate": point["learning_rate"],
                "loss": point["loss"] / point["rows"],
            }
            for point in self.curve
        ]

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Progress":
        """Rebuilds it from a checkpoint's JSON."""
        best = state["best"] and ValidationMetrics(**state["best"])
        return cls(**state | {"best": best})
