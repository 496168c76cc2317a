"""Failures that a user or a scheduler acts on, each with its exit code.

Every message says what was found, what was expected and what to do.
"""

import difflib
from collections.abc import Iterable


class ReviewbeamError(Exception):
    """A fault of ours or of the machine: safe to run again."""

    exit_code = 1


class UserError(ReviewbeamError):
    """The user's mistake: running again without a change can't help."""

    exit_code = 2


class DataGateError(ReviewbeamError):
    """The data gate said no: too many rejects, or a fatal anomaly."""

    exit_code = 3


class ModelGateError(ReviewbeamError):
    """The model gate said no: a model is not blessed."""

    exit_code = 4


class BusyError(ReviewbeamError):
    """Another run holds the output: the same command can go on later."""

    exit_code = 75


class StoppedError(ReviewbeamError):
    """The run was told to stop and saved its state: the same command goes on."""

    exit_code = 75


def nearest(name: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """Returns ` (did you mean 'x'?)` for the closest known name, else ``.

    Args:
      name: what was found.
      known: what would be right.
      cutoff: how alike they must be, from 0 to 1.
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f" (did you mean {close[0]!r}?)" if close else ""


def listing(names: Iterable[str], most: int = 12) -> str:
    """Returns names for a message: `'a', 'b', … (3 more)`."""
    names = list(names)
    shown = ", ".join(repr(name) for name in names[:most])
    rest = len(names) - most
    return f"{shown}, … ({rest} more)" if rest > 0 else shown or "none"


def why_unread(error: Exception) -> str:
    """Returns why a text file could not be read, for a message."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return getattr(error, "strerror", None) or str(error)
