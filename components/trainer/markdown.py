"""Markdown of names and figures that come from a user's data."""

import html
import re
from collections.abc import Iterable
from typing import Any


def table(titles: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Returns a table of Markdown; numbers are rounded, and None is an empty cell."""
    titles = list(titles)
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(
        "| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines
    )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else value if value == "---" else escape(str(value))


def names_text(names: Iterable[str]) -> str:
    """Returns names in a row, each escaped."""
    return ", ".join(escape(name) for name in names)


def escape(name: str) -> str:
    """Returns a name as a line of Markdown that shows it and means nothing else."""
    shown = "".join(c if c.isprintable() else " " for c in name).strip()
    shown = re.sub(r"([\\`*_{}\[\]#!|~:@$])", r"\\\1", shown)
    # What would begin a list.
    shown = re.sub(r"^([-+])", r"\\\1", shown)
    shown = re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", shown)
    return html.escape(shown, quote=False) or "(blank)"
