"""The page of a run of `score`, in the folder that it wrote to."""

import dataclasses
import time
from collections.abc import Collection, Iterator
from typing import Any

from reviewbeam.components.common.blessed import read_blessing
from reviewbeam.components.common.host_copies import origin
from reviewbeam.components.common.model_directory import ModelDirectory, model_name
from reviewbeam.components.common.run_record import RunRecord
from reviewbeam.components.common.serving_statistics import merge
from reviewbeam.components.inference.parts import ChunkRecord
from reviewbeam.pipelines.report_file import put_report
from reviewbeam.pipelines.score_summary import ScoreReport
from reviewbeam.pipelines.scores_folder import ScoresVersion
from reviewbeam.pipelines.scores_manifest import REPORT_PAGE, Manifest

_SETTLED = "settled"  # of a run record: nothing was left open by that run


@dataclasses.dataclass(frozen=True)
class Finished:
    """The chunks that a run publishes, or leaves staged.

    Attributes:
      chunks: all of them.
      before: names of those that an earlier run had finished.
      seconds: that this run took for the others.
    """

    chunks: Collection[ChunkRecord]
    before: Collection[str]
    seconds: float


def settled(report: ScoreReport) -> dict[str, bool]:
    """Returns what the run record says for `put_scores_report` of the next run."""
    return {_SETTLED: not (report.damaged or report.stopped)}


def put_scores_report(
    version: ScoresVersion,
    run: RunRecord,
    model: ModelDirectory,
    finished: Finished,
    report: ScoreReport,
    *,
    refused: str | None = None,
) -> str | None:
    """Writes the page; where that fails, the scores are worth no less.

    A run that had nothing to do leaves the page of the run before, unless that one
    left something open.

    Args:
      version: of the scores, in its folder as that is now.
      run: the run's record.
      model: that scored.
      finished: chunks.
      report: what the run did.
      refused: what the data gate said; None: it passed.

    Returns:
      The name of the page; None: there is none.
    """
    path = version.output / REPORT_PAGE
    idle = not report.scored and refused is None and settled(report)[_SETTLED]
    if idle and run.before.get(_SETTLED) and path.exists():
        return REPORT_PAGE

    def make() -> str:
        from reviewbeam.components.reporting.scores_figures import ScoresRun
        from reviewbeam.components.reporting.scores_page import scores_page

        known = [chunk.statistics for chunk in finished.chunks if chunk.statistics]
        page = ScoresRun(
            report=dataclasses.asdict(report),
            started=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(run.started)),
            statistics=merge(known) if known else None,
            training=model.metadata.training_statistics,
            labels=model.metadata.labels.names,
            max_tokens=model.metadata.text.max_tokens,
            speed=_speed(finished),
            versions=list(_versions(version.manifest)),
            model=_model_facts(model),
            refused=refused,
        )
        return scores_page(page)

    return REPORT_PAGE if put_report(path, make) else None


def _speed(finished: Finished) -> Any:
    from reviewbeam.components.reporting.scores_figures import Speed

    mine = [chunk for chunk in finished.chunks if chunk.name not in finished.before]
    return Speed(
        rows=sum(chunk.written for chunk in mine),
        tokens=sum(chunk.inference.get("tokens", 0) for chunk in mine),
        padded_tokens=sum(chunk.inference.get("padded_tokens", 0) for chunk in mine),
        seconds=finished.seconds,
    )


def _versions(manifest: Manifest) -> Iterator[dict[str, Any]]:
    for name, version in manifest.data["versions"].items():
        yield {
            "name": name,
            "files": len(version["files"]),
            "rows": sum(entry["rows"] for entry in version["files"]),
            "written": sum(entry["written"] for entry in version["files"]),
            "rejected": sum(
                sum(entry["rejected"].values()) for entry in version["files"]
            ),
        }


def _model_facts(model: ModelDirectory) -> dict[str, str]:
    blessing = read_blessing(model.path)
    said = "none: it has not passed evaluate's rules, or wasn't held against any"
    if blessing is not None:
        said = f"blessed by the evaluation of {blessing.get('date', 'no date')}"
    return {
        "Model": origin(model.path),
        "In service as": model_name(model.content_fingerprint),
        "Fingerprint": model.core_fingerprint,
        "Blessing": said,
        "Classes": ", ".join(model.metadata.labels.names[:20]),
    }
