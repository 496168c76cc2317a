import html.parser
import re

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewbeam.components.reporting import page as pages
from reviewbeam.components.reporting.dataset_page import dataset_page
from reviewbeam.components.reporting.page import Table, Tile, Verdict
from reviewbeam.components.reporting.scores_page import scores_page
from tests.browser import HOSTILE
from tests.components.reporting.pages import (
    dataset_facts,
    hostile_dataset,
    hostile_scores,
)

ANYTHING = st.text(st.characters(codec=None, exclude_categories=()), max_size=200)
_VOID = {"meta", "br", "hr", "img", "input", "link"}


class _Checker(html.parser.HTMLParser):
    """Holds each element to what a page may have."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.text = []

    def handle_starttag(self, tag, attributes):
        assert tag not in ("script", "iframe", "object", "embed", "link", "base")
        for name, value in attributes:
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "src", "xlink:href", "action", "srcset"):
                assert value.startswith("#"), (tag, name, value)
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def check(text):
    """Asserts that a page is well-formed and has no powers; returns its text."""
    checker = _Checker()
    checker.feed(text)
    checker.close()
    assert not checker.open
    assert len(text.encode()) <= pages.MAX_BYTES
    assert not re.search(r"url\((?!#)", text)
    return " ".join(" ".join(checker.text).split())


@pytest.mark.parametrize(
    "make",
    [lambda: dataset_page(hostile_dataset()), lambda: scores_page(hostile_scores())],
    ids=["dataset", "scores"],
)
def test_hostile_words_stay_words(make):
    text = make()
    seen = check(text)
    assert "<script>document.title='owned'</script>" in seen
    assert "{{ 7 * 7 }}" in seen and "[U+202E]gnp.exe" in seen
    assert "w" * 401 not in text
    for raw in ("\u202e", "\x00", "\x1b", "\ud800"):
        assert raw not in text


@settings(max_examples=3)
@given(ANYTHING)
def test_whatever_the_words_the_page_is_whole(word):
    facts = dataset_facts(languages=[word], labels=[word, word + "2"])
    facts["anomalies"] = [word]
    facts["inputs"][0]["file"] = facts["inputs"][0]["format"] = word
    check(dataset_page(facts))


@settings(max_examples=25)
@given(ANYTHING | st.sampled_from(HOSTILE))
def test_whatever_the_words_the_parts_are_whole(word):
    parts = pages._environment().from_string(
        '{% extends "base.html.jinja" %}{% block content %}{{ ui.table(table) }}'
        "{% endblock %}"
    )
    table = Table.cut([(word, "text")], [[word]], where=word, limit=0, caption=word)
    check(
        parts.render(
            title=word, kind="a", subtitle=word, table=table,
            verdict=Verdict("bad", word, [word] * 30), tiles=[Tile(word, word, word)],
        )
    )  # fmt: skip


def test_a_table_is_cut_and_says_so():
    table = Table.cut([("n", "count")], ([n] for n in range(1000)), where="x.json")
    assert len(table.rows) == 40 and table.left == 960
    macros = pages._environment().get_template("macros.html.jinja").module
    seen = check(macros.table(table))
    assert "… and 960 more, in x.json" in seen
    assert check(macros.table(Table([], []), "Nothing here.")) == "Nothing here."


def test_cells_by_their_kinds():
    columns = [("t", "text"), ("n", "count"), ("p", "percent"), ("f", "figure")]
    columns += [("d", "duration"), ("s", "size"), ("m", "text")]
    rows = [["<b>", 1234, 0.5, 0.12345, 61, 2000, None]]
    macros = pages._environment().get_template("macros.html.jinja").module
    seen = check(macros.table(Table(columns, rows)))
    assert seen.endswith("<b> 1,234 50.0 % 0.123 1 min 01 s 2.0 kB –")


def test_a_template_that_names_what_isn_t_there_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        pages.render("base.html.jinja", title="x")


def test_a_page_that_is_too_large_is_an_error(monkeypatch):
    monkeypatch.setattr(pages, "MAX_BYTES", 1000)
    with pytest.raises(pages.PageTooLargeError, match="allowed 1,000"):
        dataset_page(dataset_facts())


def _luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(mode):
    """WCAG 2.2, success criterion 1.4.3: 4.5 to 1."""
    css = (pages._TEMPLATES / "page.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[mode]))
    pairs = [
        (front, back)
        for front in ("ink", "muted", "accent", "bad")
        for back in ("paper", "ground")
    ]
    tones = ("good", "warning", "bad", "accent")
    pairs += [(tone, f"{tone}-soft") for tone in tones]
    pairs += [("ink", f"{tone}-soft") for tone in tones]
    pairs += [("paper", tone) for tone in tones]  # the sign
    for front, back in pairs:
        light, dark = sorted(
            (_luminance(colors[front]), _luminance(colors[back])), reverse=True
        )
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (front, back)
