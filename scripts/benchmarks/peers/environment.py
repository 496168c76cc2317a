"""The Python environments of the contenders."""

import json
import os
import subprocess
from pathlib import Path

_PRINT_VERSIONS = """
import importlib.metadata, json, platform
names = "apache-beam datasets tokenizers sentencepiece tensorflow tensorflow-cpu"
packages = importlib.metadata.distributions()
found = {package.name.replace("_", "-"): package.version for package in packages}
versions = {name: found[name] for name in names.split() if name in found}
print(json.dumps({"python": platform.python_version()} | versions))
"""


def peer_environment(folder: Path) -> str:
    """Makes the peers' environment unless it stands; returns its interpreter."""
    requirements = Path(__file__).with_name("requirements.txt")
    stamp, python = folder / "stamp", folder / "bin/python"
    wanted = requirements.read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"Installing the peers in {folder} …", flush=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "-r", str(requirements)]
        environment = variables(alone=True)
        venv = ["python3.11", "-m", "venv", "--clear", str(folder)]
        subprocess.run(venv, check=True, env=environment)
        subprocess.run(pip, check=True, env=environment)
        # Files of other Python versions fail; pip has compiled most already.
        compileall = [str(python), "-m", "compileall", "-qq", str(folder / "lib")]
        subprocess.run(compileall, check=False, env=environment)
        stamp.write_text(wanted)
    return str(python)


def versions(python: str) -> dict[str, str]:
    """Returns the versions of what counts in an interpreter's environment."""
    command = [python, "-c", _PRINT_VERSIONS]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def variables(alone: bool, **more: str) -> dict[str, str]:
    """Returns this environment without what makes Python start slowly."""
    dropped = {"PYTHONDONTWRITEBYTECODE"}
    if alone:
        dropped |= {"PYTHONPATH", "PYTHONHOME"}
    return {k: v for k, v in os.environ.items() if k not in dropped} | more
