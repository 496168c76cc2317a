"""The folder of scores: what it holds, what is staged in it, how it is published.

    model_version=m-<hash>/part-<chunk>.parquet   scores
    _rejects/m-<hash>/rejects-<chunk>.parquet     rejects
    _manifest.json                                what counts
    _staged/m-<hash>-<hash>/                      finished chunks of an unfinished run
    _run.json                                     times, paths, runner of the last run
    _report.html                                  what that run did, for people

Names that begin with `_` are passed over by pandas, Spark and DuckDB.
"""

from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reviewbeam.components.common import artifacts
from reviewbeam.components.common.columns import parquet_bytes
from reviewbeam.components.common.places import (
    Place,
    move,
    names_in,
    remove_files,
    remove_tree,
)
from reviewbeam.components.inference.formats import drop_segments
from reviewbeam.components.inference.parts import (
    Work,
    name_without,
    part_name,
    read_chunks,
    read_units,
    record_path,
    rejects_name,
)
from reviewbeam.components.ingestion.files import CorpusFile
from reviewbeam.components.ingestion.units import (
    Unit,
    plan_units,
    unit_of_data,
    unit_to_data,
)
from reviewbeam.pipelines.scores_leftovers import remove_unlisted
from reviewbeam.pipelines.scores_manifest import (
    PARTITION,
    REJECTS,
    Manifest,
    PublishedChunk,
)

_STAGED = "_staged"
_PLAN = "plan.json"


class ScoresVersion:
    """The scores of one model by one set of settings, in a folder that is locked."""

    def __init__(
        self,
        output: Place,
        manifest: Manifest,
        settings: dict[str, Any],
        conditions: dict[str, Any],
    ):
        """Names the version.

        Args:
          output: the folder; it may hold other versions too.
          manifest: of the folder.
          settings: all that the scores' bytes follow from, besides the reviews.
          conditions: what else decides which rows a run scores.
        """
        self.output = output
        self.manifest = manifest
        self._settings = settings
        self._format = settings["output_format"]
        self.name = f"m-{artifacts.fingerprint(settings)[:16]}"
        # Work under other conditions must not pass for this run's.
        self.conditions = artifacts.fingerprint(conditions)[:8]
        self.staging = output / _STAGED / f"{self.name}-{self.conditions}"
        self._scores = output / f"{PARTITION}={self.name}"
        self._rejects = output / REJECTS / self.name
        self.work = Work(
            str(self.staging),
            str(self._scores),
            str(self._rejects),
            self._format,
        )
        version = manifest.version(self.name)
        self.entries = {entry["file"]: entry for entry in version["files"]}
        self._chunks = {
            data["chunk"]: PublishedChunk.of_data(data) for data in version["chunks"]
        }
        self._replaced: set[str] = set()  # chunks that publish took out

    def has(self, file: CorpusFile) -> bool:
        """Tells whether all of this very content was scored and published."""
        entry = self.entries.get(file.name)
        return (
            entry is not None and entry["complete"] and entry["sha256"] == file.sha256
        )

    def total(self) -> int:
        """Returns the number of scores that the manifest lists of this version."""
        return sum(chunk.written for chunk in self._chunks.values())

    def others(self) -> list[str]:
        """Returns the names of the other versions that the folder has scores of."""
        return sorted(self.manifest.data["versions"].keys() - {self.name})

    def plan(
        self, files: list[CorpusFile], slice_bytes: int, salvages: bool
    ) -> tuple[list[Unit], dict[str, str]]:
        """Divides files into units; those of an unfinished run stay as they are.

        Args:
          files: that are new.
          slice_bytes: of a large file, at once.
          salvages: files that can't be divided are read as far as they can be.

        Returns:
          The units, newest first, and name -> damage of files that can't be divided.
        """
        self.staging.mkdir(parents=True, exist_ok=True, mode=0o700)
        wanted = {file.name: file for file in files}
        path = self.staging / _PLAN
        before = orjson.loads(path.read_bytes()) if path.exists() else []
        units = [unit for data in before if (unit := unit_of_data(data, wanted))]
        for unit in units:
            for piece in unit.slices:
                wanted.pop(piece.file.name, None)
        self._forget_all_but(units)
        new, damaged = plan_units(wanted.values(), slice_bytes, salvages)
        units += new
        artifacts.write_bytes(
            path, orjson.dumps([unit_to_data(unit) for unit in units])
        )
        return sorted(units, key=lambda unit: -unit.modified), damaged

    def _forget_all_but(self, units: list[Unit]) -> None:
        """Removes what is staged of other units, and under other conditions."""
        for staging in self.staging.parent.glob(f"{self.name}-*"):
            if staging != self.staging:
                remove_tree(staging)
        kept = {unit.name for unit in units}
        chunks = [c.name for c in read_chunks(self.staging) if c.unit not in kept]
        units_gone = read_units(self.staging).keys() - kept
        for kind, names in (("chunk", chunks), ("unit", units_gone)):
            paths = (record_path(self.staging, kind, name) for name in names)
            remove_files(self.staging, [path.name for path in paths])

    def note_times(self, files: Iterable[CorpusFile]) -> None:
        """Notes when known files were written, so that they needn't be hashed again."""
        news = False
        for file in files:
            entry = self.entries[file.name]
            if entry["modified"] != file.modified:
                entry["modified"], news = file.modified, True
        if news:
            self.manifest.write(self.output)

    def publish(
        self,
        entries: dict[str, dict[str, Any]],
        chunks: Iterable[PublishedChunk],
        broken: Iterable[str],
        **facts: Any,
    ) -> None:
        """Puts finished chunks into place; the manifest comes last.

        What was published of these files before and isn't among the chunks is taken
        out.

        Args:
          entries: name -> manifest's entry of files that are published now.
          chunks: staged ones; they may hold rows of files that aren't published.
          broken: names of files of which nothing is to be published. Scores of an
            earlier content stay, those of a part of this one don't.
          **facts: whatever else the manifest says of the version.
        """
        self._scores.mkdir(exist_ok=True)
        self._rejects.mkdir(parents=True, exist_ok=True, mode=0o700)
        broken = set(broken)
        old = self.entries
        gone = {name for name in broken & old.keys() if not old[name]["complete"]}
        new = {chunk.name: chunk for chunk in chunks}
        published = {}
        work = self.work.as_listed()
        for name, chunk in (self._chunks | new).items():
            out = broken if name in new else gone | entries.keys()
            put = self._put if name in new else self._less
            kept = put(work, chunk, out)
            if kept.shares:
                published[kept.name] = kept
        self.entries = {
            name: entry for name, entry in (old | entries).items() if name not in gone
        }
        self._replaced = self._chunks.keys() - published.keys() - new.keys()
        self._chunks = published
        self.manifest.set_version(
            self.name,
            self._format,
            self.entries.values(),
            published.values(),
            settings=self._settings,
            **facts,
        )
        self.manifest.write(self.output)

    def finish(self, *, staged: bool) -> None:
        """Removes what the manifest doesn't list, and staged work unless it stays.

        A part that isn't listed may be of staged work too, of a run that was killed
        while it published: beside such only what was replaced now is removed.
        """
        parts = {part_name(name, self._format) for name in self._chunks}
        rejects = {rejects_name(name) for name in self._chunks}
        for folder, listed in ((self._scores, parts), (self._rejects, rejects)):
            old = [
                name
                for name in names_in(folder, "*-*")
                if name not in listed and (not staged or _chunk(name) in self._replaced)
            ]
            remove_files(folder, old)
        if not staged:
            self.clear_staging()
            mine = (self._scores, self._rejects)
            remove_unlisted(self.output, self.manifest.paths(), mine)

    def clear_staging(self) -> None:
        """Removes all that is staged, of earlier versions too."""
        remove_tree(self.staging.parent)

    def clear_useless(self) -> None:
        """Removes what is staged if no score is among it."""
        if not any(record.written for record in read_chunks(self.staging)):
            self.clear_staging()

    def _less(self, work: Work, chunk: PublishedChunk, out: set[str]) -> PublishedChunk:
        """Takes the rows of some files out of a published chunk, if it has such."""
        if out.isdisjoint(share.file for share in chunk.shares):
            return chunk
        return self._put(work, chunk, out)

    def _put(self, work: Work, chunk: PublishedChunk, out: set[str]) -> PublishedChunk:
        """Puts a chunk into place, without the rows of some files."""
        files = {share.file for share in chunk.shares} & out
        keep = [share.file not in files for share in chunk.shares]
        kept = tuple(s for s, stays in zip(chunk.shares, keep, strict=True) if stays)
        name = name_without(chunk.name, files) if files else chunk.name
        result = PublishedChunk(name, kept)
        if result.written:
            part = _existing(work.find_part(chunk.name), chunk)
            target = self._scores / part_name(name, self._format)
            if not files:
                move(part, target)
            elif not target.exists():
                rows = [share.written for share in chunk.shares]
                sizes = [share.bytes for share in chunk.shares]
                data = drop_segments(part.read_bytes(), rows, sizes, keep, self._format)
                artifacts.write_bytes(target, data, sync=True)
        if result.rejected:
            rejects = _existing(work.find_rejects(chunk.name), chunk)
            target = self._rejects / rejects_name(name)
            if not files:
                move(rejects, target)
            elif not target.exists():
                table = pq.read_table(pa.BufferReader(rejects.read_bytes()))
                others = pc.invert(pc.is_in(table["file"], pa.array(sorted(files))))
                data = parquet_bytes(table.filter(others))
                artifacts.write_bytes(target, data, mode=0o600, sync=True)
        return result


def _chunk(name: str) -> str:
    """Returns whose part or rejects a file is."""
    return PurePath(name).stem.partition("-")[2]


def _existing(path: Place | None, chunk: PublishedChunk) -> Place:
    if path is None:
        raise RuntimeError(f"the rows of chunk {chunk.name} are gone")
    return path
