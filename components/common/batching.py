"""Batches of nearly one length under a token budget."""

import numpy as np


def cut_batches(lengths: np.ndarray, budget: int) -> list[np.ndarray]:
    """Divides rows into batches so that little of each is padding.

    Longest rows come first, ties in the order given, so that the batches follow
    from the lengths alone and the largest one is met at once.

    Args:
      lengths: tokens of each row, int [rows].
      budget: rows of a batch x its longest row is at most this; a row that is
        longer by itself has a batch of its own.

    Returns:
      Indices into the rows, one int64 array a batch; together each row once.
    """
    order = np.argsort(-lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        rows = max(1, budget // max(1, int(lengths[order[start]])))
        batches.append(order[start : start + rows])
        start += rows
    return batches
