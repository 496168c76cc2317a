"""What CONTRIBUTING.md names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
FLAT = " ".join(TEXT.split())
PATHS = sorted(
    set(re.findall(r"(?:components|pipelines|scripts|tests)/[\w/.*-]+", TEXT))
)


@pytest.mark.parametrize("path", [p.rstrip(".") for p in PATHS if "/X/" not in p])
def test_a_path_is_there(path):
    assert list(ROOT.glob(path)), path


@pytest.mark.parametrize(
    "name, path",
    sorted(set(re.findall(r"`(\w+)` in `([\w/]+\.py)`", FLAT))),
)
def test_a_name_is_in_its_file(name, path):
    source = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"^\s*(def|class) {name}\b|^\s*{name}\s*[:=]", source, re.M)


def test_names_were_found():
    assert len(re.findall(r"`(\w+)` in `([\w/]+\.py)`", FLAT)) > 15
