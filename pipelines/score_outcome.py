"""What a run of `score` has finished: read from its staging folder, and judged."""

import dataclasses
from collections import Counter
from collections.abc import Collection
from typing import Any

from reviewbeam.components.common.errors import (
    DataGateError,
    ReviewbeamError,
    UserError,
)
from reviewbeam.components.common.model_directory import ModelMetadata
from reviewbeam.components.common.places import place
from reviewbeam.components.common.score_config import ScoreConfig
from reviewbeam.components.common.serving_drift import (
    ServingDrift,
    compare,
    drift_lines,
)
from reviewbeam.components.common.serving_drift_config import ServingDriftRules
from reviewbeam.components.common.serving_statistics import merge
from reviewbeam.components.inference.faults import FAULTS
from reviewbeam.components.inference.parts import (
    ChunkRecord,
    Work,
    read_chunks,
    read_units,
)
from reviewbeam.components.ingestion.files import CorpusFile
from reviewbeam.components.ingestion.read import SliceSummary, check_summaries
from reviewbeam.components.ingestion.units import Unit
from reviewbeam.components.validation.limits import reject_problems

_MANY_FAULTS = 10  # fewer rows without a single score may be bad ones all the same


class ModelFailedError(ReviewbeamError):
    """The model gave no score to any row."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The finished work of some units."""

    files: dict[str, CorpusFile]  # by name: those of the units
    chunks: list[ChunkRecord]
    summaries: list[SliceSummary]  # of units that were read to the end
    complete: set[str]  # names of files of which all chunks are finished

    @classmethod
    def read(cls, work: Work, units: list[Unit]) -> "Outcome":
        """Reads what workers told of these units."""
        staging, work = place(work.staging), work.as_listed()
        names = {unit.name for unit in units}
        chunks = [
            chunk
            for chunk in read_chunks(staging)
            if chunk.unit in names and work.stands(chunk)
        ]
        finished = {chunk.name for chunk in chunks}
        read = read_units(staging)
        summaries, open_files, files = [], set(), {}
        for unit in units:
            mine = {piece.file.name: piece.file for piece in unit.slices}
            files |= mine
            record = read.get(unit.name)
            if record is None or not finished.issuperset(record.chunks):
                open_files |= mine.keys()
            if record is not None:
                summaries += [SliceSummary(**data) for data in record.summaries]
        return cls(files, chunks, summaries, files.keys() - open_files)

    def damaged(self) -> dict[str, str]:
        """Returns name -> damage that the reader met."""
        return {s.file: s.damaged for s in self.summaries if s.damaged}

    def mistaken(self, config: ScoreConfig, broken: Collection[str]) -> dict[str, str]:
        """Returns name -> what is wrong with all of a file that was read to its end.

        Args:
          config: of the job.
          broken: names of files to leave out.
        """
        summaries: dict[str, list[SliceSummary]] = {}
        for summary in self.summaries:
            summaries.setdefault(summary.file, []).append(summary)
        mistaken = {}
        for name in sorted(self.complete - set(broken)):
            try:
                check_summaries(config, [self.files[name]], summaries[name])
            except UserError as error:
                mistaken[name] = str(error)
        return mistaken

    def entries(self, broken: set[str]) -> dict[str, dict[str, Any]]:
        """Returns the manifest's entries of files with finished work, by name.

        Args:
          broken: names of files to leave out.

        Raises:
          RuntimeError: rows were lost or doubled, which is a fault of ours.
        """
        counts: dict[str, Counter] = {name: Counter() for name in self.complete}
        rejected: dict[str, Counter] = {}
        for chunk in self.chunks:
            for segment in chunk.segments:
                count = counts.setdefault(segment.file, Counter())
                for key in ("rows", "written", "excluded"):
                    count[key] += getattr(segment, key)
                rejected.setdefault(segment.file, Counter()).update(segment.rejected)
        rows = Counter()
        for summary in self.summaries:
            rows[summary.file] += summary.rows
        entries = {}
        for name in counts.keys() - broken:
            count, rules = counts[name], rejected.get(name, Counter())
            settled = count["written"] + count["excluded"] + rules.total()
            read = rows[name] if name in self.complete else count["rows"]
            if not read == settled == count["rows"]:
                raise RuntimeError(
                    f"{name}: {read} rows were read, {count['written']} scored, "
                    f"{dict(rules)} rejected, {count['excluded']} excluded"
                )
            file = self.files[name]
            excluded = count["excluded"]
            entries[name] = {
                "file": name,
                "path": file.path,
                "sha256": file.sha256,
                "bytes": file.size,
                "modified": file.modified,
                "rows": read,
                "written": count["written"],
                "rejected": dict(sorted(rules.items())),
                "left_out": {"excluded_id": excluded} if excluded else {},
                "complete": name in self.complete,
            }
        return entries

    def check(self, config: ScoreConfig, entries: dict[str, dict[str, Any]]) -> None:
        """Holds finished work against the rules.

        Raises:
          DataGateError: there are too many rejects.
          ModelFailedError: the model gave no score at all.
        """
        faults, rows = self._model_faults()
        if rows == faults >= _MANY_FAULTS:
            raise ModelFailedError(
                f"The model failed on all of the {rows} rows that it was given: that "
                "is no fault of the rows. Try another inference.engine, or train the "
                "model again."
            )
        by_name = [entries[name] for name in sorted(entries)]
        if problems := reject_problems(config.rules, by_name):
            raise DataGateError(
                "The data gate stopped these scores; nothing was published and the "
                "finished work stays staged for the next run:\n"
                + "\n".join(f"  - {problem}" for problem in problems)
            )

    def _model_faults(self) -> tuple[int, int]:
        """Returns how many rows the model failed on, and how many it was given."""
        rejected = Counter()
        for chunk in self.chunks:
            for segment in chunk.segments:
                rejected.update(segment.rejected)
        faults = sum(rejected[rule] for rule in FAULTS)
        return faults, faults + sum(chunk.written for chunk in self.chunks)

    def drift(
        self, model: ModelMetadata, rules: ServingDriftRules
    ) -> list[ServingDrift]:
        """Compares the finished reviews with those that the model was trained on."""
        known = [chunk.statistics for chunk in self.chunks if chunk.statistics]
        if not known:
            return []
        return compare(model.training_statistics, merge(known), rules)

    def inference(self) -> dict[str, int]:
        """Adds up what was counted while the model ran."""
        return dict(sum((Counter(chunk.inference) for chunk in self.chunks), Counter()))


def check_drift(drift: list[ServingDrift]) -> None:
    """Stops on reviews that are too far from those of the training.

    Raises:
      DataGateError: lists the distances.
    """
    fatal = [distance for distance in drift if distance.fatal]
    if fatal:
        raise DataGateError(
            "The reviews are not like those that the model was trained on; nothing was "
            "published and the finished work stays staged:\n"
            + "\n".join(f"  - {line}" for line in drift_lines(fatal))
            + "\nLook at them: _report.html in the output shows more. --accept-drift "
            "publishes the scores as they are."
        )
