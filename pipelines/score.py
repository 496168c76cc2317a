"""`score`: new reviews to labels, chunk by chunk, each row once."""

import dataclasses
import datetime
import functools
import os
import time
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from reviewbeam.components.common.coders import register_record_batch_coder
from reviewbeam.components.common.errors import DataGateError, UserError
from reviewbeam.components.common.gpus import visible_gpus
from reviewbeam.components.common.host_copies import origin
from reviewbeam.components.common.model_directory import ModelDirectory, open_model
from reviewbeam.components.common.places import Place
from reviewbeam.components.common.run_record import RunRecord
from reviewbeam.components.common.score_config import ScoreConfig
from reviewbeam.components.common.serving_drift import ServingDrift
from reviewbeam.components.inference.parts import finished_chunks
from reviewbeam.components.inference.resolve import ResolvedInference
from reviewbeam.components.inference.safe_saved_model import check_saved_model
from reviewbeam.components.ingestion.files import CorpusFile, changed_files
from reviewbeam.components.ingestion.units import Unit, waves
from reviewbeam.components.validation.rules import ReviewRules
from reviewbeam.pipelines.launching import launching
from reviewbeam.pipelines.options import processes, with_processes
from reviewbeam.pipelines.quiet import quiet_workers
from reviewbeam.pipelines.score_engine import resolve_for_output
from reviewbeam.pipelines.score_files import (
    ScoreFiles,
    check_headers,
    damaged_error,
    find_score_files,
)
from reviewbeam.pipelines.score_graph import ChunkWork, ScoreUnits
from reviewbeam.pipelines.score_outcome import ModelFailedError, Outcome, check_drift
from reviewbeam.pipelines.score_progress import (
    empty_worker_folders,
    following,
    worker_folders,
)
from reviewbeam.pipelines.score_settings import (
    check_format,
    classifier,
    review_rules,
    settings,
    staging_conditions,
)
from reviewbeam.pipelines.score_summary import ScoreReport
from reviewbeam.pipelines.score_window import (
    Window,
    closing_at,
    closing_on_signals,
    next_deadline,
    window_of,
)
from reviewbeam.pipelines.scores_folder import ScoresVersion
from reviewbeam.pipelines.scores_manifest import (
    Manifest,
    PublishedChunk,
    locked_scores,
)
from reviewbeam.pipelines.scores_report import Finished, put_scores_report, settled
from reviewbeam.pipelines.store_window import StoreWindow
from reviewbeam.pipelines.watching import Show


def score(
    config: ScoreConfig,
    model: Path,
    output: Place,
    options: PipelineOptions,
    *,
    limit: int | None = None,
    verify: bool = False,
    accept_drift: bool = False,
    lock: bool = True,
    show: Show = None,
) -> ScoreReport:
    """Scores the files that the output does not hold yet.

    Args:
      config: of the job.
      model: a model's directory.
      output: the folder of scores.
      options: Beam's.
      limit: rows after which no chunk is begun.
      verify: hash all files again, rather than those whose size or time has changed.
      accept_drift: publish what drift has held back.
      lock: keep other runs out of an output in a store that can do so.
      show: is told how far the run is, every two seconds while the model is at work.

    Raises:
      UserError: the config, the model, the corpus or the output can't be used.
      DataGateError: too many rejects, or a fatal drift; the work stays staged.
      BusyError: another run writes the same output.
    """
    now = datetime.datetime.now().astimezone()
    until = config.deadline and next_deadline(config.deadline, now)
    output = output.absolute()
    options = with_processes(options, len(visible_gpus()))  # one for each
    opened = open_model(os.path.abspath(model))
    rules = review_rules(config, opened.metadata)
    with locked_scores(output, lock=lock) as run:
        manifest = Manifest.read(output, run.check)
        check_format(config, manifest)
        found = find_score_files(config, manifest, verify=verify)
        check_headers(config, found.files)
        resolved = resolve_for_output(config, opened, manifest, output, options)
        wanted = settings(config, opened, resolved)
        conditions = staging_conditions(config, rules)
        version = ScoresVersion(output, manifest, wanted, conditions)
        job = _Job(
            config, opened, rules, resolved, version, found, options, run, until, show
        )
        report = job.run(limit, accept_drift)
        run.finish(
            model=origin(model),
            runner=options.get_all_options()["runner"],
            config=config.model_dump(mode="json"),
            inference=report.inference,
            rows=sum(entry["rows"] for entry in report.scored),
            beam_seconds=round(job.beam_seconds, 2),
            **settled(report),
        )
    return report


@dataclasses.dataclass
class _Job:
    """One run on an output that is locked."""

    config: ScoreConfig
    model: ModelDirectory
    rules: ReviewRules
    resolved: ResolvedInference
    version: ScoresVersion
    found: ScoreFiles
    options: PipelineOptions
    run_record: RunRecord
    deadline: datetime.datetime | None
    show: Show
    beam_seconds: float = 0.0
    chunks_before: frozenset[str] = frozenset()  # finished by an earlier run

    def run(self, limit: int | None, accept_drift: bool) -> ScoreReport:
        """Scores and publishes what is new."""
        found, version = self.found, self.version
        new = [file for file in found.files if not version.has(file)]
        paths = {file.name: file.path for file in new}
        units, unplanned = [], {}
        if new:
            labels = self.model.metadata.labels.names
            check_saved_model(self.model.saved_model, len(labels))
            salvages = self.config.on_damaged_file == "salvage"
            units, unplanned = version.plan(new, self.config.slice_bytes, salvages)
        window = window_of(version.staging)
        stopped = bool(units) and self._work_off(units, new, window, limit)
        outcome = Outcome.read(version.work, units)
        broken = self._broken(outcome, unplanned, new)
        held = stopped and self.config.partial == "hold"
        drift = outcome.drift(self.model.metadata, self.config.drift)
        report = ScoreReport(
            version=version.name,
            known=len(found.files) - len(new),
            damaged=found.unreadable | {paths[name]: broken[name] for name in broken},
            removed=found.removed,
            unfinished=len(outcome.files.keys() - outcome.complete - set(broken)),
            inference=dataclasses.asdict(self.resolved) | outcome.inference(),
            drift=drift,
            stopped=stopped,
            resumed=sum(
                chunk.rows
                for chunk in outcome.chunks
                if chunk.name in self.chunks_before
            ),
            others=version.others(),
        )
        finished = Finished(outcome.chunks, self.chunks_before, self.beam_seconds)
        leave = functools.partial(
            put_scores_report, version, self.run_record, self.model, finished
        )
        try:
            if not accept_drift and not held:
                check_drift(drift)
            entries = {} if held else self._publish(outcome, set(broken), drift)
        except DataGateError as error:
            staged = report.with_files(outcome.entries(set(broken)), version.total())
            lines = [str(error)]
            if any(entry["rejected"] for entry in staged.scored):
                lines.append(f"Rejected rows: {version.staging}/rejects-*.parquet")
            if page := leave(staged, refused=str(error)):
                lines.append(f"Report: {version.output}/{page}")
            raise DataGateError("\n".join(lines)) from None
        version.note_times(file for file in found.files if version.has(file))
        version.finish(staged=stopped)
        report = report.with_files(entries, version.total())
        return dataclasses.replace(report, page=leave(report))

    def _work_off(
        self,
        units: list[Unit],
        new: list[CorpusFile],
        window: Window | StoreWindow,
        limit: int | None,
    ) -> bool:
        """Has Beam finish the units; returns whether some are left."""
        self.chunks_before = finished_chunks(self.version.staging)
        work = ChunkWork(
            self.config,
            self.rules,
            self.model.metadata,
            self.model.vocabulary,
            {file.name: file.sha256 for file in new},
            self.version.work,
            self.version.conditions,
            window,
            processes(self.options),
        )
        unread = work.finished.unread(unit.name for unit in units)
        left = [unit for unit in units if unit.name in unread]
        if not left:
            return False
        empty_worker_folders(self.version.staging)
        window.open(limit)
        with (
            closing_on_signals(window),
            closing_at(window, self.deadline),
            following(self.version.staging, units, self.show),
        ):
            started = time.monotonic()
            for wave in waves(left, work.workers):
                if not window.is_closed():
                    self._run_pipeline(wave, work)
            self.beam_seconds = time.monotonic() - started
        # What isn't read to its end though nobody stopped it has changed meanwhile.
        return window.is_closed() and bool(work.finished.unread(unread))

    def _run_pipeline(self, units: list[Unit], work: ChunkWork) -> None:
        register_record_batch_coder()
        quiet_workers()
        handler = classifier(
            self.config,
            self.model,
            self.resolved,
            **worker_folders(self.version.staging, work.workers),
        )
        with (
            launching(self.options, "score", self.run_record) as ready,
            beam.Pipeline(options=ready) as pipeline,
        ):
            _ = (
                pipeline
                | "ListUnits" >> beam.Create(units)
                | "ScoreUnits" >> ScoreUnits(work, handler)
            )

    def _broken(
        self, outcome: Outcome, unplanned: dict[str, str], new: list[CorpusFile]
    ) -> dict[str, str]:
        """Returns name -> damage of files of which nothing is to be published."""
        names = {file.path: file.name for file in new}
        policy = self.config.on_damaged_file
        broken = dict(unplanned)
        if policy != "salvage":
            broken |= outcome.damaged()
        broken |= {names[path]: what for path, what in changed_files(new).items()}
        if broken and policy == "fail":
            path, name = min((path, n) for path, n in names.items() if n in broken)
            raise damaged_error(path, broken[name])
        mistaken = outcome.mistaken(self.config, broken)
        broken |= mistaken
        if mistaken and (policy != "skip" or broken.keys() == set(names.values())):
            self.version.clear_useless()
            raise UserError(min(mistaken.items())[1])
        return broken

    def _publish(
        self, outcome: Outcome, broken: set[str], drift: list[ServingDrift]
    ) -> dict[str, Any]:
        """Puts finished work into place; returns name -> manifest's entry."""
        if not outcome.files:
            return {}
        entries = outcome.entries(broken)
        try:
            outcome.check(self.config, entries)
        except ModelFailedError:
            self.version.clear_useless()
            raise
        chunks = [PublishedChunk.of(record) for record in outcome.chunks]
        found = [dataclasses.asdict(distance) for distance in drift]
        self.version.publish(entries, chunks, broken, drift=found)
        return entries
