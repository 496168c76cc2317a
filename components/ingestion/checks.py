"""Tells a file that is not what its name or the config says."""

import re
from collections.abc import Mapping, Sequence

from reviewbeam.components.common.corpus_config import CorpusConfig
from reviewbeam.components.common.errors import UserError, listing, nearest
from reviewbeam.components.common.privacy import redacted

_ESCAPES = {"\t": "\\t"}  # as YAML writes them
_NAME = re.compile(r"[\w.-]{1,40}( [\w.-]{1,40}){0,2}")  # of a column
_MAGIC = {
    "gzip": b"\x1f\x8b",
    "bz2": b"BZh",
    "zstd": b"\x28\xb5\x2f\xfd",
    "parquet": b"PAR1",
}


def mapped_columns(config: CorpusConfig) -> dict[str, str]:
    """Returns the config key of each mapped column -> the column's name."""
    columns = config.columns
    split = getattr(config, "split", None)
    mapped = {
        "columns.text": columns.text,
        "columns.id": columns.id,
        "columns.label": columns.label,
        "columns.language": columns.language,
        "split.group_by": split and split.group_by,
        "split.time_column": split and split.time_column,
        "split.column": split and split.column,
        **{f"columns.keep.{column}": column for column in columns.keep},
    }
    return {key: column for key, column in mapped.items() if column}


def check_magic(path: str, head: bytes, file_format: str, compression: str) -> None:
    """Compares a file's first bytes with its format and compression.

    Raises:
      UserError: they tell another kind of file.
    """
    expected = "parquet" if file_format == "parquet" else compression
    found = next(
        (kind for kind, magic in _MAGIC.items() if head.startswith(magic)), None
    )
    if expected != "none" and found != expected:
        start = f"begins with the bytes {head[:4].hex(' ')}" if head else "is empty"
        raise UserError(
            f"{path} is no {expected} file, though its name or format: says so: it "
            f"{start}. Rename it, or set format: in the config."
        )
    if expected == "none" and found is not None:
        raise UserError(
            f"{path} is a {found} file, though its name or format: says plain "
            f"{file_format}. Rename it, or set format: in the config."
        )


def check_columns(
    path: str, mapped: Mapping[str, str], present: Sequence[str], known: Sequence[str]
) -> None:
    """Checks that every mapped column was found in a file.

    Args:
      path: the file, for the message.
      mapped: config key -> column.
      present: the mapped columns that were found.
      known: names that the file does have, to suggest from.

    Raises:
      UserError: a mapped column is in no row of the file, or stands twice in its
        header.
    """
    # Of a file without a header these are the values of its first record.
    shown = [shown_name(name) for name in known]
    missing = [
        f"no column {column!r}, which {key} names{nearest(column, shown)}"
        for key, column in mapped.items()
        if column not in present
    ]
    if missing:
        raise UserError(
            f"{path} has {', and '.join(missing)}. Its columns: {listing(shown)}."
            f"{_other_delimiter(known)}"
        )
    for key, column in mapped.items():
        if list(known).count(column) > 1:
            raise UserError(
                f"{path} has the column {column!r}, which {key} names, more than once. "
                "Give its columns different names."
            )


def _other_delimiter(known: Sequence[str]) -> str:
    """Says what may have made a header one field."""
    found = [sign for sign in ";|\t" if len(known) == 1 and sign in known[0]]
    if not found:
        return ""
    return (
        f" Is it separated by {found[0]!r}? Set csv_delimiter: in the config, or "
        f"--set 'csv_delimiter=\"{_ESCAPES.get(found[0], found[0])}\"'."
    )


def shown_name(text: str) -> str:
    """Returns a column's name, or `…` for what may be a review or a mail."""
    return text if _NAME.fullmatch(text) and redacted(text) == text else "…"
