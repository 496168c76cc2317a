"""Lets a training that is told to stop finish its step and save its state."""

import signal
import threading


class StopSignals:
    """Notes SIGTERM and SIGINT while it is entered; a second one stops at once.

    Attributes:
      received: name of the signal; None: none has come.
    """

    _SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self):
        self.received: str | None = None
        self._before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in self._SIGNALS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        if self.received:
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name
