"""Imports run one way, and heavy ones stay out of the way to `--help`."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted([*ROOT.glob("components/**/*.py"), *ROOT.glob("pipelines/**/*.py")])
SCRIPTS = sorted(ROOT.glob("scripts/**/*.py"))


def _imports(path):
    """Full names of what a module imports, at its top or deeper."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _component(name):
    parts = name.split(".")
    return parts[2] if parts[:2] == ["reviewbeam", "components"] and parts[2:] else None


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_run_one_way(path):
    layer, *rest = path.relative_to(ROOT).parts
    mine = rest[0] if layer == "components" and len(rest) > 1 else None
    for name in _imports(path):
        if layer == "components":
            assert not name.startswith("reviewbeam.pipelines"), name
            if path.name != "__init__.py" and _component(name):
                assert _component(name) in (mine, "common"), name
        package = name.split(".")[0]
        if mine in ("trainer", "encoder"):
            assert package != "apache_beam", name
        elif mine not in (None, "trainer"):
            assert package not in ("keras", "keras_hub"), name
        if mine == "common":
            assert package not in ("tensorflow", "tensorflow_data_validation"), name
        if layer == "components":
            assert package != "argparse", name


def test_only_pipelines_build_a_pipeline():
    for path in MODULES:
        if path.relative_to(ROOT).parts[0] == "components":
            assert "beam.Pipeline(" not in path.read_text(), path


def test_no_module_is_too_long():
    for path in [*MODULES, *SCRIPTS]:
        assert len(path.read_text().splitlines()) <= 300, path


def test_no_function_is_too_long():
    for path in [*MODULES, *SCRIPTS]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                assert lines <= 60, f"{path}: {node.name} has {lines} lines"


@pytest.mark.parametrize("job", [[], ["prepare"], ["tune"], ["score"], ["predict"]])
def test_help_answers_at_once_and_imports_nothing_heavy(job):
    script = (
        "import sys\n"
        "from reviewbeam.pipelines.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as stop:\n    assert stop.code == 0\n"
        "heavy = {'tensorflow', 'apache_beam', 'keras', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    times = []
    for _ in range(3):
        started = time.monotonic()
        subprocess.run(
            [sys.executable, "-c", script, *job, "--help"],
            check=True,
            capture_output=True,
        )
        times.append(time.monotonic() - started)
    assert min(times) < 0.5
