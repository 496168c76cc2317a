"""The page beside an evaluation: its verdict, its figures, and the model's training."""

import re
from pathlib import Path
from typing import Any

from reviewbeam.components.common.artifacts import RUN_FILE, read_json
from reviewbeam.components.common.blessed import BLESSING
from reviewbeam.components.evaluation.blessing_text import rule_text, worst_first
from reviewbeam.components.evaluation.table import (
    Table,
    differences_table,
    heading,
    report_tables,
)
from reviewbeam.components.reporting import page
from reviewbeam.components.reporting.evaluation import Evaluation, evaluation_page
from reviewbeam.pipelines.evaluate import METRICS, REPORT
from reviewbeam.pipelines.training_report import read_training

_NUMBER = re.compile(r"(up to )?[-+]?\d[\d.,e+-]*( to [-+]?\d[\d.,e+-]*)?|–|")


def evaluation_report(evaluation: Path, model: Path) -> str:
    """Returns the page of an evaluation, as HTML.

    Args:
      evaluation: its directory, complete.
      model: the directory of the model.
    """
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
            tables={name: _shown(table) for name, table in tables.items()},
            notes={name: table.note for name, table in tables.items()},
            facts={key: run.get(key) for key in ("model", "baseline", "dataset")}
            | {"": run.get("finished")},
        ),
        training if training.history else None,
    )


def _rules(verdict: dict[str, Any]) -> list[tuple[str, str]]:
    return [(rule["verdict"], rule_text(rule)) for rule in worst_first(verdict)]


def _shown(table: Table) -> page.Table:
    """Makes a page's table of a text's: what is a number in all rows stands right."""
    columns = [
        (
            name or ("95 % interval" if place else ""),
            "number" if all(map(_NUMBER.fullmatch, cells)) else "text",
        )
        for place, (name, *cells) in enumerate(
            zip(table.header, *table.rows, strict=True)
        )
    ]
    return page.Table.cut(columns, table.rows, where=REPORT)
