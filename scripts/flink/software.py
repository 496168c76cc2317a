"""Installs once what a cluster is made of: Flink from PyPI, the job server from Maven.

The versions are properties of pom.xml.
"""

import functools
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from common import Problem, locked, say, tail

_POM = Path(__file__).with_name("pom.xml")
_NEEDED = "sudo apt-get install -y --no-install-recommends default-jdk-headless maven"
_OLDEST_JAVA = 11
# The sdist has Flink's jars; the wheel its start scripts, the same for every Python,
# but it exists for some only.
_JARS, _SCRIPTS = "apache-flink-libraries", "apache-flink"
_PYTHON_OF_WHEEL = "3.11"


def flink_version() -> str:
    version = ElementTree.parse(_POM).findtext("{*}properties/{*}flink.version")
    assert version is not None
    return version


def flink_home(folder: Path) -> Path:
    return folder / f"flink-{flink_version()}"


def job_server(folder: Path) -> Path:
    return folder / "job-server.jar"


@functools.cache
def java_home() -> Path:
    """Returns where the Java lies that JAVA_HOME or PATH names."""
    chosen = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{chosen}/bin" if chosen else None)
    if found is None:
        where = f"JAVA_HOME={chosen}" if chosen else "PATH"
        raise Problem(
            f"Flink needs Java {_OLDEST_JAVA} or newer, and there is none in {where}. "
            f"On Debian and Ubuntu: {_NEEDED}",
            2,
        )
    # What PATH names may be a script that chooses one.
    command = [found, "-XshowSettings:properties", "-version"]
    told = subprocess.run(command, capture_output=True, text=True).stderr
    properties = dict(re.findall(r"^ *(java\.\S+) = (.*)$", told, re.MULTILINE))
    version = properties.get("java.specification.version", "")
    if not version.isdecimal() or int(version) < _OLDEST_JAVA:  # 8 calls itself 1.8.
        raise Problem(
            f"{found} is Java {version or 'of no version'}; Flink needs "
            f"{_OLDEST_JAVA} or newer. On Debian and Ubuntu: {_NEEDED}",
            2,
        )
    return Path(properties["java.home"])


def install(folder: Path) -> None:
    """Installs in `folder` what isn't there yet."""
    # Not the lock of a cluster, which may have the same folder.
    with locked(folder / ".install.lock"):
        home, jar = flink_home(folder), job_server(folder)
        build = _must_build(folder)
        if build:
            _check_tools(jar)
        if not home.exists():
            say(f"installing Flink {flink_version()} from PyPI (230 MB to fetch, once)")
            _timed(_install_flink, home)
        if build:
            say("making the job server with Maven (160 MB, once)")
            _timed(_build_job_server, folder)


def _check_tools(jar: Path) -> None:
    missing = []
    if shutil.which("mvn") is None:
        missing.append("Maven (mvn, in PATH)")
    if not (java_home() / "bin" / "javac").exists():
        missing.append(f"a JDK (javac, in {java_home()})")
    if missing:
        raise Problem(
            f"Making the job server ({jar}) needs {' and '.join(missing)}. On Debian "
            f"and Ubuntu: {_NEEDED}",
            2,
        )


def _must_build(folder: Path) -> bool:
    # A jar that lies there without the pom that it was made by is the user's own.
    jar, made_by = job_server(folder), _made_by(folder)
    return not jar.exists() or (
        made_by.exists() and made_by.read_bytes() != _POM.read_bytes()
    )


def _made_by(folder: Path) -> Path:
    return folder / "job-server.pom.xml"


def _timed(work, *arguments) -> None:
    began = time.monotonic()
    work(*arguments)
    say(f"  done in {time.monotonic() - began:.0f} s")


def _install_flink(home: Path) -> None:
    staged = _emptied(home.with_name("_staged"))
    for name in (_JARS, _SCRIPTS):
        choice = []
        if name == _SCRIPTS:
            choice = [f"--python-version={_PYTHON_OF_WHEEL}", "--only-binary=:all:"]
        # pip, not uv, since it takes the user's settings of pip by itself.
        _logged(
            [sys.executable, "-m", "pip", "install", "--no-deps", "--no-compile"]
            + ["--disable-pip-version-check", f"--target={staged / name}", *choice]
            + [f"{name}=={flink_version()}"],
            home.with_name("install.log"),
        )
    whole, scripts = (staged / name / "pyflink" for name in (_JARS, _SCRIPTS))
    for part in ("bin", "conf"):
        shutil.copytree(scripts / part, whole / part, dirs_exist_ok=True)
    for script in (whole / "bin").glob("*.sh"):
        script.chmod(0o755)
    whole.rename(home)
    shutil.rmtree(staged)


def _build_job_server(folder: Path) -> None:
    staged = _emptied(folder / "_staged")
    shutil.copy(_POM, staged)
    _logged(
        ["mvn", "--batch-mode", "--no-transfer-progress", "package"],
        folder / "install.log",
        cwd=staged,
        env=os.environ | {"JAVA_HOME": os.fspath(java_home())},
    )
    # Killed anywhere in between there is no job server, and all is made again.
    job_server(folder).unlink(missing_ok=True)
    (staged / "pom.xml").rename(_made_by(folder))
    (staged / "target" / "job-server.jar").rename(job_server(folder))
    shutil.rmtree(staged)


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _logged(command: list[str], log: Path, **options) -> None:
    with open(log, "w") as out:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **options
        )
    if done.returncode:
        raise Problem(f"{command[0]} failed; its last lines, of {log}:{tail(log)}")
