"""Times engines over a mix of lengths; a program of its own, run by `resolve`.

Reads one JSON object from standard input and writes one as its last line.
"""

import concurrent.futures
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from reviewbeam.components.common.batching import cut_batches
from reviewbeam.components.common.errors import ReviewbeamError
from reviewbeam.components.inference.engines import Engine, load_engine
from reviewbeam.components.inference.faults import is_out_of_memory, pad

_SECONDS = 3.0  # for one engine, loading apart; one budget is tried in any case
_UNKNOWN = 3  # the id of XLM-R's <unk>: every vocabulary has it
_MEAN_TOKENS, _SPREAD = 25, 0.7  # of a log-normal: as long as reviews of apps are
_GAIN = 1.03  # a larger budget that gives less is the last one tried


def measure_speeds(
    engine: Engine, budgets: list[int], most_tokens: int, *, seconds: float = _SECONDS
) -> dict[int, float]:
    """Times an engine under growing budgets, as long as that gains something.

    Args:
      engine: loaded.
      budgets: rows x longest row of one call; ascending.
      most_tokens: of a row that the model takes.
      seconds: for all of it; begun budgets are finished.

    Returns:
      Real tokens a second by budget; a budget that doesn't fit into memory, and
      those above, are left out.

    Raises:
      Exception: whatever the engine raises, if no budget went well.
    """
    speeds: dict[int, float] = {}
    end = time.monotonic() + seconds
    for budget in budgets:
        try:
            speed = _speed(engine, budget, most_tokens)
        except Exception as error:
            if not speeds or not is_out_of_memory(error):
                raise
            break
        too_little = speed < _GAIN * max(speeds.values(), default=0)
        speeds[budget] = speed
        if too_little or time.monotonic() >= end:
            break
    return speeds


def _speed(engine: Engine, budget: int, most_tokens: int) -> float:
    """Runs three batches, a long, a middle and a short one, twice.

    Each is run as often as the engine takes calls at once, as the handler has it.
    """
    lengths = sample_lengths(budget, most_tokens)
    batches = cut_batches(lengths, budget)
    inputs = []
    for batch in (batches[len(batches) * place // 6] for place in (1, 3, 5)):
        ids = np.full(lengths[batch].sum(), _UNKNOWN, np.int32)
        starts = np.cumsum(lengths[batch]) - lengths[batch]
        inputs += [pad(ids, starts, lengths[batch])] * engine.concurrency
    tokens = sum(int(mask.sum()) for _, mask in inputs)
    seconds = []
    with concurrent.futures.ThreadPoolExecutor(engine.concurrency) as pool:
        for _ in range(2):  # the first time, kernels are made for the new shapes
            started = time.perf_counter()
            for _ in pool.map(lambda pair: engine.probabilities(*pair), inputs):
                pass
            seconds.append(time.perf_counter() - started)
    return tokens / max(min(seconds), 1e-9)


def sample_lengths(budget: int, most_tokens: int) -> np.ndarray:
    """Returns one and the same mix of lengths, int64 [rows]; enough for six batches."""
    rows = max(64, 6 * budget // _MEAN_TOKENS)
    drawn = np.random.default_rng(0).lognormal(np.log(_MEAN_TOKENS), _SPREAD, rows)
    return np.clip(drawn.astype(np.int64), 3, most_tokens)


def _answer(request: dict[str, Any], name: str) -> dict[str, Any]:
    try:
        engine = load_engine(
            name,
            Path(request["model"]),
            core_fingerprint=request["core_fingerprint"],
            classes=request["classes"],
            threads=request["threads"],
            xla=request["xla"],
        )
        return {
            "speeds": measure_speeds(engine, request["budgets"], request["most_tokens"])
        }
    except ReviewbeamError as error:
        return {"problem": {"message": str(error), "exit_code": error.exit_code}}
    except Exception as error:  # what another engine may not do
        return {"problem": {"message": type(error).__name__, "exit_code": 1}}


if __name__ == "__main__":
    question = json.load(sys.stdin)
    print(json.dumps({name: _answer(question, name) for name in question["engines"]}))
