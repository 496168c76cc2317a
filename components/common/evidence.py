"""What is kept in `OUTPUT.failed` when a data gate says no, until the job succeeds."""

import os
from collections.abc import Collection

from reviewbeam.components.common.artifacts import RUN_FILE
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.places import (
    Place,
    clear_folder,
    names_in,
    remove_tree,
)
from reviewbeam.components.common.stores import StorePath


def evidence_place(output: Place, evidence: Collection[str]) -> Place:
    """Returns where the evidence goes.

    Args:
      output: the place of what the gate stops.
      evidence: names of what is kept besides the run record; none: nothing is.

    Raises:
      UserError: something else is there.
    """
    failed = output.with_name(output.name + ".failed")
    if evidence and not is_free(failed, evidence):
        raise UserError(
            f"{str(failed)!r} is needed for what a data gate stops, and holds what "
            "reviewbeam did not leave there. Move it, or choose another --output."
        )
    return failed


def is_free(failed: Place, evidence: Collection[str]) -> bool:
    """Tells whether evidence may be put into a place."""
    if _is_evidence(failed, evidence):
        return True
    if isinstance(failed, StorePath) or not os.path.lexists(failed):
        return not names_in(failed)
    return failed.is_dir() and not failed.is_symlink() and not os.listdir(failed)


def remove_evidence(failed: Place, evidence: Collection[str]) -> None:
    """Removes what a stopped run left, and nothing else."""
    if evidence and _is_evidence(failed, evidence):
        if isinstance(failed, StorePath):
            remove_tree(failed)
        else:
            clear_folder(failed, RUN_FILE)
            failed.rmdir()


def _is_evidence(failed: Place, evidence: Collection[str]) -> bool:
    names = set(names_in(failed))
    if not names <= {*evidence, RUN_FILE}:
        return False
    if isinstance(failed, StorePath):  # copied one by one, perhaps not to the end
        return bool(names)
    return RUN_FILE in names and not failed.is_symlink()
