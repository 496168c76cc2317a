"""Values of a record as the text that flows on, and the rules that they break.

Each conversion takes a value as a parser gave it, never None, and returns the text,
mended if need be, and the rule that the value broke, or None.
"""

import datetime
import re
from typing import Any

import orjson
import pyarrow as pa

from reviewbeam.components.common.columns import LABEL_SEPARATOR

Converted = tuple[str | None, str | None]

MISSING = object()  # where a record has no value, not even a null
UNREADABLE = object()  # a value that Python can't hold

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
# Numbers are seconds since 1970 up to the year 5138, else milliseconds, and so on.
_EPOCH_UNITS = [(1e11, 1), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9)]
_EPOCH_TEXT = re.compile(r"[0-9]{9,13}")  # of CSV; a date has eight digits


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
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None, "text_wrong_type"
    return str(value), "text_wrong_type"


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


def labels_value(value: Any, delimiter: str) -> Converted:
    """Converts any number of labels: a list, or a text with delimiters.

    Returns:
      The labels with LABEL_SEPARATOR before each; no label is the empty text.
    """
    if isinstance(value, str):
        value = value.split(delimiter)
    elif not isinstance(value, list | tuple):
        value = [value]
    labels = []
    for item in value:
        label, wrong = (None, None) if item is None else label_value(item)
        if wrong:
            return None, wrong
        if label:
            labels.append(LABEL_SEPARATOR + label)
    return "".join(labels), None


def language_value(value: Any) -> Converted:
    """Converts the name of a language."""
    if isinstance(value, str):
        return value.strip() or None, None
    return None, "language_wrong_type"


def scalar_value(value: Any, rule: str) -> Converted:
    """Converts an id or a group: a string or a number."""
    if isinstance(value, str):
        return value, None
    if isinstance(value, float) and value.is_integer():
        return str(int(value)), None  # pandas makes floats of integers with gaps
    if isinstance(value, int | float):
        return str(value), None
    return None, rule


def time_value(value: Any) -> Converted:
    """Converts a time: ISO 8601, a date of Parquet, or a number since 1970.

    Returns:
      It in UTC, as in 2024-05-01T09:30:00; without a zone it is taken for UTC.
    """
    try:
        if isinstance(value, str):
            text = value.strip()
            if _EPOCH_TEXT.fullmatch(text):
                return time_value(int(text))
            value = datetime.datetime.fromisoformat(text)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            unit = next(unit for limit, unit in _EPOCH_UNITS if abs(value) < limit)
            value = _EPOCH + datetime.timedelta(seconds=value / unit)
        elif isinstance(value, datetime.date) and not isinstance(
            value, datetime.datetime
        ):
            value = datetime.datetime(value.year, value.month, value.day)
        if not isinstance(value, datetime.datetime):
            return None, "time_invalid"
        if value.tzinfo is not None:
            value = value.astimezone(datetime.UTC).replace(tzinfo=None)
    except (ValueError, OverflowError, StopIteration):
        return None, "time_invalid"
    return value.isoformat(timespec="seconds"), None


def kept_value(value: Any) -> Converted:
    """Converts a kept value: lists and objects to JSON, all else to plain text."""
    if isinstance(value, str):
        return value, None
    if isinstance(value, dict | list | int | float):
        try:
            return orjson.dumps(value, default=_plain).decode(), None
        except orjson.JSONEncodeError:  # nested too deeply
            return None, "unreadable_value"
    return _plain(value), None


def is_utf8(data: bytes) -> bool:
    """Tells whether bytes are valid UTF-8."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def without_lone_surrogates(value: Any) -> Any:
    """Returns a JSON value with U+FFFD for each half of a surrogate pair."""
    if isinstance(value, str):
        return _LONE_SURROGATES.sub("\ufffd", value)
    if isinstance(value, list):
        return [without_lone_surrogates(item) for item in value]
    if isinstance(value, dict):
        items = value.items()
        return {
            without_lone_surrogates(k): without_lone_surrogates(v) for k, v in items
        }
    return value


def python_values(array: pa.Array) -> list:
    """Returns an Arrow array's values; UNREADABLE for one that Python can't hold.

    Such as a string that isn't UTF-8, a date behind the year 9999, or a moment in a
    time zone that nobody knows.
    """
    try:
        return array.to_pylist()
    except (ValueError, OverflowError, LookupError, pa.ArrowException):
        if len(array) == 1:
            return [UNREADABLE]
    half = len(array) // 2
    return python_values(array[:half]) + python_values(array[half:])


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)


def _decoded(value: bytes) -> Converted:
    wrong = None if is_utf8(value) else "invalid_utf8"
    return value.decode("utf-8", errors="replace"), wrong
