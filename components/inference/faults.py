"""Runs a chunk so that one bad row costs one row, and a full memory some time.

Knows neither Beam nor an engine: a model is a function from token ids and mask to
probabilities, which may raise whatever its library raises.
"""

import dataclasses
import re
from collections.abc import Callable

import numpy as np

from reviewbeam.components.common.batching import cut_batches
from reviewbeam.components.common.errors import ReviewbeamError
from reviewbeam.components.inference.ahead import Ahead

PAD_ID = 1  # of XLM-R

# Rules under which a row leaves as a reject.
MODEL_FAILED = "model_failed"  # the model raised on this row alone
MODEL_OUT_OF_MEMORY = "model_out_of_memory"  # this row alone doesn't fit
MODEL_OUTPUT_INVALID = "model_output_invalid"  # NaN, or no probabilities
FAULTS = (MODEL_FAILED, MODEL_OUT_OF_MEMORY, MODEL_OUTPUT_INVALID)

Model = Callable[[np.ndarray, np.ndarray], np.ndarray]

_SUM_TOLERANCE = 1e-3  # of the classes of a row
_RANGE_TOLERANCE = 1e-6  # a softmax may round to a little more than 1
_OUT_OF_MEMORY = re.compile(
    r"bad_alloc|out[ _]of[ _]memory|not enough memory|cannot allocate memory"
    r"|failed to allocate|alloc_failed",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a model gave for the rows of a chunk, and what that took."""

    probabilities: np.ndarray  # float32 [rows, classes]; of a fault NaN
    faults: list[str | None]  # the rule of each row; None: it is fine
    calls: int  # of the model, those that failed too; ahead of their turn apart
    tokens: int  # real tokens of all these calls
    padded_tokens: int  # rows x longest row of all these calls
    halved: int  # batches that did not fit into memory


def infer_rows(
    model: Model,
    ids: np.ndarray,
    starts: np.ndarray,
    lengths: np.ndarray,
    *,
    classes: int,
    kind: str,
    budget: int,
    max_faults: int,
    concurrency: int = 1,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> Outcome:
    """Infers each row of a chunk once, faults apart.

    A batch that doesn't fit into memory is divided, and the budget stays lower for
    the rest of the chunk. A batch that fails otherwise, or gives what are no
    probabilities, is bisected until the rows that do so stand alone: their mates are
    inferred again without them, because one row's NaN may have touched theirs. All
    of it follows from the chunk and the model's behaviour, so that a second run
    gives the same bytes, and any number of calls at once those of one at a time.

    Args:
      model: int32 [rows, length] token ids and mask to float32 [rows, classes].
      ids: all token ids, int32 [tokens].
      starts: where each row begins in them.
      lengths: tokens of each row.
      classes: how many probabilities a row has.
      kind: the type of the labels; those of multilabel don't sum to 1.
      budget: rows x longest row of one call.
      max_faults: rows that may fail.
      concurrency: calls at once; `model` is then called from as many threads.
      on_rows: told how many more rows are settled, from the caller's thread.

    Raises:
      ReviewbeamError: more than `max_faults` rows failed; or what the model raised
        as such, a wrong shape for one.
    """
    values = np.full((len(lengths), classes), np.nan, np.float32)
    run = _Run(model, kind, budget, max_faults, on_rows, ids, starts, lengths, values)
    run.to_end(concurrency)
    return Outcome(
        values, run.faults, run.calls, run.tokens, run.padded_tokens, run.halved
    )


@dataclasses.dataclass
class _Run:
    """A chunk on its way through a model; the arguments are those of `infer_rows`."""

    model: Model
    kind: str
    budget: int  # what it has become
    max_faults: int
    on_rows: Callable[[int], None]
    ids: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    values: np.ndarray

    def __post_init__(self):
        self.faults: list[str | None] = [None] * len(self.lengths)
        self.calls = self.tokens = self.padded_tokens = self.halved = 0
        self._reasons: list[str] = []
        self._fits = 0  # the largest call that went well
        self._before_halving: int | None = None  # budget; None: no halving goes on
        self._stack: list[np.ndarray] = []

    def to_end(self, concurrency: int) -> None:
        batches = cut_batches(self.lengths, self.budget)
        self._stack = batches[::-1]
        with Ahead(self._call, batches, concurrency) as self._ahead:
            while self._stack:
                self._step(self._stack.pop())

    def _call(self, rows: np.ndarray) -> np.ndarray:
        return self.model(*pad(self.ids, self.starts[rows], self.lengths[rows]))

    def _step(self, rows: np.ndarray) -> None:
        size = len(rows) * max(1, int(self.lengths[rows[0]]))  # the longest is first
        if len(rows) > 1 and size > self.budget:
            pieces = cut_batches(self.lengths[rows], self.budget)
            self._stack.extend(rows[piece] for piece in reversed(pieces))
            return
        self.calls += 1
        self.tokens += int(self.lengths[rows].sum())
        self.padded_tokens += size
        try:
            values = self._ahead.values(rows)
        except ReviewbeamError:
            raise
        except Exception as error:  # whatever the engine's library raises
            if is_out_of_memory(error):
                self._shrink(rows, size, error)
            else:
                self._bisect(rows, MODEL_FAILED, type(error).__name__)
            return
        self._before_halving = None
        self._fits = max(self._fits, size)
        invalid = invalid_rows(values, self.kind)
        if invalid.any():
            self._bisect(rows, MODEL_OUTPUT_INVALID, _what_is_wrong(values[invalid]))
        else:
            self.values[rows] = values
            self.on_rows(len(rows))

    def _shrink(self, rows: np.ndarray, size: int, error: Exception) -> None:
        self._ahead.stop()  # memory is scarce, and batches of another size follow
        if self._before_halving is None:
            self._before_halving = self.budget
        if len(rows) > 1:
            self.halved += 1
            self.budget = size // 2
            self._stack.append(rows)
            return
        self._add_fault(rows[0], MODEL_OUT_OF_MEMORY, type(error).__name__)
        # It was this row and not the budget, which others may use again.
        self.budget = max(self._fits, self._before_halving)
        self._before_halving = None

    def _bisect(self, rows: np.ndarray, rule: str, reason: str) -> None:
        if len(rows) == 1:
            self._add_fault(rows[0], rule, reason)
            return
        middle = len(rows) // 2
        self._stack += [rows[middle:], rows[:middle]]

    def _add_fault(self, row: int, rule: str, reason: str) -> None:
        self.faults[row] = rule
        self.on_rows(1)
        self._reasons.append(f"{rule} ({reason})")
        if len(self._reasons) > self.max_faults:
            raise ReviewbeamError(
                f"The model fails: {len(self._reasons)} texts of one chunk of "
                f"{len(self.lengths)} got no probabilities, each run by itself too, "
                f"and inference.max_faults allows {self.max_faults}. The first "
                f"reason is {self._reasons[0]}. Try the model with `reviewbeam "
                "predict`, another inference.engine, or more memory; raise "
                "inference.max_faults if the texts are at fault."
            )


def pad(
    ids: np.ndarray, starts: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gathers runs of ids into a rectangle.

    Args:
      ids: all token ids, int32 [tokens].
      starts: where each row begins in them.
      lengths: tokens of each row.

    Returns:
      `token_ids` and `padding_mask`, int32 [rows, longest].
    """
    columns = np.arange(lengths.max(initial=0))
    mask = columns < lengths[:, None]
    places = np.where(mask, starts[:, None] + columns, 0)
    return np.where(mask, ids[places], PAD_ID).astype(np.int32), mask.astype(np.int32)


def invalid_rows(values: np.ndarray, kind: str) -> np.ndarray:
    """Tells which rows are no probabilities.

    Args:
      values: float [rows, classes].
      kind: the type of the labels; those of multilabel needn't sum to 1.

    Returns:
      bool [rows].
    """
    least, most = -_RANGE_TOLERANCE, 1 + _RANGE_TOLERANCE
    valid = ((values >= least) & (values <= most)).all(axis=1)  # NaN is neither
    if kind != "multilabel":
        # Of the valid rows alone: infinities of both signs would warn.
        sums = np.where(valid[:, None], values, 0).sum(axis=1)
        valid &= np.abs(sums - 1) <= _SUM_TOLERANCE
    return ~valid


def is_out_of_memory(error: Exception) -> bool:
    """Tells whether a library failed for want of memory, of the host or a GPU."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"MemoryError", "ResourceExhaustedError"}:  # the latter TensorFlow's
        return True
    # OpenVINO raises RuntimeError for all; CUDA's libraries fail as InternalError.
    if names & {"RuntimeError", "InternalError"}:
        return _OUT_OF_MEMORY.search(str(error)) is not None
    return False


def _what_is_wrong(values: np.ndarray) -> str:
    if not np.isfinite(values).all():
        return "not a number, or infinite"
    return "not between 0 and 1, or not summing to 1"
