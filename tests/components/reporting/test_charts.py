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


def test_few_labels_are_all_there():
    svg = charts.label_mix({"en": {"a": 1}, "": {"b": 3}}, ["a", "b"], "labels")
    texts = [element.text for element in ElementTree.fromstring(svg).iter()]
    assert {"a", "b", "en", charts.NOT_KNOWN} <= set(texts)
