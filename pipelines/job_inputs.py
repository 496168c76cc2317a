"""What a job takes from its command line: folders, overrides, Beam's options."""

import argparse
import json
import sys
from pathlib import Path

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.places import Place, place


def lines_of_standard_input() -> list[str]:
    """Reads the texts, one a line; what is no UTF-8 becomes lone surrogates."""
    lines = sys.stdin.buffer.read().removesuffix(b"\n").split(b"\n")
    return [line.decode("utf-8", errors="surrogateescape") for line in lines]


def overrides_of(arguments: argparse.Namespace) -> list[str]:
    """The overrides, --input among them."""
    inputs = [f"input={json.dumps(arguments.input)}"] if arguments.input else []
    return [*arguments.set, *inputs]


def beam_options(arguments: argparse.Namespace):
    """Makes Beam's options of the file and the arguments that are meant for it.

    From here on its file systems go by them, those of stores too, which have none else.
    """
    from apache_beam.io.filesystems import FileSystems

    from reviewbeam.pipelines.options import beam_options

    options = beam_options(arguments.beam_arguments, arguments.beam)
    FileSystems.set_options(options)
    return options


def folder(path: str) -> Path:
    """A local folder, of a job that writes no other.

    Raises:
      UserError: it is a place of an object store, which would become a folder here.
    """
    if "://" in path:
        raise UserError(
            f"{path!r} is not on a local file system. Only prepare and score write to "
            "an object store; what this job writes must be in a local folder, from "
            "which you may copy it there."
        )
    return Path(path)


def output_place(arguments: argparse.Namespace) -> Place:
    """The output of a job that can write to an object store.

    Raises:
      UserError: it is of a store that isn't known, or --no-lock is of no use.
    """
    output = place(arguments.output)
    if arguments.no_lock and isinstance(output, Path):
        raise UserError(
            "--no-lock is for an object store without conditional puts. On a file "
            "system the lock costs nothing and is freed when its run ends: leave it "
            "out."
        )
    return output


def artifact(path: str | Place) -> Path:
    """A finished artifact's folder; of one in an object store, this host's copy.

    Raises:
      UserError: the store has none there, or a damaged one.
    """
    from reviewbeam.components.common.host_copies import host_copy

    return host_copy(path)


def check_local(path: str, kind: str) -> None:
    """Refuses at once what is no artifact, before libraries take their time.

    Args:
      path: where it is; one in an object store is looked at later.
      kind: `dataset` or `model`; for the latter a models folder will do.

    Raises:
      UserError: it is none.
    """
    from reviewbeam.components.common.artifacts import read_manifest
    from reviewbeam.components.common.models_folder import pinned

    where = place(path)
    if isinstance(where, Path):
        read_manifest(pinned(where) if kind == "model" else where, kind)


def model(path: str) -> Path:
    """A model's folder, or that of the model in service of a models folder.

    Raises:
      UserError: there is none, or it is damaged.
    """
    from reviewbeam.components.common.models_folder import pinned

    return artifact(pinned(place(path)))
