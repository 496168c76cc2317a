"""What a person is told of a failure: its cause in one line, and no review in it."""

import builtins
import errno
import os
import re
import traceback
from pathlib import Path

from reviewbeam.components.common import errors
from reviewbeam.components.common.errors import ReviewbeamError

# Their messages name files and resources. Those of others (ValueError, KeyError,
# pydantic's, pyarrow's) quote values, which may be a review's.
_QUOTE_NOTHING = (ArithmeticError, ImportError, MemoryError, OSError, RuntimeError)
_QUOTE_NOTHING_EITHER = ("BeamIOError", "ResourceExhaustedError")
_FULL = [os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT)]
_STEP = re.compile(r" \[while running '.*?'\]")
_TRACE = "Traceback (most recent call last):\n"
# Of a job that failed on a cluster without a worker's exception.
_JOB = re.compile(r"Pipeline \S+ failed in state (\w+): (.*)")
_RPC = ("_InactiveRpcError", "_MultiThreadedRendezvous")  # of gRPC
_JOINT = re.compile(r"\n\n(?:During handling|The above exception)")
_FRAME = re.compile(r'^  File "(.*)", line (\d+)', re.MULTILINE)
_WHOLE_FRAME = re.compile(r'^  File "[^"\n]*\.py", line \d+, in [\w<>]+$', re.MULTILINE)
_RAISED = re.compile(r"^([A-Za-z_][\w.]*)(?:: (.*))?\Z", re.DOTALL | re.MULTILINE)


def explain(
    error: BaseException, output: str | None = None
) -> ReviewbeamError | KeyboardInterrupt:
    """Returns what a job's failure was, as an exception with a message for a person.

    Args:
      error: what the job raised. Beam adds the step to what a worker raises, and of
        a worker behind gRPC it has only the traceback's text.
      output: named when its disk is full.
    """
    text = str(error)
    if isinstance(error, RuntimeError) and _TRACE in text:
        # Where a cluster ran it, words of the runner stand before.
        return _explain_text(text[text.index(_TRACE) :], output)
    if isinstance(error, RuntimeError) and (job := _JOB.match(text)):
        what = job[2] if job[2] != "unknown error" else f"it is {job[1].lower()}"
        return _failed("RuntimeError", f"the cluster's job: {what}", None, output)
    if _STEP.search(text) and error.__context__ is not None:
        error = error.__context__  # as the worker raised it
    if isinstance(error, ReviewbeamError | KeyboardInterrupt):
        return error
    if type(error).__name__ in _RPC:
        told = "Beam's job server ended, or didn't answer"
        return _failed("RuntimeError", told, None, output)
    frames = traceback.extract_tb(error.__traceback__)
    place = (frames[-1].filename, frames[-1].lineno) if frames else None
    return _failed(type(error).__name__, str(error), place, output)


def _explain_text(text: str, output: str | None) -> ReviewbeamError | KeyboardInterrupt:
    """Finds a failure of ours in a traceback, or else the exception it began with."""
    found = []
    for trace in text.split(_TRACE)[1:]:
        trace = _JOINT.split(trace)[0].rstrip()
        frames = _FRAME.findall(trace)
        if not (raised := _RAISED.search(trace)):
            continue
        name, message = raised[1].rpartition(".")[2], raised[2] or ""
        kind = getattr(errors, name, getattr(builtins, name, None))
        if kind is KeyboardInterrupt:
            return KeyboardInterrupt()
        if isinstance(kind, type) and issubclass(kind, ReviewbeamError):
            return kind(_STEP.sub("", message))
        found.append((name, message, frames[-1] if frames else None))
    return _failed(*(found or [("RuntimeError", "a worker ended", None)])[0], output)


def _failed(
    name: str, message: str, place: tuple[str, int | str] | None, output: str | None
) -> ReviewbeamError:
    message = _STEP.sub("", message)
    if _quotes_nothing(name):
        what = f"{name}: {' '.join(message.split()) or 'no reason was given'}"
    else:  # the place, for whoever looks for the fault
        what = f"{name} at {Path(place[0]).name}:{place[1]}" if place else name
    if output and any(reason in message for reason in _FULL):
        what += f". Make room on the disk of {os.path.abspath(output)!r}"
    return ReviewbeamError(f"failed: {what}.\nRun it again; --verbose tells the whole "
                           "story, and may show reviews.")  # fmt: skip


def _quotes_nothing(name: str) -> bool:
    """Tells whether an exception's message names files and resources only."""
    kind = getattr(builtins, name, getattr(errors, name, None))
    safe = (*_QUOTE_NOTHING, ReviewbeamError)
    return name in _QUOTE_NOTHING_EITHER or (
        isinstance(kind, type) and issubclass(kind, safe)
    )


def traceback_without_values(error: BaseException) -> str:
    """Returns where a failure came from, from its first cause to what came of it.

    It has files, lines and types, and a message only where that quotes nothing: neither
    values nor, of a worker's traceback, words that may be a review's.
    """
    told: list[str] = []
    following: BaseException | None = error
    while following is not None:
        error, text = following, str(following)
        frames = traceback.extract_tb(error.__traceback__)
        part = [f'  File "{f.filename}", line {f.lineno}, in {f.name}' for f in frames]
        if _TRACE in text:
            worker = _WHOLE_FRAME.findall(text)
            part += ["of a worker:", *worker]
            text = ""
        elif _STEP.search(text) and error.__context__ is not None:
            text = ""  # Beam's words about the one that it came from
        name = type(error).__name__
        text = " ".join(_STEP.sub("", text).split())
        part.append(f"{name}: {text}" if text and _quotes_nothing(name) else name)
        told = [*part, *told]
        hidden = error.__suppress_context__
        following = error.__cause__ or (None if hidden else error.__context__)
    return "\n".join(told)
