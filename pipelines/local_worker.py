"""The start of a worker process on this machine; see local_runner."""

import ctypes
import logging
import os
import signal
import sys

from reviewbeam.pipelines import console

_PR_SET_PDEATHSIG = 1


def work(launcher: int, quiet: bool) -> None:
    """Is a worker, until the launcher has no more work or is gone.

    Args:
      launcher: its process id.
      quiet: show none of the libraries' messages.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != launcher:
        return  # it was gone before that line
    if quiet:
        console.quiet_libraries()
        logging.getLogger().handlers.clear()  # Beam lets them show all
        console.quiet_workers()
        with console.quiet_import():
            import tensorflow_data_validation  # noqa: F401
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)
