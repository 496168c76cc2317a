"""scripts/mutants.py: the breaks that it makes, and what it says of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE = '''"""A module."""


def larger(a: int, b: int) -> int:
    """Returns the larger one."""
    if a > b:
        return a
    return b


def doubled(a):
    return a * 2
'''
TEST = """from reviewbeam.components.common.numbers import doubled, larger


def test_larger():
    assert larger(3, 2) == 3
    assert larger(2, 3) == 3
"""


def _mutants(monkeypatch, source):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    from mutant_operators import drawn, mutants_of

    made = list(mutants_of(source, "numbers.py"))
    return drawn(made, len(made), seed=0)


def _changed(mutants):
    """Operator and new lines of each mutant."""
    added = [
        [n[1:].strip() for n in m.diff.splitlines() if n[0] == "+"] for m in mutants
    ]
    return {(m.operator, *lines) for m, lines in zip(mutants, added, strict=True)}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x = a <= b < c", {("comparison", "x = (a < b < c)")}),
        ("x = a not in b", {("comparison", "x = (a in b)")}),
        ("x = (a + b) * c", {("arithmetic", "x = ((a - b)) * c")}),
        ("x = a and b", {("and, or", "x = (a or b)")}),
        ("x = not a", {("sign", "x = (a)")}),
        ("x = 3", {("constant", "x = (4)"), ("constant", "x = (2)")}),
        ("x = True", {("constant", "x = False")}),
        (
            "x = 'ä', 'two words', f'{a}b'",
            {("string", "x = 'äXX', 'two words', f'{a}b'")},
        ),
        ("return a", {("return", "return None")}),
        ("g(a, b, c)", {("arguments", "(g(b, a, c))"), ("statement", "pass")}),
        ("x = [b for b in a if b]", {("condition", "x = [b for b in a if (not (b))]")}),
        ("x: dict['k', 1] = a", set()),
    ],
)
def test_operators(line, expected, monkeypatch):
    found = _changed(
        _mutants(monkeypatch, f'def f(a, b, c, g):\n    """Doc."""\n    {line}\n')
    )
    assert expected <= found
    if len(expected) != 1 or "*" not in line and "<" not in line:
        assert found == expected


def test_loops_and_conditions(monkeypatch):
    source = """def f(a):
    while a:
        if a.b:
            break
        continue
"""
    assert _changed(_mutants(monkeypatch, source)) == {
        ("condition", "while (not (a)):"),
        ("condition", "if (not (a.b)):"),
        ("loop", "continue"),
        ("loop", "break"),
    }


def test_what_is_outside_of_functions_or_the_same_in_bytecode_is_no_mutant(monkeypatch):
    assert _mutants(monkeypatch, "x = 1\n\n\nclass A:\n    y = 2\n") == []
    # Nought times anything is nought already when it is compiled.
    mutants = _mutants(monkeypatch, "def f():\n    return 0 * 5\n")
    assert {m.text for m in mutants} == {"(1)", "(-1)", "(0 / 5)", "return None"}


def test_killed_and_surviving_mutants_of_a_project(tmp_path):
    """Only `doubled`, which no test calls, survives; the tree stays as it is."""
    package = tmp_path / "project" / "components" / "common"
    tests = tmp_path / "project" / "tests" / "components" / "common"
    package.mkdir(parents=True)
    tests.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "numbers.py").write_text(MODULE)
    (package / "heavy.py").write_text("import keras\n\n\ndef f():\n    return 1\n")
    (tests / "test_numbers.py").write_text(TEST)
    settings = '[tool.pytest.ini_options]\nmarkers = ["slow", "cluster"]\n'
    (tmp_path / "project" / "pyproject.toml").write_text(settings)
    out = tmp_path / "mutants.json"
    command = [sys.executable, ROOT / "scripts" / "mutants.py", "--json", out]
    command += ["--root", tmp_path / "project"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(out.read_bytes())["mutants"]
    outcomes = {(m["function"], m["operator"], m["outcome"]) for m in found}
    assert outcomes == {
        ("larger", "comparison", "survived"),  # of equal numbers either is the larger
        ("larger", "condition", "killed"),
        ("larger", "return", "killed"),
        ("doubled", "arithmetic", "survived"),
        ("doubled", "constant", "survived"),
        ("doubled", "return", "survived"),
    }
    assert "-    return a * 2\n+    return (a / 2)\n" in run.stdout
    again = [*command[:2], "--again", out, *command[4:]]
    run = subprocess.run(again, capture_output=True, text=True, check=True)
    survivors = [line for line in run.stdout.splitlines() if "survived" in line]
    assert len(survivors) == sum(m["outcome"] == "survived" for m in found) == 5
    assert (package / "numbers.py").read_text() == MODULE
