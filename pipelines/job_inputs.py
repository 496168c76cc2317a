"""What a job takes from its command line: folders, overrides, Beam's options."""

import argparse
import json
import sys
from pathlib import Path

from reviewbeam.components.common.errors import UserError


def lines_of_standard_input() -> list[str]:
    """Reads the texts, one a line; what is no UTF-8 becomes lone surrogates."""
    lines = sys.stdin.buffer.read().removesuffix(b"\n").split(b"\n")
    return [line.decode("utf-8", errors="surrogateescape") for line in lines]


def overrides_of(arguments: argparse.Namespace) -> list[str]:
    """The overrides, --input among them."""
    inputs = [f"input={json.dumps(arguments.input)}"] if arguments.input else []
    return [*arguments.set, *inputs]


def beam_options(arguments: argparse.Namespace):
    """Makes Beam's options of the file and the arguments that are meant for it."""
    from reviewbeam.pipelines.options import beam_options

    return beam_options(arguments.beam_arguments, arguments.beam)


def folder(path: str) -> Path:
    """A local folder.

    Raises:
      UserError: it is a place of an object store, which would become a folder here.
    """
    if "://" in path:
        raise UserError(
            f"{path!r} is not on a local file system, where outputs, datasets and "
            "models must be. Only --input reads other file systems."
        )
    return Path(path)
