"""Outputs that are whole or not there: staging, locks and run records.

An artifact is built in `OUTPUT.staged/` beside its place and renamed into it,
so that OUTPUT never exists by half. The staging folder is also the lock: its
`flock` is freed by the kernel when its holder dies. In an object store that is done
as `store_publishing` and `store_lock` say.
"""

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from reviewbeam.components.common.artifacts import (
    MANIFEST,
    RUN_FILE,
    UNFINISHED,
    OtherFormatError,
    read_json,
    read_manifest,
    write_json,
)
from reviewbeam.components.common.errors import BusyError, DataGateError, UserError
from reviewbeam.components.common.evidence import evidence_place, remove_evidence
from reviewbeam.components.common.evidence import is_free as evidence_is_free
from reviewbeam.components.common.folder_locks import folder_lock, make_folder
from reviewbeam.components.common.places import Place, clear_folder
from reviewbeam.components.common.run_record import RunRecord
from reviewbeam.components.common.store_publishing import (
    SUCCESS,
    is_free,
    store_output,
)
from reviewbeam.components.common.stores import StorePath

_PATIENCE = 50  # tenths of a second


def is_done(
    output: Place, kind: str, expected: str, *, overwrite: bool = False
) -> bool:
    """Tells whether an output stands complete with the expected fingerprint.

    Raises:
      UserError: something else is there and `overwrite` is not set, or it is
        nothing that reviewbeam made.
    """
    if isinstance(output, StorePath):
        if is_free(output):
            return False
    elif not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return False
    if not (output / MANIFEST).is_file():
        raise UserError(
            f"The output {str(output)!r} exists and was not made by reviewbeam. "
            "Choose another --output."
        )
    try:
        found = read_manifest(output, kind).get("fingerprint")
    except OtherFormatError:  # what another version of reviewbeam made
        if not overwrite:
            raise
        found = None
    if found == expected:
        if isinstance(output, Path):  # of a run that was killed at its very end
            shutil.rmtree(_replaced(output.absolute()), ignore_errors=True)
        return True
    if overwrite:
        return False
    raise UserError(
        f"The output {str(output)!r} holds a {kind} made from other inputs or another "
        "config. Choose another --output, or add --overwrite to replace it."
    )


def staged_output(
    output: Place,
    job: str,
    *,
    overwrite: bool = False,
    evidence: Collection[str] = (),
    run: RunRecord | None = None,
    lock: bool = True,
) -> contextlib.AbstractContextManager[Place]:
    """Yields an empty staging folder that becomes `output` when the block ends.

    A block that fails leaves nothing behind, but for one that a data gate stopped:
    what a person needs to see why is kept in `OUTPUT.failed`, until the job succeeds.
    What a killed run left is cleared, and an output that it was about to replace is
    brought back.

    Args:
      output: the artifact's place.
      job: named in the run record.
      overwrite: replace an output that stands.
      evidence: names in the staging folder that are kept when a data gate said no.
      run: the run's record, for a job that notes facts while it goes on or asks for
        those of the run before; None: one by the job's name.
      lock: keep other runs out; on a file system that is always so.

    Raises:
      BusyError: another run builds the same output, or just has.
      UserError: the staging folder or `OUTPUT.failed` is someone else's, or they
        can't be written.
    """
    run = run or RunRecord(job)
    if isinstance(output, StorePath):
        return store_output(
            output, run, overwrite=overwrite, evidence=evidence, lock=lock
        )
    return _staged_folder(output.absolute(), run, overwrite, evidence)


def add_to_run_record(directory: Place, **facts: Any) -> None:
    """Adds facts (paths, runner, versions, speeds) to an artifact's `run.json`."""
    path = directory / RUN_FILE
    write_json(path, read_json(path) | facts)


@contextlib.contextmanager
def _staged_folder(
    output: Path, run: RunRecord, overwrite: bool, evidence: Collection[str]
) -> Iterator[Path]:
    """Does what `staged_output` says, on a file system."""
    staging = output.with_name(output.name + ".staged")
    replaced = _replaced(output)
    failed = evidence_place(output, evidence)
    with _own_folder(staging):
        leftovers = {name for name in os.listdir(staging) if name[0] != "."}
        if leftovers and RUN_FILE not in leftovers:
            raise UserError(
                f"{str(staging)!r} is needed to build the output and holds files that "
                "reviewbeam did not write. Move them, or choose another --output."
            )
        _recover(output, replaced)
        if (output / MANIFEST).exists() and not overwrite:
            raise BusyError(
                f"Another run has just written {str(output)!r}. Run this one again."
            )
        run.begin(staging)
        try:
            clear_folder(staging, RUN_FILE, keep={RUN_FILE})
            yield staging
            for unfinished in staging.rglob(UNFINISHED):  # by a worker that was killed
                unfinished.unlink()
            run.finish()
            (staging / SUCCESS).touch()
            if output.exists():
                os.rename(output, replaced)
            os.rename(staging, output)
        except BaseException as error:
            _recover(output, replaced)
            stopped = evidence and isinstance(error, DataGateError)
            if stopped and evidence_is_free(failed, evidence):
                clear_folder(staging, RUN_FILE, keep={*evidence, RUN_FILE})
                remove_evidence(failed, evidence)
                os.rename(staging, failed)
            elif not run.leaves_job:
                _remove(staging)
            raise
        shutil.rmtree(replaced, ignore_errors=True)
        remove_evidence(failed, evidence)


@contextlib.contextmanager
def _own_folder(folder: Path) -> Iterator[None]:
    """Makes a folder and locks it; a failure leaves none that is empty."""
    make_folder(folder)
    with folder_lock(folder):
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                os.rmdir(folder)
            raise


def _remove(folder: Path) -> None:
    """Removes a folder of ours, in which threads of a stopped job may still write."""
    for patience in reversed(range(_PATIENCE)):
        try:
            clear_folder(folder, RUN_FILE)
            return os.rmdir(folder)
        except OSError as error:
            if not patience or error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                raise
        time.sleep(0.1)


def _replaced(output: Path) -> Path:
    """The place of an older output while a newer one takes its own."""
    return output.with_name(f".{output.name}.replaced")


def _recover(output: Path, replaced: Path) -> None:
    """Ends a replacement that was cut off: back to the old one, or on without it."""
    if replaced.exists() and output.exists():
        shutil.rmtree(replaced)
    elif replaced.exists():
        os.rename(replaced, output)
