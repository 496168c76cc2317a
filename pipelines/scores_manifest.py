"""What a folder of scores holds, as its manifest tells.

The manifest is the list of what counts. It is replaced in one step, so that whoever
follows it sees every row once at every moment.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson

from reviewbeam.components.common import artifacts
from reviewbeam.components.common.errors import BusyError, UserError
from reviewbeam.components.common.folder_locks import held_folder
from reviewbeam.components.common.places import Place, names_in, remove_tree
from reviewbeam.components.common.run_record import RunRecord
from reviewbeam.components.common.store_lock import LOCK
from reviewbeam.components.inference.parts import ChunkRecord, part_name, rejects_name
from reviewbeam.pipelines.flink_runner import end_earlier_job

MANIFEST = "_manifest.json"
KIND = "scores"
RUN_FILE = "_run.json"
REPORT_PAGE = "_report.html"
PARTITION = "model_version"
REJECTS = "_rejects"


@dataclasses.dataclass(frozen=True)
class Share:
    """What a chunk holds of a file."""

    file: str  # name
    written: int  # rows of its part
    bytes: int  # of its part, where that is text
    rejected: int  # rows of its rejects


@dataclasses.dataclass(frozen=True)
class PublishedChunk:
    """A part, its rejects, or both, and whose rows they are, in their order."""

    name: str
    shares: tuple[Share, ...]

    @classmethod
    def of(cls, record: ChunkRecord) -> "PublishedChunk":
        """Takes over what a worker told."""
        shares: dict[str, Share] = {}
        for segment in record.segments:
            before = shares.get(segment.file, Share(segment.file, 0, 0, 0))
            shares[segment.file] = Share(
                segment.file,
                before.written + segment.written,
                before.bytes + segment.bytes,
                before.rejected + sum(segment.rejected.values()),
            )
        return cls(record.name, tuple(shares.values()))

    @property
    def written(self) -> int:
        """Rows of its part."""
        return sum(share.written for share in self.shares)

    @property
    def rejected(self) -> int:
        """Rows of its rejects."""
        return sum(share.rejected for share in self.shares)

    def to_data(self, output_format: str) -> dict[str, Any]:
        """Returns its entry in a manifest."""
        return {
            "chunk": self.name,
            "part": part_name(self.name, output_format) if self.written else None,
            "rows": self.written,
            "rejects": rejects_name(self.name) if self.rejected else None,
            "files": [list(dataclasses.astuple(share)) for share in self.shares],
        }

    @classmethod
    def of_data(cls, data: dict[str, Any]) -> "PublishedChunk":
        """Reads an entry."""
        return cls(data["chunk"], tuple(Share(*share) for share in data["files"]))


@dataclasses.dataclass
class Manifest:
    """The manifest, as plain data."""

    data: dict[str, Any]
    check: Callable[[], None] = lambda: None  # called before it is written

    @classmethod
    def read(
        cls, output: Place, check: Callable[[], None] = lambda: None
    ) -> "Manifest":
        """Reads the manifest of a folder; one without it is empty.

        Args:
          output: the folder.
          check: of the run that holds it.

        Raises:
          UserError: it is none of ours.
        """
        path = output / MANIFEST
        try:
            data = orjson.loads(path.read_bytes())
            ours = data["kind"] == KIND and data["format"] == artifacts.FORMAT
        except FileNotFoundError:
            data = {"format": artifacts.FORMAT, "kind": KIND}
            return cls(data | {"inference": {}, "versions": {}}, check)
        except (ValueError, TypeError, KeyError):
            ours = False
        if not ours:
            raise UserError(
                f"{path} is no manifest of scores in format {artifacts.FORMAT}. "
                "Choose another --output."
            )
        return cls(data, check)

    def write(self, output: Place) -> None:
        """Replaces the manifest of a folder."""
        self.check()
        options = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2
        data = orjson.dumps(self.data, option=options)
        artifacts.write_bytes(output / MANIFEST, data, sync=True)

    def files(self) -> Iterator[dict[str, Any]]:
        """Yields the entries of all files, of all versions."""
        for version in self.data["versions"].values():
            yield from version["files"]

    def paths(self) -> set[str]:
        """Returns the names of all listed parts and rejects, below the folder."""
        return {
            f"{folder}/{chunk[what]}"
            for name, version in self.data["versions"].items()
            for chunk in version["chunks"]
            for what, folder in (
                ("part", f"{PARTITION}={name}"),
                ("rejects", f"{REJECTS}/{name}"),
            )
            if chunk[what] is not None
        }

    def version(self, name: str) -> dict[str, Any]:
        """Returns what there is of a version."""
        return self.data["versions"].get(name, {"files": [], "chunks": []})

    def set_version(
        self,
        name: str,
        output_format: str,
        files: Iterable[dict[str, Any]],
        chunks: Iterable[PublishedChunk],
        **facts: Any,
    ) -> None:
        """Replaces what there is of a version."""
        self.data["versions"][name] = {
            "files": sorted(files, key=lambda entry: entry["file"]),
            "chunks": [
                chunk.to_data(output_format)
                for chunk in sorted(chunks, key=lambda chunk: chunk.name)
            ],
            **facts,
        }


@contextlib.contextmanager
def locked_scores(output: Place, *, lock: bool = True) -> Iterator[RunRecord]:
    """Holds the folder for this run.

    Args:
      output: the folder.
      lock: keep other runs out; on a file system that is always so.

    Raises:
      UserError: the folder is someone else's, or can't be written.
      BusyError: another run holds it.
    """
    run = RunRecord("score", RUN_FILE, recover=end_earlier_job)
    with held_folder(output, run, lock=lock):
        for name in (RUN_FILE, MANIFEST, REPORT_PAGE):
            artifacts.remove_unfinished(output / name)
        found = {name for name in names_in(output) if name[0] != "."} - {LOCK}
        if found and RUN_FILE not in found:
            raise UserError(
                f"The output {str(output)!r} exists and was not made by reviewbeam "
                "score. Choose another --output."
            )
        run.begin(output)
        try:
            yield run
        finally:
            ours = {RUN_FILE, MANIFEST, REPORT_PAGE, LOCK}
            if ours.issuperset(names_in(output)) and (
                not Manifest.read(output).data["versions"]
            ):  # nothing came of it
                with contextlib.suppress(BusyError):
                    run.check()
                    remove_tree(output)
