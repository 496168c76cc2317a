"""Holds where OpenVINO is not installed, too."""

import importlib.util
import json
import sys

import pytest

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.inference.openvino_library import (
    import_openvino,
    is_installed,
)


@pytest.mark.parametrize(("found", "installed"), [(None, False), (object(), True)])
def test_looks_without_importing(found, installed, monkeypatch):
    asked = []
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: asked.append(name) or found
    )
    assert is_installed() is installed
    assert asked == ["openvino"]


def test_what_is_missing_is_named():
    message = r"no_such_library is not installed: pip install 'reviewbeam\[openvino\]'"
    with pytest.raises(UserError, match=message):
        import_openvino("no_such_library")


def test_what_would_report_can_not_be_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)
    assert import_openvino("json") is json
    with pytest.raises(ImportError):
        importlib.import_module("openvino_telemetry")
