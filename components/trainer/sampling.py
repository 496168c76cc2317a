"""Which rows an epoch sees: all of them once, or some languages more often."""

from typing import Any

import numpy as np

from reviewbeam.components.common.train_config import SamplingConfig
from reviewbeam.components.trainer.input import Split


def epoch_rows(
    split: Split, config: SamplingConfig | None, seed: int, epoch: int
) -> np.ndarray:
    """Draws the rows of an epoch, as many as the split has, int64 [rows].

    A language with the share p of the rows gets its part of them in proportion to p
    to the power of alpha. Where that is more than it has, each of its rows is seen as
    often as the others but for one.

    Args:
      split: the training rows.
      config: None: every row once.
      seed: of the run.
      epoch: counted from 0; each has its own choice.
    """
    if config is None:
        return np.arange(len(split))
    codes, names = split.language_codes()
    random = np.random.default_rng([seed, epoch, 1])
    counts = np.bincount(codes, minlength=len(names))
    chosen = []
    for code, rows in enumerate(_draws(counts, config.alpha)):
        own = np.flatnonzero(codes == code)
        chosen += [own] * (rows // len(own))
        chosen.append(random.choice(own, rows % len(own), replace=False))
    return np.sort(np.concatenate(chosen))


def described_mix(split: Split, config: SamplingConfig | None) -> list[dict[str, Any]]:
    """Returns language, rows, and how many rows are seen an epoch, largest first."""
    codes, names = split.language_codes()
    counts = np.bincount(codes, minlength=len(names))
    draws = counts if config is None else _draws(counts, config.alpha)
    described = [
        {"language": name, "rows": int(rows), "seen": int(seen)}
        for name, rows, seen in zip(names, counts, draws, strict=True)
    ]
    return sorted(described, key=lambda entry: -entry["rows"])


def _draws(counts: np.ndarray, alpha: float) -> np.ndarray:
    """Divides as many draws as there are rows, by the largest remainder."""
    weights = counts.astype(np.float64) ** alpha
    exact = weights / weights.sum() * counts.sum()
    draws = np.floor(exact).astype(np.int64)
    missing = int(counts.sum() - draws.sum())
    draws[np.argsort(draws - exact, kind="stable")[:missing]] += 1
    return draws
