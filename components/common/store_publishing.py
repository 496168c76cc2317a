"""Outputs in an object store that are whole or not there.

A store renames nothing, so that objects are put under their final names from the
start; what counts is what `manifest.json` lists, which comes last. An output that is
to be replaced loses its manifest first, and then all else, before anything new is
written: there is no moment at which a manifest stands beside objects of another run.
"""

import contextlib
from collections.abc import Collection, Iterator

from reviewbeam.components.common import stores
from reviewbeam.components.common.artifacts import MANIFEST, RUN_FILE
from reviewbeam.components.common.errors import BusyError, DataGateError, UserError
from reviewbeam.components.common.evidence import evidence_place, remove_evidence
from reviewbeam.components.common.places import names_in
from reviewbeam.components.common.run_record import RunRecord
from reviewbeam.components.common.store_lock import LOCK, held
from reviewbeam.components.common.stores import StorePath

SUCCESS = "_SUCCESS"


def is_free(output: StorePath) -> bool:
    """Tells whether nothing is there, or what a run left that was killed.

    Raises:
      UserError: something else is there.
    """
    names = set(names_in(output)) - {LOCK}
    if names and not names & {RUN_FILE, MANIFEST}:
        raise UserError(
            f"The output {str(output)!r} exists and was not made by reviewbeam. "
            "Choose another --output."
        )
    return MANIFEST not in names


@contextlib.contextmanager
def store_output(
    output: StorePath,
    run: RunRecord,
    *,
    overwrite: bool,
    evidence: Collection[str],
    lock: bool,
) -> Iterator[StorePath]:
    """Does for a store what `publishing.staged_output` does for a file system.

    Yields `output` itself, emptied.

    Args:
      output: the artifact's place.
      run: its record.
      overwrite: replace an output that stands.
      evidence: names that are copied to `OUTPUT.failed` when a data gate said no.
      lock: keep other runs out.

    Raises:
      BusyError: another run builds the same output, or just has.
      UserError: the output or `OUTPUT.failed` is someone else's, or can't be written.
    """
    failed = evidence_place(output, evidence)
    with held(output, run, lock=lock):
        if not is_free(output) and not overwrite:
            raise BusyError(
                f"Another run has just written {str(output)!r}. Run this one again."
            )
        run.begin(output)
        try:
            _clear(output, keep={RUN_FILE})
            yield output
            run.finish()
            (output / SUCCESS).touch()
        except BaseException as error:
            run.check()  # else it is no longer this run's to clear
            if evidence and isinstance(error, DataGateError):
                remove_evidence(failed, evidence)
                _copy(output, failed, {*evidence, RUN_FILE})
            if not run.leaves_job:
                _clear(output)
            raise
        remove_evidence(failed, evidence)


def _clear(folder: StorePath, keep: Collection[str] = ()) -> None:
    """Removes all objects below but the lock; the manifest goes before the rest."""
    stores.remove([folder / MANIFEST])
    kept = {folder / name for name in (LOCK, *keep)}
    stores.remove(path for path, _, _ in folder.below() if path not in kept)


def _copy(source: StorePath, target: StorePath, names: Collection[str]) -> None:
    for path, _, _ in source.below():
        name = path.key.removeprefix(f"{source.key}/")
        if name.partition("/")[0] in names:
            stores.copy(path, target / name)
