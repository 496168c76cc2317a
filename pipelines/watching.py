"""Shows how far a pipeline is while it runs, whatever the runner."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from reviewbeam.components.common.background import in_background

_LOOK_EVERY = 2.0  # seconds
_SHARE = 10  # of the time may go by between two looks for what one of them takes

Show = Callable[[Any], None] | None


@contextlib.contextmanager
def watching(look: Callable[[], Any], show: Show) -> Iterator[None]:
    """Shows a state again and again while the block runs.

    Args:
      look: returns the state.
      show: is called with it, from a thread; None: nobody looks.
    """
    if show is None:
        yield
        return

    def tell() -> None:
        # A store may be out of reach, a file go while it is read: the job doesn't care.
        with contextlib.suppress(Exception):
            show(look())

    def follow(ended: threading.Event) -> None:
        pause = _LOOK_EVERY
        while not ended.wait(pause):
            started = time.monotonic()
            tell()
            # A store with many records takes its time to list them.
            pause = max(_LOOK_EVERY, _SHARE * (time.monotonic() - started))

    with in_background(follow):
        yield
    tell()  # how far it came
