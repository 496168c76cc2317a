"""Pages: HTML that needs nothing but itself, and can run and fetch nothing."""

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import jinja2

from reviewbeam.components.reporting import shown

MAX_BYTES = 2_000_000
ROWS = 40  # of a table; a page is to be read
_TEMPLATES = Path(__file__).parent / "templates"
_FILTERS = {
    "shown": shown.shown,
    "plain": shown.plain,
    "count": shown.count,
    "percent": shown.percent,
    "figure": shown.figure,
    "duration": shown.duration,
    "size": shown.size,
}

Tone = Literal["good", "warning", "bad", "plain"]


class PageTooLargeError(ValueError):
    """A page that nobody could open on a phone."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a page says first.

    Attributes:
      tone: good, warning or bad.
      words: the verdict in a few words.
      reasons: a sentence each; shortened and escaped like all that comes from outside.
    """

    tone: Tone
    words: str
    reasons: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Tile:
    """A key figure.

    Attributes:
      name: of the figure.
      value: as it is to be read, unit and all.
      note: what it is measured against, or made of.
      tone: plain, unless it is to be looked at.
    """

    name: str
    value: str
    note: str = ""
    tone: Tone = "plain"


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of values, which may come from outside.

    Attributes:
      columns: name and kind of each: `text`, or the name of a filter for numbers
        (`count`, `percent`, `figure`, `duration`, `size`).
      rows: a value per column; None where there is none.
      left: how many more rows there would be.
      where: they are to be found.
      caption: above the table.
    """

    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[Any]]
    left: int = 0
    where: str = ""
    caption: str = ""

    @classmethod
    def cut(
        cls,
        columns: Sequence[tuple[str, str]],
        rows: Iterable[Sequence[Any]],
        *,
        where: str,
        limit: int = ROWS,
        caption: str = "",
    ) -> "Table":
        """Makes a table of the first rows, which says how many it leaves out."""
        rows = iter(rows)
        first = list(itertools.islice(rows, limit))
        return cls(columns, first, sum(1 for _ in rows), where, caption)


def render(template: str, **context: Any) -> str:
    """Returns a page.

    Args:
      template: a file of `templates/`, which extends `base.html.jinja`.
      context: what it names. Text in it is escaped, but for Markup.

    Raises:
      PageTooLargeError: it has more than MAX_BYTES. Lists must be cut before.
    """
    text = _environment().get_template(template).render(context)
    text = text.encode("utf-8", errors="replace").decode()
    if (bytes_ := len(text.encode())) > MAX_BYTES:
        raise PageTooLargeError(f"{template}: {bytes_:,} bytes, allowed {MAX_BYTES:,}")
    return text


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_FILTERS)
    return environment
