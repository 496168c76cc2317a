import xml.etree.ElementTree as ElementTree

import pytest

from reviewbeam.components.reporting import charts, plots


@pytest.mark.parametrize("name", ["others", "(4 others)"])
def test_rare_labels_are_one_part_whatever_the_labels_are_called(name, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        plots, "stacked_bars", lambda names, series, describe: drawn.update(series)
    )
    labels = [name, *"abcdefghij"]
    rows = {"en": {name: 50} | dict.fromkeys("abcdefghij", 5)}
    charts.label_mix(rows, labels, "")
    assert len(drawn) == charts.PARTS
    assert drawn.pop(name) == [50]
    assert sum(parts[0] for parts in drawn.values()) == 50


def test_rare_counts_are_one_bar(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        plots, "bars", lambda names, values, describe: drawn.append((names, values))
    )
    counts = {"a": 1, "b": 4, "c": 3, "d": 2}
    charts.by_count(counts, "", limit=4)
    charts.by_count(counts, "", limit=3)
    assert drawn == [
        (["b", "c", "d", "a"], [4, 3, 2, 1]),
        (["b", "c", charts.OTHERS], [4, 3, 3]),
    ]


@pytest.mark.parametrize(
    "value, place",
    [(15, 1), (20, 1.5), (35, 2.25), (40, 2.5), (41, 2.5)],
)
def test_a_line_is_at_its_value_among_the_bars(value, place, monkeypatch):
    monkeypatch.setitem(
        charts.BOUNDS, "tokens", [10, 20, 40]
    )  # the fourth bar is what is more
    drawn = {}
    monkeypatch.setattr(plots, "histogram", lambda *_, **given: drawn.update(given))
    charts.binned("tokens", {"a": {"10": 1}}, "", "tokens", (value, "limit"))
    assert drawn["marker"] == (place, "limit")


def test_few_labels_are_all_there():
    svg = charts.label_mix({"en": {"a": 1}, "": {"b": 3}}, ["a", "b"], "labels")
    texts = [element.text for element in ElementTree.fromstring(svg).iter()]
    assert {"a", "b", "en", charts.NOT_KNOWN} <= set(texts)
