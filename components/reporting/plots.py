"""The few kinds of plots that the reports are made of, as SVG.

Text in them may come from outside. Lists must be cut before: what is given is drawn.
"""

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from reviewbeam.components.reporting.axes import (
    SHORT,
    add_legend,
    legend_lines,
    legend_name,
    mark,
    name_rows,
    scale,
    short,
)
from reviewbeam.components.reporting.shown import count, figure, percent, plain
from reviewbeam.components.reporting.svg import (
    ACCENT,
    INK,
    MUTED,
    PAPER,
    SERIES,
    drawing,
    to_svg,
)

_ROW = 24  # px from bar to bar
_HEIGHT = 250  # px of a plot that doesn't grow
_FORMS = {"count": count, "percent": percent, "figure": figure}
Interval = tuple[float, float]


def bars(
    names: Sequence[str],
    values: Sequence[float | None],
    *,
    describe: str,
    form: str = "count",
    intervals: Sequence[Interval | None] | None = None,
    marker: tuple[float, str] | None = None,
    limits: Interval | None = None,
) -> Markup:
    """Draws horizontal bars, the first on top.

    Args:
      names: of the bars.
      values: of the bars; None or NaN where there is none.
      describe: what the plot shows, for who can't see it.
      form: how values are written: `count`, `percent` or `figure`.
      intervals: lowest and highest value that each may have.
      marker: a line across all bars, and what it means.
      limits: of the axis; None: from 0 to what is needed.
    """
    write = _FORMS[form]
    known = [math.nan if value is None else value for value in values]
    intervals = intervals or [None] * len(known)
    ends = [
        value if span is None else span[1]
        for value, span in zip(known, intervals, strict=True)
    ]
    if limits is None:
        reach = [
            *(end for end in ends if math.isfinite(end)),
            marker[0] if marker else 0,
        ]
        limits = (min(0, *reach), max(reach) or 1)
    with drawing(_ROW * len(known) + (48 if marker else 24)) as (drawn, axes):
        name_rows(axes, names)
        scale(axes.xaxis, form)
        axes.barh(range(len(known)), known, height=0.62, color=ACCENT, alpha=0.85)
        for row, (value, span, end) in enumerate(
            zip(known, intervals, ends, strict=True)
        ):
            if span is not None and math.isfinite(value):
                axes.plot(span, [row, row], color=INK, linewidth=1.5)
            text = write(value) if math.isfinite(value) else "–"
            place = max(end, limits[0]) if math.isfinite(end) else limits[0]
            axes.annotate(
                text,
                (min(place, limits[1]), row),
                (5, 0),
                textcoords="offset points",
                va="center",
                fontsize=10,
            )
        mark(axes, marker)
        axes.set_xlim(limits[0], limits[1] + (limits[1] - limits[0]) * 0.2)
        return to_svg(drawn, describe)


def stacked_bars(
    names: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    describe: str,
) -> Markup:
    """Draws of each row the shares of its parts, and beside it how many there are.

    Args:
      names: of the rows.
      series: for each part its number in every row; at most eight parts.
      describe: what the plot shows, for who can't see it.
    """
    totals = [sum(numbers) for numbers in zip(*series.values(), strict=True)]
    height = _ROW * len(names) + 24 + 22 * legend_lines(series)
    with drawing(height, grid="") as (drawn, axes):
        name_rows(axes, names)
        axes.set_xlim(0, 1.2)
        axes.xaxis.set_visible(False)
        left = [0.0] * len(names)
        for color, (name, numbers) in zip(SERIES, series.items(), strict=False):
            shares = [n / (all_ or 1) for n, all_ in zip(numbers, totals, strict=True)]
            axes.barh(
                range(len(names)),
                shares,
                left=left,
                height=0.62,
                color=color,
                edgecolor=PAPER,
                label=legend_name(name, SHORT),
            )
            left = [start + share for start, share in zip(left, shares, strict=True)]
        for row, total in enumerate(totals):
            axes.text(1.02, row, count(total), va="center", fontsize=10)
        add_legend(drawn, axes)
        return to_svg(drawn, describe)


def histogram(
    bins: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    describe: str,
    axis: str,
    marker: tuple[float, str] | None = None,
) -> Markup:
    """Draws the shares of bins, of one or more sets beside each other.

    Args:
      bins: their names, in order.
      series: for each set the numbers in its bins.
      describe: what the plot shows, for who can't see it.
      axis: what the bins are of.
      marker: a line at a place among the bins (0.5 is between the first two), and
        what it means.
    """
    width = 0.86 / max(1, len(series))
    with drawing(_HEIGHT, grid="y") as (drawn, axes):
        for index, (name, numbers) in enumerate(series.items()):
            total = sum(numbers) or 1
            places = [
                place - 0.43 + width * (index + 0.5) for place in range(len(numbers))
            ]
            axes.bar(
                places,
                [number / total for number in numbers],
                width=width,
                color=SERIES[index],
                label=legend_name(name, 40),
            )
        step = max(1, math.ceil(len(bins) / 9))
        places = range(0, len(bins), step)
        axes.set_xticks(places, [plain(bins[place], 12) for place in places])
        axes.set_xlim(-0.6, max(1, len(bins)) - 0.4)
        axes.set_xlabel(plain(axis))
        scale(axes.yaxis, "percent")
        mark(axes, marker)
        if len(series) > 1:
            add_legend(drawn, axes)
        return to_svg(drawn, describe)


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    describe: str,
    axis: str,
    form: str = "figure",
    marker: tuple[float, str] | None = None,
) -> Markup:
    """Draws curves.

    Args:
      series: for each curve its x and y; NaN is a gap.
      describe: what the plot shows, for who can't see it.
      axis: what x is.
      form: how y is written: `count`, `percent` or `figure`.
      marker: a line at an x, and what it means.
    """
    with drawing(_HEIGHT, grid="y") as (drawn, axes):
        for color, (name, (xs, ys)) in zip(SERIES, series.items(), strict=False):
            dots = "o" if len(xs) < 15 else ""
            label = legend_name(name, 40)
            axes.plot(xs, ys, color=color, marker=dots, markersize=4, label=label)
        axes.set_xlabel(plain(axis))
        axes.xaxis.get_major_locator().set_params(nbins=6, integer=_whole(series))
        scale(axes.yaxis, form)
        mark(axes, marker)
        if len(series) > 1:
            add_legend(drawn, axes)
        return to_svg(drawn, describe)


def heat_map(
    rows: Sequence[str],
    columns: Sequence[str],
    numbers: Sequence[Sequence[float]],
    *,
    describe: str,
    row_axis: str,
    column_axis: str,
) -> Markup:
    """Draws a table of numbers, darker where more of its row is; so a confusion matrix.

    Args:
      rows: their names: the true labels.
      columns: their names: the given labels. More than a dozen are hard to read.
      numbers: [rows, columns].
      describe: what the plot shows, for who can't see it.
      row_axis: what rows are.
      column_axis: what columns are.
    """
    cell = 34 if len(columns) <= 8 else 24
    with drawing(cell * len(rows) + 90, grid="") as (drawn, axes):
        name_rows(axes, rows, 14)
        for row, mine in enumerate(numbers):
            total = sum(mine) or 1
            for column, number in enumerate(mine):
                share = number / total
                axes.barh(
                    row,
                    0.96,
                    0.94,
                    left=column - 0.48,
                    color=ACCENT,
                    alpha=0.04 + 0.96 * share,
                )
                axes.text(
                    column,
                    row,
                    short(number),
                    ha="center",
                    va="center",
                    fontsize=10 if len(columns) <= 8 else 8,
                    color=PAPER if share > 0.55 else INK,
                )
        names = [plain(name, 10) for name in columns]
        turned = 40 if sum(map(len, names)) > 36 else 0
        side = "right" if turned else "center"
        axes.set_xticks(range(len(columns)), names, rotation=turned, ha=side)
        axes.set_xlim(-0.5, max(1, len(columns)) - 0.5)
        axes.set_xlabel(plain(column_axis))
        axes.set_ylabel(plain(row_axis))
        return to_svg(drawn, describe)


def reliability(
    curves: Mapping[str, Sequence[tuple[float, float, float]]], *, describe: str
) -> Markup:
    """Draws how often predictions are right against how sure they are.

    Args:
      curves: for each (say, before and after calibration) its bins: mean confidence,
        accuracy, and rows. A larger dot has more rows.
      describe: what the plot shows, for who can't see it.
    """
    with drawing(300, grid="both") as (drawn, axes):
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.text(0.98, 0.03, "dashed: as sure as right", ha="right", color=MUTED)
        for color, (name, found) in zip(SERIES, curves.items(), strict=False):
            met = [point for point in found if point[2] and math.isfinite(point[0])]
            most = max((rows for *_, rows in met), default=1)
            xs, ys = [point[0] for point in met], [point[1] for point in met]
            axes.plot(xs, ys, color=color, label=legend_name(name, 40))
            sizes = [12 + 70 * rows / most for *_, rows in met]
            axes.scatter(xs, ys, s=sizes, color=color, clip_on=False, zorder=3)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xlabel("confidence")
        axes.set_ylabel("accuracy")
        scale(axes.xaxis, "percent")
        scale(axes.yaxis, "percent")
        add_legend(drawn, axes)
        return to_svg(drawn, describe)


def _whole(series: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> bool:
    return all(float(x).is_integer() for xs, _ in series.values() for x in xs)
