"""What plots have in common: names of rows, scales, markers, legends."""

import math
from collections.abc import Iterable, Sequence

from reviewbeam.components.reporting.shown import plain
from reviewbeam.components.reporting.svg import BAD, INK

SHORT = 14  # characters of a name where there may be many
_LABEL = 26  # characters of a name beside a bar
_LINE = 34  # characters of a line of a legend, its signs aside
_MOST = 4  # names of a line


def name_rows(axes, names: Sequence[str], longest: int = _LABEL) -> None:
    """Writes names beside rows, the first on top."""
    axes.set_yticks(range(len(names)), [plain(name, longest) for name in names])
    axes.set_ylim(max(1, len(names)) - 0.5, -0.5)


def scale(axis, form: str) -> None:
    """Writes the numbers of an axis as `count`, `percent` or `figure`."""
    if form == "percent":
        axis.set_major_formatter(lambda value, _: f"{value * 100:g} %")
    elif form == "count":
        axis.set_major_formatter(lambda value, _: short(value))
    axis.get_major_locator().set_params(nbins=5, integer=form == "count")


def short(number: float) -> str:
    """Writes a number of things where there is little room: `12k`."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= unit:
            return f"{number / min(unit, 1e3 if name == 'k' else unit):.3g}{name}"
    return f"{number:,.0f}" if number == int(number) else f"{number:g}"


def mark(axes, marker: tuple[float, str] | None) -> None:
    """Draws a line at a value, and says above what it means."""
    if marker is None:
        return
    axes.axvline(marker[0], color=BAD, linewidth=1.5, linestyle=(0, (4, 2)))
    axes.set_title(f"┆ {plain(marker[1], 60)}", fontsize=10, color=BAD, loc="left")


def add_legend(drawn, axes) -> None:
    """Writes which colour is what, above the plot."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        columns = _columns(labels)
        # matplotlib fills column by column; a scale is read line by line.
        order = [i for c in range(columns) for i in range(c, len(labels), columns)]
        drawn.legend(
            [handles[i] for i in order],
            [labels[i] for i in order],
            loc="outside upper left",
            ncols=columns,
            handlelength=1,
            handleheight=1,
            columnspacing=1.2,
            labelcolor=INK,
        )


def legend_lines(names: Iterable[str]) -> int:
    """Returns how many lines the legend takes for names that are cut to SHORT."""
    names = [legend_name(name, SHORT) for name in names]
    return math.ceil(len(names) / _columns(names))


def legend_name(name: str, longest: int) -> str:
    """Returns a name for a legend; matplotlib leaves those out that begin with `_`."""
    name = plain(name, longest)
    return f"\u200b{name}" if name.startswith("_") else name


def _columns(names: Sequence[str]) -> int:
    longest = max(map(len, names), default=1)
    return max(1, min(_MOST, len(names), _LINE // longest))
