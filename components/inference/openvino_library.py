"""Imports OpenVINO and NNCF so that they report to nobody."""

import ctypes
import importlib
import importlib.util
import sys
from types import ModuleType

from reviewbeam.components.common.errors import UserError

_TELEMETRY = "openvino_telemetry"


def is_installed() -> bool:
    """Tells whether OpenVINO can be imported."""
    return importlib.util.find_spec("openvino") is not None


def import_openvino(name: str = "openvino") -> ModuleType:
    """Imports OpenVINO, or NNCF, which comes with it.

    Both would report each import to Google Analytics, from a thread, unless a file in
    the user's home says no. Without the package that does so they report nothing;
    None in `sys.modules` is Python's way to say that there is none.

    Raises:
      UserError: it is not installed.
    """
    if importlib.util.find_spec(name) is None:
        raise UserError(
            "The engines openvino and openvino-int8 need OpenVINO, and quantize NNCF "
            f"too; {name} is not installed: pip install 'reviewbeam[openvino]'."
        )
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    return importlib.import_module(name)


def drop_signal_stack() -> None:
    """Takes back the stack for signal handlers that compiling a model leaves behind.

    On processors with AMX OpenVINO gives the calling thread such a stack. When one of
    several models is gone, the thread has the freed one of another, and the next
    signal, which Python's handlers take on it, ends the process.
    """
    nothing = _Stack(None, _SS_DISABLE, 0)
    ctypes.CDLL(None).sigaltstack(ctypes.byref(nothing), None)


_SS_DISABLE = 2


class _Stack(ctypes.Structure):
    _fields_ = [
        ("ss_sp", ctypes.c_void_p),
        ("ss_flags", ctypes.c_int),
        ("ss_size", ctypes.c_size_t),
    ]
