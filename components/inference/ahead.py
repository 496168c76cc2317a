"""Calls a model on the next batches of a chunk before it is their turn."""

import concurrent.futures
import itertools
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

_WAITING = 2  # batches under way or ready, for each call that runs at once


class Ahead:
    """Runs several calls at once, and hands over their values in the given order.

    A call that fails is not told of: when it is its turn, it runs again and alone,
    so that a memory that only several calls together fill makes no row a fault. So
    does whatever else is called between them. All values are then those of one call
    at a time.
    """

    def __init__(
        self,
        call: Callable[[np.ndarray], np.ndarray],
        batches: Sequence[np.ndarray],
        concurrency: int,
    ):
        """Begins nothing yet.

        Args:
          call: from the rows of a batch to their values; thread-safe.
          batches: rows of each batch, in the order in which they are asked for.
          concurrency: calls at once; 1: none runs before its turn.
        """
        self._call = call
        self._to_come = iter(batches if concurrency > 1 else ())
        self._begun: deque[tuple[np.ndarray, concurrent.futures.Future]] = deque()
        self._most = _WAITING * concurrency
        self._pool = concurrent.futures.ThreadPoolExecutor(concurrency)

    def __enter__(self) -> "Ahead":
        return self

    def __exit__(self, *error: object) -> None:
        """Waits for the calls under way; no thread is left."""
        self._pool.shutdown(cancel_futures=True)

    def values(self, rows: np.ndarray) -> np.ndarray:
        """Returns what the call gives for a batch.

        Raises:
          Exception: whatever the call raises when it runs alone.
        """
        for batch in itertools.islice(self._to_come, self._most - len(self._begun)):
            self._begun.append((batch, self._pool.submit(self._call, batch)))
        failed = False
        if self._begun and self._begun[0][0] is rows:
            _, future = self._begun.popleft()
            try:
                return future.result()
            except Exception:  # whatever the call raises; below, if it does so again
                failed = True
        self._wait()
        values = self._call(rows)
        if failed:  # for not being alone
            self.stop()
        return values

    def stop(self) -> None:
        """Forgets what was begun: from now on, one call runs at a time."""
        self._wait()
        self._begun.clear()
        self._to_come = iter(())

    def _wait(self) -> None:
        concurrent.futures.wait([future for _, future in self._begun])
