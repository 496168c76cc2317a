import logging
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewbeam.components.reporting import plots
from reviewbeam.components.reporting.axes import legend_lines, short
from tests.browser import HOSTILE

NAMES = list(HOSTILE)
ANYTHING = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)
SVG = "{http://www.w3.org/2000/svg}"


def _all(names, describe="a plot"):
    """Every kind of plot, with these words in every place."""
    numbers = [float(index) for index in range(len(names))]
    word = names[0] if names else "x"
    series = {name: numbers for name in names[:8]}
    return {
        "bars": plots.bars(
            names,
            [None, math.nan, *numbers][: len(names)],
            describe=describe,
            intervals=[None, None, *((n - 1, n + 1) for n in numbers)][: len(names)],
            marker=(1, word),
        ),
        "stacked": plots.stacked_bars(names, series, describe=describe),
        "histogram": plots.histogram(
            names, series, describe=describe, axis=word, marker=(0.5, word)
        ),
        "lines": plots.lines(
            {name: (numbers, numbers) for name in names[:8]},
            describe=describe,
            axis=word,
            marker=(1, word),
        ),
        "heat map": plots.heat_map(
            names,
            names,
            [numbers for _ in names],
            describe=describe,
            row_axis=word,
            column_axis=word,
        ),
        "reliability": plots.reliability(
            {name: [(0.2, 0.1, 0), (0.5, 0.4, 10)] for name in names[:8]},
            describe=describe,
        ),
    }


def _words(svg):
    return [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("names", [[], ["one"], NAMES, list("abcdefghi")])
def test_plots_of_anything_are_svg_without_powers(names):
    for kind, svg in _all(names, describe=HOSTILE[1]).items():
        root = ElementTree.fromstring(svg)
        assert root.tag == f"{SVG}svg", kind
        assert root.get("role") == "img" and root.get("aria-label"), kind
        assert root.get("viewBox") and root.get("width") is None, kind
        for element in root.iter():
            assert element.tag.removeprefix(SVG) in (
                *("svg", "g", "path", "rect", "text", "defs", "style", "use"),
                *("clipPath", "tspan"),
            ), kind
            for name, value in element.attrib.items():
                assert not name.startswith("on"), kind
                if name.endswith("href"):
                    assert value.startswith("#"), kind
        assert "url(" not in svg.replace("url(#", ""), kind
        assert "<!--" not in svg, kind  # where texts would stand once more


@settings(max_examples=10)
@given(st.lists(ANYTHING, min_size=1, max_size=12))
def test_words_are_drawn_as_they_are_shown(words):
    drawn = _words(plots.bars(words, [1] * len(words), describe=words[0]))
    assert {plots.plain(word, 26) for word in words} <= set(drawn)


def test_math_and_markup_are_text():
    words = _words(plots.bars(["$x^2$", "\\frac", "a & <b>"], [1, 2, 3], describe=""))
    assert {"$x^2$", "\\frac", "a & <b>"} <= set(words)


def test_what_looks_like_svg_in_a_text_is_text():
    names = ["font: 1px x", 'a id="x"', "url(#a)", "#000001", 'href="#b"']
    assert set(names) <= set(_words(plots.bars(names, [1] * 5, describe="")))


def test_a_name_with_an_underscore_is_in_the_legend():
    svg = plots.lines({"_a": ([1], [1]), "b": ([1], [2])}, describe="", axis="x")
    assert any("_a" in word for word in _words(svg))


def test_plots_are_the_same_every_time_and_share_no_ids():
    once, again = _all(NAMES), _all(NAMES)
    assert once == again
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in once.values()]
    assert sum(map(len, ids)) == len(set().union(*ids)) > 0
    for svg in once.values():
        used = re.findall(r'(?:url\(|href=")#([^")]+)', svg)
        assert set(used) == set(re.findall(r' id="([^"]+)"', svg))


def test_values_are_written_beside_their_bars():
    svg = plots.bars(["a", "b"], [0.25, None], describe="", form="percent")
    assert {"25.0 %", "–"} <= set(_words(svg))
    svg = plots.heat_map(
        ["a"], ["x", "y"], [[12345, 0]], describe="", row_axis="", column_axis=""
    )
    assert {"12.3k", "0"} <= set(_words(svg))


def test_reliability_is_seen_against_a_dashed_diagonal():
    root = ElementTree.fromstring(plots.reliability({}, describe=""))
    dashed = [p for p in root.iter(f"{SVG}path") if "dasharray" in p.get("style", "")]
    (x0, y0), (x1, y1) = re.findall(r"([\d.]+) ([\d.]+)", dashed[0].get("d"))
    assert len(dashed) == 1 and float(x0) < float(x1) and float(y0) > float(y1)
    assert {"confidence", "accuracy"} <= set(_words(plots.reliability({}, describe="")))


@pytest.mark.parametrize(
    "number, text",
    [(0, "0"), (999, "999"), (9999, "9,999"), (12345, "12.3k"), (2.5e6, "2.5M")],
)
def test_short_numbers(number, text):
    assert short(number) == text


@pytest.mark.parametrize(
    "names, lines",
    [(["bad", "good"], 1), (list("abcdefgh"), 2), (["fourteen chars"] * 8, 4), ([], 0)],
)
def test_lines_of_a_legend(names, lines):
    assert legend_lines(names) == lines


def test_nothing_of_matplotlib_is_left_behind(caplog, recwarn):
    import matplotlib

    before = dict(matplotlib.rcParams)
    with caplog.at_level(logging.WARNING):
        _all(NAMES)
    assert dict(matplotlib.rcParams) == before
    assert not caplog.records and not recwarn.list


def test_it_is_silent_where_it_may_write_nothing_and_ignores_settings(tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\naxes.facecolor: red\n")
    script = (
        "import sys\n"
        "from reviewbeam.components.reporting import plots\n"
        "assert 'matplotlib' not in sys.modules\n"
        "svg = plots.bars(['\\u65e5'], [1], describe='')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "print(len(svg))\n"
    )
    here = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", script],
        env={"MPLCONFIGDIR": "/proc/none", "HOME": "/proc", **_path()},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert here.returncode == 0, here.stderr
    assert here.stderr == ""
    assert int(here.stdout) == len(plots.bars(["\u65e5"], [1], describe=""))


def _path():
    import os

    return {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
