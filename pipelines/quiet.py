"""Keeps what TensorFlow, Beam and Google's packages say from the screen."""

import contextlib
import importlib.util
import io
import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from importlib.abc import MetaPathFinder

from reviewbeam.components.common import journal

# From C++, whatever the level that was asked for. What is fatal (F) is none of it.
_CHATTER = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog"
    rb"|[IWE]\d{4} \d\d:\d\d:\d+\."  # absl
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] "  # TensorFlow's own, before 2.18
    rb"|To enable the following instructions: "
)
# Of packages that Beam and TensorFlow bring along, at each start.
_SAYS_NOTHING = ("You are using a Python version", "builtin type [Ss]wig")


def quiet_libraries() -> None:
    """Silences the chatter of TensorFlow, Beam and Google's packages.

    Must come before they are imported. Warnings still go to the job's log, errors to
    standard error too.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.simplefilter("default")
    for words in _SAYS_NOTHING:
        warnings.filterwarnings("ignore", message=words)
    warnings.showwarning = _drop
    shown = logging.StreamHandler()
    shown.setLevel(logging.ERROR)
    logging.basicConfig(level=logging.WARNING, handlers=[shown])
    # At ERROR it prints the trace of what a worker raises, which main explains.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    if "tensorflow" not in sys.modules:
        _QuietTensorFlow.install()


def _drop(*warning, **options) -> None:
    """Shows nothing of a warning; the job's log listens before."""


def quiet_workers() -> None:
    """Drops the traces that Beam's worker threads print, where libraries are quiet.

    They may quote reviews; of what failed, main tells.
    """
    if logging.getLogger("apache_beam").level == logging.CRITICAL:
        from apache_beam.runners.worker import sdk_worker

        sdk_worker.print = lambda *words, **options: None


@contextlib.contextmanager
def quiet_import():
    """Drops what TFDV prints when it is imported and finds no IPython."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield


class _QuietTensorFlow(MetaPathFinder):
    """Has TensorFlow imported without its C++ code's chatter, whoever imports it."""

    @classmethod
    def install(cls) -> None:
        """Waits for the first import."""
        if not any(isinstance(finder, cls) for finder in sys.meta_path):
            sys.meta_path.insert(0, cls())

    def find_spec(self, fullname, path=None, target=None):
        """Returns the true spec, whose module is executed quietly."""
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_quietly(module):
                with without_chatter():
                    execute(module)

            spec.loader.exec_module = execute_quietly
        return spec


@contextlib.contextmanager
def without_chatter() -> Iterator[None]:
    """Holds back what C++ code writes to standard error; known chatter is not shown.

    Python's own standard error goes on as before.
    """
    with tempfile.TemporaryFile() as held, contextlib.ExitStack() as stack:
        real = os.dup(2)
        stack.callback(os.close, real)
        if _descriptor(sys.stderr) == 2:
            other = open(
                real, "w", buffering=1, errors="backslashreplace", closefd=False
            )
            stack.enter_context(other)
            stack.enter_context(contextlib.redirect_stderr(other))
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(real, 2)
            held.seek(0)
            for line in held:
                journal.keep(line.decode(errors="replace").rstrip())
                if not _CHATTER.match(line):
                    os.write(2, line)


def _descriptor(stream) -> int | None:
    stream = getattr(stream, "rich_proxied_file", stream)  # while a spinner runs
    try:
        return stream.fileno()
    except (AttributeError, OSError, ValueError):
        return None
