"""Breaks the code in small ways, and tells which breaks no test notices.

    python scripts/mutants.py [--seed N] [--count N] [--json FILE] [--again FILE]

Mutants (mutant_operators.py) are drawn, by the seed, from the functions of
`components/` that need neither Beam nor TensorFlow: from the modules that import none
of `HEAVY`, at their top or deeper, nor a module of ours that does.

All happens in a copy of the tree. A mutant is killed when tests of its module fail, or
don't end: those in the file that mirrors it; if they pass, those of its component that
import it, or mirror what does; then some of other components. Without any of these,
all of its component. Beyond the mirror a file that needs something heavy is asked only
if there is no other. Left out are slow tests, and files that take longer than `LONGEST`
seconds. Each run is a fork of this process, which has loaded the libraries that most
tests need, and none of our code.
"""

import argparse
import ast
import contextlib
import functools
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from mutant_operators import Mutant, drawn, mutants_of

HEAVY = ("apache_beam", "tensorflow", "tensorflow_data_validation", "tfx_bsl", "keras")
HEAVY += ("tensorflow_metadata", "keras_hub", "openvino", "nncf")
PRELOADED = ("numpy", "pandas", "pyarrow.parquet", "pyarrow.compute", "pydantic")
PRELOADED += ("yaml", "sentencepiece", "hypothesis", "pytest", "_pytest.assertion")
LONGEST = 90  # seconds of a test file
_NEAR = 6  # test files of other components that are asked


class Tree:
    """A copy of the project, whose tests are run against mutants."""

    def __init__(self, root: Path, copy: Path):
        self.root = copy
        for name in ("components", "pipelines", "tests", "configs", "scripts"):
            if (root / name).is_dir():
                shutil.copytree(root / name, copy / name)
        for path in root.glob("*.*"):
            if path.is_file():
                shutil.copy(path, copy)
        (copy / "reviewbeam").mkdir()
        for name in ("components", "pipelines"):
            (copy / "reviewbeam" / name).symlink_to(copy / name)
        self._seconds: dict[str, float | None] = {}
        self._imports = {
            path.relative_to(copy).as_posix(): _imports(path)
            for folder in ("components", "tests/components")
            for path in sorted((copy / folder).rglob("*.py"))
        }

    def light_modules(self) -> list[str]:
        """Paths of the modules that need nothing heavy."""
        modules = [path for path in self._imports if path.startswith("components/")]
        return [path for path in modules if not self._is_heavy(path)]

    @functools.cache  # noqa: B019
    def _is_heavy(self, path: str) -> bool:
        names = self._imports[path]
        return any(name.split(".")[0] in HEAVY for name in names) or any(
            self._is_heavy(other)
            for other in map(_path, names)
            if other in self._imports
        )

    def tests_of(self, module: str) -> list[list[str]]:
        """Returns the test files of a module, and those to ask when they say nothing.

        Each list is asked only about what the one before let live.
        """
        users = [p for p, names in self._imports.items() if module in map(_path, names)]
        near = dict.fromkeys(test for user in users for test in self._mirror(user))
        helpers = {p for p in users if p.startswith("tests/")}  # and tests
        users += [p for p, n in self._imports.items() if helpers & set(map(_path, n))]
        near |= dict.fromkeys(p for p in users if Path(p).name.startswith("test_"))
        folder = f"tests/{Path(module).parent}/test_"
        all_of_it = [path for path in self._imports if path.startswith(folder)]
        mirror = self._mirror(module)
        light = [t for t in near if t not in mirror and not self._is_heavy(t)]
        own = [test for test in light if test.startswith(folder)]
        lists = [mirror, own, [test for test in light if test not in own][:_NEAR]]
        return [tests for tests in lists if tests] or [list(near) or all_of_it]

    def _mirror(self, module: str) -> list[str]:
        path = Path("tests", module)
        mirror = path.with_name(f"test_{path.name}").as_posix()
        return [mirror] if mirror in self._imports else []

    def outcome(self, mutant: Mutant) -> str:
        """Tells what becomes of a mutant: killed, timeout, survived or no test."""
        path = self.root / mutant.module
        ran = False
        for tests in self.tests_of(mutant.module):
            usual = {test: self._usual_seconds(test) for test in tests}
            usual = {test: seconds for test, seconds in usual.items() if seconds}
            if not usual:
                continue
            ran = True
            path.write_text(mutant.broken, encoding="utf-8")
            try:
                code = self._run(list(usual), 10 + 4 * sum(usual.values()))
            finally:
                path.write_text(mutant.source, encoding="utf-8")
            if code != 0:
                return "timeout" if code is None else "killed"
        return "survived" if ran else "no test"

    def _usual_seconds(self, test: str) -> float | None:
        """How long a test file takes; None: too long, or it fails without a mutant."""
        if test not in self._seconds:
            started = time.monotonic()
            code = self._run([test], LONGEST)
            self._seconds[test] = None if code else time.monotonic() - started
            if code not in (0, 5):  # 5: all of its tests are slow
                print(f"left out: {test}", file=sys.stderr, flush=True)
        return self._seconds[test]

    def _run(self, tests: list[str], patience: float) -> int | None:
        """Runs tests in a fork; returns pytest's exit code, None if they don't end."""
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                os._exit(self._run_here(tests))
            os._exit(70)
        until = time.monotonic() + patience
        ended, status = 0, 0
        while not ended and time.monotonic() < until:
            time.sleep(0.02)
            ended, status = os.waitpid(child, os.WNOHANG)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # and what it started
        if not ended:
            os.waitpid(child, 0)
            return None
        return os.waitstatus_to_exitcode(status)

    def _run_here(self, tests: list[str]) -> int:
        os.setsid()
        os.chdir(self.root)
        sys.path.insert(0, str(self.root))
        os.environ["PYTHONPATH"] = str(self.root)  # of what the tests start
        with open(self.root / "pytest.log", "w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        import pytest

        options = ["-x", "-q", "-m", "not slow and not cluster"]
        options += ["-p", "no:cacheprovider", f"--basetemp={self.root}/tmp"]
        return pytest.main([*options, *tests])


def _imports(path: Path) -> set[str]:
    """Full names of what a module imports, at its top or deeper."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    return names


def _path(name: str) -> str:
    return name.removeprefix("reviewbeam.").replace(".", "/") + ".py"


def main() -> None:
    """Draws mutants, runs the tests, and prints a table and the survivors."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=200, help="how many mutants")
    parser.add_argument("--json", type=Path, help="file for what became of each")
    parser.add_argument("--again", type=Path, help="such a file: only its survivors")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1])
    arguments = parser.parse_args()
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    for name in PRELOADED:
        importlib.import_module(name)
    found = []
    with tempfile.TemporaryDirectory(prefix="reviewbeam-mutants-") as folder:
        tree = Tree(arguments.root, Path(folder))
        all_mutants = [
            mutant
            for module in tree.light_modules()
            for mutant in mutants_of((tree.root / module).read_text("utf-8"), module)
        ]
        if arguments.again:
            mutants = _survivors(all_mutants, json.loads(arguments.again.read_bytes()))
        else:
            mutants = drawn(all_mutants, arguments.count, arguments.seed)
        for mutant in mutants:
            outcome = tree.outcome(mutant)
            found.append({"outcome": outcome, "diff": mutant.diff} | _told(mutant))
            place = f"{mutant.module}:{mutant.line} {mutant.function}"
            print(f"{outcome:9} {place}", file=sys.stderr, flush=True)
    _print(found)
    if arguments.json:
        facts = {"seed": arguments.seed, "possible": len(all_mutants), "mutants": found}
        arguments.json.write_text(json.dumps(facts, indent=1))


def _survivors(mutants: list[Mutant], before: dict) -> list[Mutant]:
    """Finds those that no test noticed, wherever their lines are now."""
    told = [m for m in before["mutants"] if m["outcome"] in ("survived", "no test")]
    diffs: dict[tuple[str, str], set[str]] = {}
    for entry in told:
        place = entry["module"], entry["function"]
        diffs.setdefault(place, set()).add(entry["diff"])
    near = [mutant for mutant in mutants if (mutant.module, mutant.function) in diffs]
    return [m for m in near if m.diff in diffs[m.module, m.function]]


def _told(mutant: Mutant) -> dict[str, str | int]:
    told = {n: getattr(mutant, n) for n in ("module", "function", "operator", "line")}
    return told | {"component": Path(mutant.module).parts[1]}


def _print(found: list[dict]) -> None:
    for entry in found:
        if entry["outcome"] in ("survived", "no test"):
            place = "{module}:{line} {function}, {operator}: {outcome}"
            print(place.format(**entry), entry["diff"], "", sep="\n")
    for key in ("component", "operator"):
        print(f"{key:<14}{'mutants':>9}{'killed':>8}{'share':>8}")
        rows = {}
        for entry in found:
            killed = entry["outcome"] in ("killed", "timeout")
            rows.setdefault(entry[key], []).append(killed)
        rows["all"] = [killed for row in list(rows.values()) for killed in row]
        for name, row in rows.items():
            share = sum(row) / max(len(row), 1)
            print(f"{name:<14}{len(row):>9}{sum(row):>8}{share:>8.1%}")
        print()


if __name__ == "__main__":
    main()
