"""The folder of scores: what it holds, what is staged in it, how it is published.

    model_version=m-<hash>/part-<hash>.parquet   scores
    _rejects/m-<hash>/rejects-<hash>.parquet     rejects of one input file
    _manifest.json                               what counts
    _staged/m-<hash>/                            finished chunks of an unfinished run
    _run.json                                    times, paths, runner of the last run

Names that begin with `_` are passed over by pandas, Spark and DuckDB.
"""

import contextlib
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reviewbeam.components.common import artifacts, publishing
from reviewbeam.components.common.columns import from_bytes, parquet_bytes
from reviewbeam.components.common.errors import DataGateError, UserError
from reviewbeam.components.common.score_config import ScoreConfig
from reviewbeam.components.inference.parts import (
    ChunkRecord,
    read_records,
    rejects_path,
)
from reviewbeam.components.ingestion.files import CorpusFile
from reviewbeam.components.ingestion.read import (
    SliceSummary,
    check_summaries,
    line_offsets,
)
from reviewbeam.components.validation.limits import reject_problems
from reviewbeam.components.validation.validate import place_rejects

KIND = "scores"
MANIFEST = "_manifest.json"
RUN_FILE = "_run.json"
_STAGED = "_staged"
_REJECTS = "_rejects"


class ScoresFolder:
    """An output of `score`, for one version of the settings."""

    def __init__(
        self, output: Path, settings: dict[str, Any], conditions: dict[str, Any]
    ):
        """Names the version; nothing is read or written yet.

        Args:
          output: the folder; it may hold other versions too.
          settings: all that the scores' bytes follow from, besides the reviews.
          conditions: what else decides which rows a run scores.
        """
        self._output = output.absolute()
        self._settings = settings
        self.version = f"m-{artifacts.fingerprint(settings)[:16]}"
        # Work under other conditions must not pass for this run's.
        conditions = artifacts.fingerprint(conditions)[:8]
        self.staging = self._output / _STAGED / f"{self.version}-{conditions}"
        self._scores = self._output / f"model_version={self.version}"
        self._rejects = self._output / _REJECTS / self.version
        self._run = publishing.RunRecord("score", RUN_FILE)

    @contextlib.contextmanager
    def locked(self) -> Iterator["ScoresFolder"]:
        """Holds the folder for this run, and reads what it has.

        Raises:
          UserError: the folder is someone else's, or can't be written.
          BusyError: another run holds it.
        """
        publishing.make_folder(self._output)
        with publishing.folder_lock(self._output):
            found = {name for name in os.listdir(self._output) if name[0] != "."}
            if found and RUN_FILE not in found:
                raise UserError(
                    f"The output {str(self._output)!r} exists and was not made by "
                    "reviewbeam score. Choose another --output."
                )
            self._run.begin(self._output)
            self.staging.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._manifest = self._read_manifest()
            version = self._manifest["versions"].setdefault(
                self.version, {"settings": self._settings, "files": []}
            )
            self._entries = {entry["file"]: entry for entry in version["files"]}
            try:
                yield self
            except UserError:  # the config or the input is wrong: so is what is staged
                self._clear_up()
                raise

    def has(self, file: CorpusFile) -> bool:
        """Tells whether this very content was scored and published."""
        entry = self._entries.get(file.name)
        return entry is not None and entry["sha256"] == file.sha256

    def total(self) -> int:
        """Returns the number of scores that the manifest lists of this version."""
        return sum(entry["written"] for entry in self._entries.values())

    def publish(
        self,
        config: ScoreConfig,
        files: list[CorpusFile],
        summaries: list[SliceSummary],
    ) -> list[dict[str, Any]]:
        """Moves the finished chunks of files into place; the manifest comes last.

        Returns:
          The manifest's entries of these files.

        Raises:
          UserError: a file is wrong as a whole; nothing was published.
          DataGateError: too many rejects; nothing was published.
          RuntimeError: rows were lost or doubled, which is a fault of ours.
        """
        check_summaries(config, files, summaries)
        records = self._finished_chunks(files)
        rows = Counter()
        for summary in summaries:
            rows[summary.file] += summary.rows
        entries = [_entry(f, records[f.name], rows[f.name]) for f in files]
        if problems := reject_problems(config.rules, entries):
            raise DataGateError(
                "The data gate stopped these scores; nothing was published and the "
                "finished work stays staged for the next run:\n"
                + "\n".join(f"  - {problem}" for problem in problems)
            )
        self._publish_rejects(files, records, summaries)
        self._scores.mkdir(exist_ok=True)
        for entry in entries:
            for part in entry["parts"]:
                # A run that was killed here may have moved it already.
                if not (self._scores / part).exists():
                    os.replace(self.staging / part, self._scores / part)
        self._entries |= {entry["file"]: entry for entry in entries}
        self._write_manifest()
        return entries

    def finish(self, **facts: Any) -> None:
        """Removes what the manifest doesn't list, and completes the run's record."""
        listed = {part for entry in self._entries.values() for part in entry["parts"]}
        for path in self._scores.glob("part-*"):
            if path.name not in listed:  # of a file that has changed
                path.unlink()
        self._clear_staging()
        self._run.finish(self._output, **facts)

    def _clear_staging(self) -> None:
        for staging in self.staging.parent.glob(f"{self.version}-*"):
            shutil.rmtree(staging)
        with contextlib.suppress(OSError):  # another version has work in there
            self.staging.parent.rmdir()

    def _clear_up(self) -> None:
        """Removes what this run brought, and a folder that holds nothing else."""
        self._clear_staging()
        if set(os.listdir(self._output)) == {RUN_FILE}:
            (self._output / RUN_FILE).unlink()
            self._output.rmdir()

    def _finished_chunks(self, files: list[CorpusFile]) -> dict[str, list[ChunkRecord]]:
        wanted = {(file.name, file.sha256) for file in files}
        records: dict[str, list[ChunkRecord]] = {file.name: [] for file in files}
        for record in read_records(self.staging):
            if (record.chunk.file, record.chunk.sha256) in wanted:
                records[record.chunk.file].append(record)
        return records

    def _publish_rejects(
        self,
        files: list[CorpusFile],
        records: dict[str, list[ChunkRecord]],
        summaries: list[SliceSummary],
    ) -> None:
        offsets = line_offsets(summaries)
        self._rejects.mkdir(parents=True, exist_ok=True, mode=0o700)
        for file in files:
            name = hashlib.sha256(file.name.encode()).hexdigest()[:20]
            path = self._rejects / f"rejects-{name}.parquet"
            batches = [
                from_bytes(rejects_path(self.staging, record.chunk).read_bytes())
                for record in records[file.name]
                if record.rejected
            ]
            if batches:
                table = place_rejects(batches, offsets)
                artifacts.write_bytes(path, parquet_bytes(table), mode=0o600)
            else:
                path.unlink(missing_ok=True)

    def _read_manifest(self) -> dict[str, Any]:
        path = self._output / MANIFEST
        if not path.exists():
            return {"format": artifacts.FORMAT, "kind": KIND, "versions": {}}
        manifest = artifacts.read_json(path)
        if manifest.get("format") != artifacts.FORMAT or manifest.get("kind") != KIND:
            raise UserError(
                f"{path} is no manifest of scores in format {artifacts.FORMAT}. "
                "Choose another --output."
            )
        return manifest

    def _write_manifest(self) -> None:
        files = [self._entries[name] for name in sorted(self._entries)]
        self._manifest["versions"][self.version]["files"] = files
        artifacts.write_json(self._output / MANIFEST, self._manifest)


def _entry(file: CorpusFile, records: list[ChunkRecord], rows: int) -> dict[str, Any]:
    rejected = sum((Counter(record.rejected) for record in records), Counter())
    written = sum(record.written for record in records)
    excluded = sum(record.excluded for record in records)
    settled = written + rejected.total() + excluded
    if not rows == settled == sum(record.rows for record in records):
        raise RuntimeError(
            f"{file.name}: {rows} rows were read, {written} scored, {rejected} "
            f"rejected, {excluded} excluded"
        )
    return {
        "file": file.name,
        "sha256": file.sha256,
        "bytes": file.size,
        "rows": rows,
        "written": written,
        "rejected": dict(sorted(rejected.items())),
        "left_out": {"excluded_id": excluded} if excluded else {},
        "parts": [record.chunk.part for record in records if record.written],
    }
