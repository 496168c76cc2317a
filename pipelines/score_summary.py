"""What a person sees of a run of `score`."""

import dataclasses
from typing import Any

from reviewbeam.components.common.places import Place
from reviewbeam.components.common.serving_drift import ServingDrift, drift_lines
from reviewbeam.components.reporting.shown import count, things
from reviewbeam.pipelines.console import note, say, say_rules, total_of


@dataclasses.dataclass(frozen=True)
class ScoreReport:
    """What a run of `score` did."""

    version: str  # name of the partition: the model and all that changes bytes
    known: int  # files that had been scored before
    damaged: dict[str, str]  # path -> what is wrong; nothing of it was published
    removed: list[str]  # files that were scored once and are gone; their scores stay
    unfinished: int  # files of which chunks are left to score
    inference: dict[str, Any]  # engine, budget, and what was counted
    drift: list[ServingDrift]  # of what was published now, from the model's training
    stopped: bool  # by the deadline, the limit or a signal
    others: list[str]  # other versions that the output holds scores of
    # manifest's entries of the files published now
    scored: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    resumed: int = 0  # rows that an earlier run had finished and not published
    total: int = 0  # scores that the output holds of this version
    page: str | None = None  # name of the page that tells of it; None: there is none

    def with_files(
        self, entries: dict[str, dict[str, Any]], total: int
    ) -> "ScoreReport":
        """Completes it: entries of files by name, and scores in all."""
        scored = [entries[name] for name in sorted(entries)]
        return dataclasses.replace(self, scored=scored, total=total)


def say_scores(report: ScoreReport, output: Place) -> None:
    """Prints what a run of score did."""
    rows = sum(entry["rows"] for entry in report.scored)
    written = sum(entry["written"] for entry in report.scored)
    rejected = total_of(report.scored, "rejected")
    say(
        f"Scores: {things(rows, 'row')} read from "
        f"{things(len(report.scored), 'new file')}; {count(written)} scored, "
        f"{count(rejected.total())} rejected; scored before: "
        f"{things(report.known, 'file')}; {things(report.total, 'score')} in all"
    )
    say_rules("rejected", rejected)
    if report.resumed:
        say(f"  {count(report.resumed)} of these rows were finished by an earlier run")
    counted = report.inference
    if counted.get("calls"):
        padding = 1 - counted["tokens"] / counted["padded_tokens"]
        say(
            f"  by {counted['engine']}, {counted['batch_tokens']} tokens at once, "
            f"{padding:.1%} padding"
        )
    if counted.get("halved"):
        say(f"  batches halved for want of memory: {counted['halved']}")
    for line in drift_lines(report.drift):
        say(f"  {line}")
    if report.removed:
        say(f"  scored files that are gone, whose scores stay: {len(report.removed)}")
    say(f"  in {output}/model_version={report.version}")
    if report.page:
        say(f"  report: {output}/{report.page}")
    if report.others:
        say(
            "  scores of another model or config lie beside them, and who reads the "
            f"whole folder reads these too: {', '.join(report.others)}"
        )
    if report.stopped:
        note(
            f"reviewbeam: stopped before the end; {report.unfinished} files have "
            "chunks left, and the same command goes on."
        )
    _note_damaged(report.damaged)


def say_preview(preview: Any) -> None:
    """Prints what a run of score would do."""
    say(
        f"To score: {preview.files} new files, {preview.bytes / 1e6:,.1f} MB, about "
        f"{preview.rows:,} rows; {preview.known} files were scored before"
    )
    if preview.staged:
        say(f"  finished by an earlier run, and staged: {preview.staged:,} rows")
    if preview.seconds is not None:
        say(
            f"  about {rough_duration(preview.seconds)} at "
            f"{preview.rows_per_second:,.0f} rows/s, by a sample"
        )
    if preview.removed:
        say(f"  scored files that are gone: {len(preview.removed)}")
    _note_damaged(preview.damaged)


def rough_duration(seconds: float) -> str:
    """Returns a time as a person says it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _note_damaged(damaged: dict[str, str]) -> None:
    for path, damage in sorted(damaged.items()):
        what = damage if damage.startswith(path) else f"{path} is damaged: {damage}"
        note(
            f"reviewbeam: {what.removesuffix('.')}. Nothing of it was published; "
            "deliver it again, and the next run scores it."
        )
