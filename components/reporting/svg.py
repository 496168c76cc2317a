"""Matplotlib's figures as SVG that lives in a page: its fonts, its colours, its ids."""

import contextlib
import hashlib
import io
import logging
import re
import warnings
from collections.abc import Iterator

from markupsafe import Markup, escape

from reviewbeam.components.reporting.shown import plain

WIDTH = 380  # px, the page's; a phone shows it a little smaller
# Colours by the page's names, so that they follow its light and dark modes. Matplotlib
# is given the numbers, which no figure has otherwise.
_NAMES = ("ink", "muted", "line", "accent", "warning", "bad", "paper")
_SERIES = 8
INK, MUTED, LINE, ACCENT, WARNING, BAD, PAPER = (f"#0000{n:02x}" for n in range(1, 8))
SERIES = [f"#0001{n:02x}" for n in range(_SERIES)]
_VARIABLES = {
    **{f"#0000{n:02x}": name for n, name in enumerate(_NAMES, 1)},
    **{f"#0001{n:02x}": f"series-{n + 1}" for n in range(_SERIES)},
}
_TAG = re.compile(r"<[^>]*>")  # texts, which are from outside, have neither sign
_STYLE = {
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.grid": True,
    "axes.grid.axis": "x",
    "axes.axisbelow": True,
    "axes.labelsize": 11,
    "axes.spines.bottom": False,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "DejaVu Sans",  # what matplotlib brings: the same everywhere
    "font.size": 11,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "reviewbeam",  # the same ids every time
    "text.color": INK,
    "text.parse_math": False,  # a `$` in a label is a `$`
    "xtick.color": MUTED,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


@contextlib.contextmanager
def drawing(height: float, *, grid: str = "x") -> Iterator[tuple]:
    """Yields a figure and its axes, in our style and nobody's else.

    Args:
      height: of the figure, in px.
      grid: the axes whose lines are drawn: `x`, `y`, `both` or ``.
    """
    # It says that it builds its cache of fonts, or has nowhere to keep that.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # glyphs that DejaVu lacks the browser has
        matplotlib.rcdefaults()  # a matplotlibrc may lie in this folder
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        axes.grid(False)
        if grid:
            axes.grid(True, axis=grid)
        yield figure, axes


def to_svg(figure, describe: str) -> Markup:
    """Returns a figure as an SVG element for a page.

    Args:
      figure: of `drawing`, whose block must not have ended.
      describe: what it shows, for who can't see it.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = _TAG.sub(_with_variables, text)
    text = _own_ids(text)
    head = (
        f'<svg role="img" aria-label="{escape(plain(describe, 300))}" '
        f'viewBox="{_view_box(text)}" xmlns:xlink="http://www.w3.org/1999/xlink" '
        'xmlns="http://www.w3.org/2000/svg">'
    )
    return Markup(head + text[text.index(">") + 1 :].strip())


def _with_variables(tag: re.Match) -> str:
    text = re.sub(r"#000[01][0-9a-f]{2}", _variable, tag[0])
    return re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", text)


def _variable(found: re.Match) -> str:
    name = _VARIABLES.get(found[0])
    return f"var(--{name})" if name else found[0]


def _own_ids(text: str) -> str:
    """Drops ids that nothing refers to; makes the others this figure's own."""
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', "".join(_TAG.findall(text))))
    mine = hashlib.sha256(text.encode()).hexdigest()[:8]

    def own(tag: re.Match) -> str:
        changed = re.sub(
            r' id="([^"]*)"',
            lambda found: f' id="{mine}-{found[1]}"' if found[1] in used else "",
            tag[0],
        )
        return re.sub(r'((?:url\(|href=")#)', rf"\g<1>{mine}-", changed)

    return _TAG.sub(own, text)


def _view_box(text: str) -> str:
    return re.search(r'viewBox="([\d. ]+)"', text)[1]
