"""What the pages of datasets and scores have in common: mixes, lengths, counts."""

import bisect
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from reviewbeam.components.common.serving_statistics import BOUNDS, bins
from reviewbeam.components.reporting import plots

PARTS = 8  # of a stacked bar: more colours nobody can tell apart
OTHERS = "others"
ROWS = 24  # of bars; a table has more
NOT_KNOWN = "not known"  # a language


def total_of(items: Iterable[Mapping[str, Any]], key: str) -> Counter:
    """Adds up the counters that items have under a key."""
    total: Counter = Counter()
    for item in items:
        total.update(item[key])
    return total


def largest_first(
    languages: Mapping[str, Mapping[str, int]],
) -> dict[str, Mapping[str, int]]:
    """Orders counters of names by their totals."""
    order = sorted(languages, key=lambda name: (-sum(languages[name].values()), name))
    return {name: languages[name] for name in order}


def label_mix(
    rows: Mapping[str, Mapping[str, int]], labels: Sequence[str], describe: str
) -> Markup:
    """Draws the shares of labels in the first rows, which may be languages.

    Args:
      rows: name -> label -> number.
      labels: in their order; where they are many, the rare ones are one part.
      describe: what the plot shows, for who can't see it.
    """
    names, kept = list(rows)[:ROWS], list(labels)
    if len(kept) > PARTS:
        total: Counter = Counter()
        for counts in rows.values():
            total.update(counts)
        kept = sorted(kept, key=lambda label: -total[label])[: PARTS - 1]
    series = {label: [rows[name].get(label, 0) for name in names] for label in kept}
    if len(kept) < len(labels):
        others = [label for label in labels if label not in series]
        rest = f"({len(others)} others)"
        while rest in series:  # the name of a label
            rest = f"({rest})"
        series[rest] = [
            sum(rows[name].get(label, 0) for label in others) for name in names
        ]
    shown = [name or NOT_KNOWN for name in names]
    return plots.stacked_bars(shown, series, describe=describe)


def binned(
    feature: str,
    sets: Mapping[str, Mapping[str, int]],
    describe: str,
    axis: str,
    marker: tuple[float, str] | None = None,
) -> Markup:
    """Draws a histogram of a number that `serving_statistics` counts.

    Args:
      feature: its name there.
      sets: name -> bin -> rows.
      describe: what the plot shows, for who can't see it.
      axis: what the bins are of.
      marker: a value, at which a line is drawn, and what it means.
    """
    names = bins(feature)
    used = [
        place
        for place, name in enumerate(names)
        if any(counts.get(name) for counts in sets.values())
    ]
    line = marker and _place(BOUNDS[feature], marker[0])
    if line is not None:
        used.append(min(math.ceil(line), len(names) - 1))
    kept = range(min(used, default=0), max(used, default=0) + 1)
    series = {
        name: [counts.get(names[place], 0) for place in kept]
        for name, counts in sets.items()
    }
    shown = None if line is None else (line - kept.start, marker[1])
    return plots.histogram(
        [names[place] for place in kept],
        series,
        describe=describe,
        axis=axis,
        marker=shown,
    )


def _place(bounds: Sequence[float], value: float) -> float:
    """Returns where a value is among bars, each of which ends at a bound."""
    above = bisect.bisect_left(bounds, value)
    if above in (0, len(bounds)):
        return above - 0.5
    low, high = bounds[above - 1], bounds[above]
    return above - 0.5 + (value - low) / (high - low)


def by_count(counts: Mapping[str, int], describe: str, limit: int = 12) -> Markup:
    """Draws the largest counts as bars; the rest is one bar."""
    ordered = Counter(counts).most_common()
    if len(ordered) > limit:
        rest = sum(rows for _, rows in ordered[limit - 1 :])
        ordered = [*ordered[: limit - 1], (OTHERS, rest)]
    names, rows = [name for name, _ in ordered], [rows for _, rows in ordered]
    return plots.bars(names, rows, describe=describe)
