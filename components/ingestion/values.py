"""Values of a record as the text that flows on, or the rule that they break.

Each conversion takes a value as a parser gave it, never None, and returns the text
and no problem, or no text and the problem's name.
"""

import datetime
from typing import Any

import orjson

Converted = tuple[str | None, str | None]

MISSING = object()  # where a record has no value, not even a null


def lookup(record: dict, column: str) -> Any:
    """Returns a value by its name, or by a path of names with dots between.

    Returns:
      The value, or MISSING.
    """
    if column in record:
        return record[column]
    for part in column.split("."):
        if not isinstance(record, dict) or part not in record:
            return MISSING
        record = record[part]
    return record


def text_value(value: Any) -> Converted:
    """Converts a review's text: a string, or its bytes in UTF-8."""
    if isinstance(value, str):
        return value, None
    if isinstance(value, bytes):
        return _decoded(value)
    return None, "text_wrong_type"


def label_value(value: Any) -> Converted:
    """Converts a label: a string or a number; 5.0 stars are 5 stars."""
    if isinstance(value, str):
        return value.strip(), None
    if isinstance(value, bool):
        return str(value).lower(), None
    if isinstance(value, float) and value.is_integer():
        return str(int(value)), None
    if isinstance(value, int | float):
        return str(value), None
    if isinstance(value, bytes):
        return _decoded(value)
    return None, "label_wrong_type"


def language_value(value: Any) -> Converted:
    """Converts the name of a language."""
    if isinstance(value, str):
        return value.strip() or None, None
    return None, "language_wrong_type"


def scalar_value(value: Any, problem: str) -> Converted:
    """Converts an id or a group: a string or a number."""
    if isinstance(value, str):
        return value, None
    if isinstance(value, int | float):
        return str(value), None
    return None, problem


def kept_value(value: Any) -> Converted:
    """Converts a kept value: lists and objects to JSON, all else to plain text."""
    if isinstance(value, str):
        return value, None
    if isinstance(value, dict | list | int | float):
        return orjson.dumps(value, default=_plain).decode(), None
    return _plain(value), None


def is_utf8(data: bytes) -> bool:
    """Tells whether bytes are valid UTF-8."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)


def _decoded(value: bytes) -> Converted:
    return (value.decode(), None) if is_utf8(value) else (None, "invalid_utf8")
