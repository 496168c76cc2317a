"""What `doctor` looks at in the installation: Python, glibc, packages, bytecode."""

import importlib.util
import os
import platform
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from reviewbeam.components.common.errors import listing
from reviewbeam.pipelines.findings import BAD, GOOD, WARNING, Finding

ROOT = Path(__file__).resolve().parents[1]  # of a checkout
_OLDEST_GLIBC, _NEW_GLIBC = (2, 28), (2, 39)  # TFDV's wheels need one or the other
_OLD_LOCK, _NEW_LOCK = "requirements-glibc2.28.lock", "requirements-glibc2.39.lock"
# As scripts/setup.sh has them.
_PYTHONS = {_OLD_LOCK: ((3, 11),), _NEW_LOCK: ((3, 11), (3, 12), (3, 13))}
_MISSING = " is missing"
_WHEEL = "reviewbeam-….whl"
_OWN, _OWN_FOLDERS = "reviewbeam.pipelines", ("components", "pipelines")
_COMPILED = ("tensorflow", "apache_beam", _OWN)


def lock_name() -> str | None:
    """Returns the lock file that belongs to this machine; None: its libc is too old."""
    version = _glibc()
    if version is None or version < _OLDEST_GLIBC:
        return None
    return _NEW_LOCK if version >= _NEW_GLIBC else _OLD_LOCK


def python() -> Finding:
    """Looks at Python's version."""
    version = sys.version_info[:2]
    found = f"{platform.python_version()}, {sys.executable}"
    fitting = _PYTHONS[lock_name() or _OLD_LOCK]
    if version in fitting:
        return Finding("Python", GOOD, found)
    wanted = " or ".join(f"{major}.{minor}" for major, minor in fitting)
    return Finding("Python", BAD, found, f"Make an environment of Python {wanted}.")


def libc() -> Finding:
    """Looks at the C library, by which a lock file is chosen."""
    system = f"{platform.system()} {platform.machine()}"
    if system != "Linux x86_64":
        advice = "Use Linux x86-64: TensorFlow Data Validation has no other packages."
        return Finding("glibc", BAD, system, advice)
    lock, version = lock_name(), _glibc()
    found = "no glibc" if version is None else f"{version[0]}.{version[1]}"
    if lock is None:
        advice = "Use a system with glibc 2.28 or newer, as Debian 12."
        return Finding("glibc", BAD, found, advice)
    return Finding("glibc", GOOD, f"{found}, so {lock}")


def declared() -> Finding:
    """Looks whether all that reviewbeam needs is here, in versions that it can use."""
    problems = [*_problems(_requirements(None))]
    if not problems:
        count = len(_requirements(None))
        return Finding("packages", GOOD, f"all {count} in the declared ranges")
    return Finding("packages", BAD, "; ".join(problems), how_to_mend())


def locked() -> Finding:
    """Holds the installed versions against the lock file of a checkout."""
    name = lock_name()
    path = ROOT / (name or _OLD_LOCK)
    if name is None or not path.is_file():
        return Finding("lock", GOOD, "no checkout: the declared ranges count")
    pins = re.findall(
        r"^([\w.-]+)==([^\s;]+)(?: ; (.+?))? ?\\?$", path.read_text(), re.M
    )
    from packaging.markers import Marker

    other, count = [], 0
    for package, pinned, marker in pins:
        if marker and not Marker(marker).evaluate():
            continue
        count += 1
        if (installed := _version(package)) != pinned:
            other.append(f"{package} {installed or 'missing'} (not {pinned})")
    if not other:
        return Finding("lock", GOOD, f"all {count} packages as {name} has them")
    found = f"{len(other)} of {count} differ from {name}: {'; '.join(other[:5])}"
    found += "; …" if len(other) > 5 else ""
    return Finding("lock", WARNING, found, how_to_mend())


def extras() -> Finding:
    """Looks which extras are installed."""
    names = sorted(
        set(metadata.metadata("reviewbeam").get_all("Provides-Extra") or ()) - {"dev"}
    )
    whole, missing, wrong = [], [], []
    for name in names:
        requirements = _requirements(name)
        problems = [*_problems(requirements)]
        if not problems:
            whole.append(name)
        elif all(problem.endswith(_MISSING) for problem in problems):
            missing.append(name)
        else:
            wrong.append((name, "; ".join(problems)))
    found = ", ".join(whole) or "none"
    if missing:
        found += f"; to add others: {how_to_add(*missing)}"
    if wrong:
        found += "; " + "; ".join(f"{name}: {problems}" for name, problems in wrong)
        return Finding(
            "extras", WARNING, found, how_to_mend(*(name for name, _ in wrong))
        )
    return Finding("extras", GOOD, found)


def how_to_add(*extras: str) -> str:
    """Returns the line that adds extras."""
    if _in_checkout():
        return " ".join(["scripts/setup.sh", *extras])
    return _install_wheel(extras)


def how_to_mend(*extras: str) -> str:
    """Returns what brings the packages back that reviewbeam and extras need."""
    if _in_checkout():
        line = " ".join(["scripts/setup.sh", *(extras or ["[EXTRA…]"])])
        return f"Make .venv anew: rm -f .venv/.reviewbeam; {line}"
    return f"Install the wheel that you have again: {_install_wheel(extras)}"


def _install_wheel(extras: Sequence[str]) -> str:
    """By a path: a name is looked for in an index, where a stranger may hold it."""
    named = f"[{','.join(extras)}]" if extras else ""
    return f"pip install './{_WHEEL}{named}'"


def _in_checkout() -> bool:
    return (ROOT / "scripts" / "setup.sh").is_file()


def bytecode() -> Finding:
    """Looks whether Python must compile the libraries at every start."""
    missing = [name for name in _COMPILED if not _is_compiled(name)]
    if not missing:
        return Finding("bytecode", GOOD, "cached")
    if not sys.dont_write_bytecode and os.access(_source(missing[0]).parent, os.W_OK):
        return Finding("bytecode", GOOD, "will be cached when jobs first run")
    libraries = [name for name in missing if name != _OWN]
    if not libraries:
        found = "cached, but for reviewbeam's own: a tenth of a second at each start"
        return Finding("bytecode", GOOD, found)
    folders = {_source(name).parents[1] for name in libraries}
    if _OWN in missing:
        folders |= {_source(_OWN).parents[1] / part for part in _OWN_FOLDERS}
    command = [sys.executable, "-m", "compileall", "-q", *map(str, sorted(folders))]
    return Finding(
        "bytecode",
        WARNING,
        f"none of {listing(libraries)}: they start three times as slowly",
        f"Once: env -u PYTHONDONTWRITEBYTECODE {shlex.join(command)}",
    )


def _is_compiled(name: str) -> bool:
    try:
        return Path(importlib.util.cache_from_source(str(_source(name)))).is_file()
    except ModuleNotFoundError:
        return True  # that it isn't there is another check's to say


def _source(name: str) -> Path:
    if name == _OWN:
        return Path(__file__).resolve()
    spec = importlib.util.find_spec(name)  # imports nothing
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(name)
    return Path(spec.origin)


def _glibc() -> tuple[int, int] | None:
    try:
        told = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (OSError, ValueError):
        return None
    match = re.fullmatch(r"glibc (\d+)\.(\d+).*", told)
    return (int(match[1]), int(match[2])) if match else None


def _requirements(extra: str | None, package: str = "reviewbeam") -> list:
    """Returns what a package needs, or what an extra of it adds."""
    from packaging.requirements import Requirement

    needed = [Requirement(line) for line in metadata.requires(package) or ()]

    def asked_for(requirement: Requirement, extra: str) -> bool:
        marker = requirement.marker
        return marker is None or marker.evaluate({"extra": extra})

    plain = [r for r in needed if asked_for(r, "")]
    if extra is None:
        return plain
    return [r for r in needed if asked_for(r, extra) and r not in plain]


def _problems(requirements: list) -> Iterator[str]:
    for requirement in requirements:
        installed = _version(requirement.name)
        if installed is None:
            yield f"{requirement.name}{_MISSING}"
        elif not requirement.specifier.contains(installed, prereleases=True):
            yield f"{requirement.name} is {installed}, not {requirement.specifier}"
        else:
            for extra in requirement.extras:
                yield from _problems(_requirements(extra, requirement.name))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
