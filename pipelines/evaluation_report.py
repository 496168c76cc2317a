"""The page beside an evaluation: its verdict, its figures, and the model's training."""

from pathlib import Path
from typing import Any

from reviewbeam.components.common.artifacts import RUN_FILE, read_json
from reviewbeam.components.common.blessed import BLESSING
from reviewbeam.components.evaluation.blessing_text import rule_text, worst_first
from reviewbeam.components.evaluation.table import (
    differences_table,
    heading,
    report_tables,
)
from reviewbeam.pipelines.evaluate import METRICS
from reviewbeam.pipelines.report_file import REPORT_PAGE, put_report
from reviewbeam.pipelines.training_report import read_training

_MADE_FROM = ("model", "baseline", "dataset")


def put_evaluation_report(evaluation: Path, model: Path, *, new: bool) -> None:
    """Writes the page of a published evaluation, beside what its manifest describes.

    Args:
      evaluation: its directory.
      model: the directory of the model.
      new: it was evaluated just now; else a page that stands is left.
    """
    path = evaluation / REPORT_PAGE
    if new or not path.is_file():
        put_report(path, lambda: _page(evaluation, model))


def _page(evaluation: Path, model: Path) -> str:
    from reviewbeam.components.reporting.evaluation_page import (
        Evaluation,
        evaluation_page,
        text_table,
    )

    metrics, run = (read_json(evaluation / name) for name in (METRICS, RUN_FILE))
    verdict = None
    if (evaluation / BLESSING).is_file():
        verdict = read_json(evaluation / BLESSING)
    tables = report_tables(metrics)
    del tables["confusion"]  # drawn, and as pairs
    if differences := (verdict or {}).get("differences"):
        tables["differences"] = differences_table(differences, metrics["type"])
    training = read_training(model)
    return evaluation_page(
        Evaluation(
            metrics=metrics,
            heading=heading(metrics),
            verdict=verdict,
            rules=_rules(verdict or {"rules": []}),
            tables={
                name: text_table(table.header, table.rows)
                for name, table in tables.items()
            },
            notes={name: table.note for name, table in tables.items()},
            facts=[
                *(f"{key} {run[key]}" for key in _MADE_FROM if run.get(key)),
                run["finished"],
            ],
        ),
        training if training.history else None,
    )


def _rules(verdict: dict[str, Any]) -> list[tuple[str, str]]:
    return [(rule["verdict"], rule_text(rule)) for rule in worst_first(verdict)]
