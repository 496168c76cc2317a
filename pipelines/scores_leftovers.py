"""Removes the scores that no manifest lists: of runs that were killed."""

import contextlib
from collections.abc import Collection

from reviewbeam.components.common import stores
from reviewbeam.components.common.places import Place, names_in, remove_files
from reviewbeam.components.common.stores import StorePath
from reviewbeam.pipelines.scores_manifest import PARTITION, REJECTS


def remove_unlisted(
    output: Place, listed: Collection[str], looked_at: Collection[Place]
) -> None:
    """Removes parts and rejects of all versions that the manifest doesn't list.

    Where they are moved one by one, or put where they are to stay, a run of other
    settings may have left some that nobody goes on with.

    Args:
      output: the folder of scores, which holds no staged work.
      listed: names of what stays, below the folder.
      looked_at: folders of versions in which nothing else is left; a store is listed
        as a whole.
    """
    if isinstance(output, StorePath):
        stores.remove(
            path
            for path, _, _ in output.below()
            if (name := path.key.removeprefix(f"{output.key}/")) not in listed
            and name.startswith((f"{PARTITION}=", f"{REJECTS}/"))
        )
        return
    folders = {*output.glob(f"{PARTITION}=*"), *(output / REJECTS).glob("*")}
    for folder in folders - set(looked_at):
        version = folder.relative_to(output).as_posix()
        names = names_in(folder, "*-*")
        remove_files(folder, (n for n in names if f"{version}/{n}" not in listed))
        with contextlib.suppress(OSError):  # it holds others
            folder.rmdir()
