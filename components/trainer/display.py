"""What a person sees while a model trains: on standard error, live or line by line."""

import time

import rich.console
import rich.progress

from reviewbeam.components.common import journal
from reviewbeam.components.trainer.metrics import ValidationMetrics

_SECONDS_BETWEEN_LINES = 10.0
_STEPS_TO_WARM_UP = 2  # tracing makes the first steps slow


class TrainingDisplay:
    """Shows epoch, step, loss, speed and time left; a context manager.

    Attributes:
      tokens_per_second: real tokens, without the first steps and without validation.
    """

    def __init__(
        self, console: rich.console.Console | None = None, *, quiet: bool = False
    ):
        self._console = console or rich.console.Console(stderr=True)
        self._console.quiet = quiet
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[status]}"),
            rich.progress.TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = None
        self._total = 0
        self._steps = 0
        self._taken_up = 0  # the steps of an earlier process
        self._tokens = 0
        self._cells = 0
        self._seconds = 0.0
        self._waited = 0.0
        self._last = self._last_line = time.monotonic()
        self._epoch = ""

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *exception):
        self._bar.stop()

    @property
    def tokens_per_second(self) -> float:
        """Real tokens a second so far."""
        return self._tokens / self._seconds if self._seconds else 0.0

    @property
    def padding_share(self) -> float:
        """Share of what was computed that was padding."""
        return 1 - self._tokens / self._cells if self._cells else 0.0

    @property
    def waiting_share(self) -> float:
        """Share of the time in which the devices waited for their input."""
        return self._waited / self._seconds if self._seconds else 0.0

    def note(self, text: str) -> None:
        """Prints one line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        journal.keep(text)

    def begin(self, total_steps: int) -> None:
        """Starts to count towards the planned steps."""
        self._total = total_steps
        self._task = self._bar.add_task("training", total=total_steps, status="")

    def take_up(self, step: int) -> None:
        """Tells that training goes on behind a step that was saved."""
        self._steps = self._taken_up = step
        self.note(f"going on from step {step} of {self._total}")

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Begins an epoch, counted from 1."""
        self._epoch = f"epoch {epoch}/{epochs}"
        self._last = time.monotonic()

    def step(self, loss: float, tokens: int, cells: int, waited: float) -> None:
        """Counts a step.

        Args:
          loss: of the batch.
          tokens: real tokens of the batch.
          cells: tokens with padding.
          waited: seconds until the batch was there.
        """
        now = time.monotonic()
        self._steps += 1
        if self._steps - self._taken_up > _STEPS_TO_WARM_UP:
            self._tokens += tokens
            self._cells += cells
            self._seconds += now - self._last
            self._waited += waited
        self._last = now
        status = f"loss {loss:.3f}"
        if self._seconds:
            status += (
                f", {self.tokens_per_second:,.0f} tokens/s, "
                f"{self.padding_share:.1%} padding"
            )
        self._bar.update(
            self._task, completed=self._steps, description=self._epoch, status=status
        )
        if self._bar.disable and now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            left = f", {self._time_left()} left" if self._seconds else ""
            self.note(
                f"{self._epoch}, step {self._steps}/{self._total}: {status}{left}"
            )

    def end_epoch(self, loss: float, metrics: ValidationMetrics | None) -> None:
        """Prints how an epoch went.

        Args:
          loss: mean training loss of the epoch.
          metrics: of the validation split, None if there is none.
        """
        line = f"{self._epoch}: training loss {loss:.4f}"
        if metrics is not None:
            line += (
                f"; validation loss {metrics.loss:.4f}, accuracy "
                f"{metrics.accuracy:.4f}, macro F1 {metrics.macro_f1:.4f}"
            )
            if metrics.error is not None:
                line += f", mean absolute error {metrics.error:.4f}"
        self.note(line)

    def _time_left(self) -> str:
        counted = self._steps - self._taken_up - _STEPS_TO_WARM_UP
        seconds = round((self._total - self._steps) * self._seconds / counted)
        return f"{seconds // 60}:{seconds % 60:02d}"
