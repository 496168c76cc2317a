"""Names from a user's data, as Markdown that means nothing else."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from reviewbeam.components.trainer.markdown import escape, table


@given(name=st.text(string.printable + "é你\u202e\u2028<&", max_size=12))
def test_a_name_is_shown_as_it_is(name):
    html = MarkdownIt().enable("table").render(table(["of"], [[name], [1.23456]]))
    cells = [line[4:-5] for line in html.splitlines() if line.startswith("<td>")]
    shown = "".join(c if c.isprintable() else " " for c in name).strip()
    expected = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert cells == [expected.replace('"', "&quot;") or "(blank)", "1.235"]
    assert "\n" not in escape(name)
    listed = MarkdownIt().render(f"0. {escape(name)}")
    assert f"<li>{cells[0]}</li>" in listed


@pytest.mark.parametrize("name", ["1.", "12) x", "1. x", "+ x", "- x", "-", "2.5"])
def test_a_name_begins_no_list(name):
    assert MarkdownIt().render(escape(name)) == f"<p>{name}</p>\n"
