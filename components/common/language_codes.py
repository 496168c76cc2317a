"""What of a language column may be shown: codes, and nothing else that stands there."""

import re

import pyarrow as pa

OTHER = "other"
# Like BCP 47's.
_CODE = re.compile(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*")
_CHARACTERS = 20


def shown_language(value: str | None) -> str | None:
    """Returns a language's code, or `other` for what is none, perhaps a mail."""
    if value is None or (len(value) <= _CHARACTERS and _CODE.fullmatch(value)):
        return value
    return OTHER


def shown_languages(values: pa.Array) -> pa.Array:
    """Applies `shown_language` to a column of strings."""
    encoded = values.dictionary_encode()
    shown = [shown_language(value) for value in encoded.dictionary.to_pylist()]
    return pa.array(shown, pa.string()).take(encoded.indices)
