"""What can be told about a column from some of its values."""

import dataclasses
import functools
import re
import unicodedata
from collections import Counter
from typing import Any

from reviewbeam.components.ingestion.values import label_value

MOST_LABELS = 100  # different values of a column that may be labels
_LOOK = 2000  # texts that are looked at closely
_NO_PROSE = re.compile(r"\w+://\S+|\S+@\S+\.\w+|[\w./:-]*\d[\w./:-]*")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]"
)


@dataclasses.dataclass(frozen=True)
class Profile:
    """A column of a sample.

    Attributes:
      name: of the column; dots reach into nested values.
      values: those that are there: no null, no blank text.
      rows: of the sample, those without a value too.
    """

    name: str
    values: list[Any]
    rows: int

    @property
    def filled(self) -> float:
        """Share of the rows that have a value."""
        return len(self.values) / max(self.rows, 1)

    @functools.cached_property
    def texts(self) -> list[str]:
        """The values that are text."""
        return [value for value in self.values if isinstance(value, str)]

    @functools.cached_property
    def lists(self) -> int:
        """How many values are lists."""
        return sum(isinstance(value, list | tuple) for value in self.values)

    @functools.cached_property
    def counts(self) -> Counter | None:
        """How often each value stands, as labels are read; None: they are too many."""
        counts: Counter = Counter()
        for value in self.values:
            text, wrong = label_value(value)
            if wrong or text is None:
                return None
            counts[text] += 1
            if len(counts) > MOST_LABELS:
                return None
        return counts

    @functools.cached_property
    def unique(self) -> float:
        """Share of different values; 0 for lists and objects."""
        try:
            return len(set(self.values)) / max(len(self.values), 1)
        except TypeError:
            return 0.0

    @functools.cached_property
    def characters(self) -> float:
        """Mean length of the texts."""
        return sum(map(len, self.texts)) / max(len(self.texts), 1)

    @functools.cached_property
    def prose(self) -> float:
        """Share of the texts that have words, not just a code, a link or a number."""
        step = max(len(self.texts) // _LOOK, 1)
        looked = self.texts[::step]
        return sum(map(_is_prose, looked)) / max(len(looked), 1)


def profile(name: str, rows: list[dict[str, Any]]) -> Profile:
    """Returns what a sample's rows say of a column."""
    values = [row[name] for row in rows if name in row]
    there = [v for v in values if not (isinstance(v, str) and not v.strip())]
    return Profile(name, there, len(rows))


def _is_prose(text: str) -> bool:
    text = unicodedata.normalize("NFC", text).strip()
    if _UNSPACED.search(text):
        return len(text) > 3
    words = text.split()
    return len(words) > 1 and not all(map(_NO_PROSE.fullmatch, words))
