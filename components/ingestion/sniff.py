"""Tells the format of a file by looking: JSON Lines, Parquet, or CSV and its delimiter.

For files whose settings nobody has written yet; a job goes by the name and the config.
"""

import csv
import dataclasses
import itertools
import posixpath
import re
from collections import Counter

from reviewbeam.components.common.errors import UserError, listing
from reviewbeam.components.ingestion.checks import check_magic
from reviewbeam.components.ingestion.files import COMPRESSIONS, FORMATS
from reviewbeam.components.ingestion.lines import read_blocks
from reviewbeam.components.ingestion.records import BOM

HEAD_BYTES = 2**18
_DELIMITERS = (",", ";", "\t", "|")
_HEAD_RECORDS = 50
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_NUMBER = re.compile(r"[-+]?\d+([.,:/-]\d+)*")
_NUMBER_SHORT = re.compile(r"(\w+\W+)?(no|nr|num|ref)\.", re.IGNORECASE)
_LONGEST_NAME = 60  # characters of a column's name


@dataclasses.dataclass(frozen=True)
class Format:
    """What a file is, as its content says.

    Attributes:
      named: the format that its name tells; None: the name tells none.
      found: jsonl, csv, tsv or parquet.
      compression: none, gzip, bz2 or zstd.
      delimiter: between the fields of CSV and TSV, else None.
    """

    named: str | None
    found: str
    compression: str
    delimiter: str | None = None


def sniff(path: str, source) -> Format:
    """Tells a file's format by its name and its first bytes.

    Args:
      path: the file's, for its name and for messages.
      source: the file, opened without decompression, at its beginning.

    Raises:
      UserError: it is of no format that can be read.
      DamagedFileError: its compressed data is broken at its beginning.
    """
    named, compression = named_format(path)
    start = source.read(4)
    found = "parquet" if named is None and start == b"PAR1" else named
    check_magic(path, start, found or "text", compression)
    if found == "parquet":
        return Format(named, found, compression)
    source.seek(0)
    head = b""
    for block in read_blocks(source, compression):
        head += block
        if len(head) >= HEAD_BYTES:
            break
    return _of_text(path, named, compression, head[:HEAD_BYTES])


def named_format(path: str) -> tuple[str | None, str]:
    """Returns the format that a file's name tells, or None, and its compression."""
    stem, suffix = posixpath.splitext(path.lower())
    compression = COMPRESSIONS.get(suffix, "none")
    if compression != "none":
        suffix = posixpath.splitext(stem)[1]
    return FORMATS.get(suffix), compression


def _of_text(path: str, named: str | None, compression: str, head: bytes) -> Format:
    if head.startswith(_UTF16) or head[:1000].count(0) > 100:
        raise UserError(
            f"{path} is UTF-16 or no text at all; UTF-8 was expected. Convert it: "
            "iconv -f UTF-16 -t UTF-8."
        )
    text = head.removeprefix(BOM).lstrip()
    if not text:
        return Format(named, named or "jsonl", compression)
    if text.startswith(b"[") and named in (None, "jsonl"):
        raise UserError(
            f"{path} holds one JSON list; JSON Lines were expected, one object a line. "
            "Convert it: jq -c '.[]' FILE > NEW.jsonl"
        )
    if named == "jsonl" or (named is None and text.startswith(b"{")):
        _check_first_object(path, text)
        return Format(named, "jsonl", compression)
    if named is None and not _is_text(head):
        known = listing([*FORMATS, *COMPRESSIONS])
        raise UserError(f"{path} is of no format that can be read. Known: {known}.")
    delimiter = guess_delimiter(head.removeprefix(BOM).decode("utf-8", "replace"))
    if named == "csv" or delimiter != "\t":
        return Format(named, "csv", compression, delimiter)
    return Format(named, "tsv", compression, delimiter)


def _check_first_object(path: str, text: bytes) -> None:
    first, *rest = (line.strip() for line in text.split(b"\n", 2)[:2])
    if not first.startswith(b"{") or first.endswith(b"}"):
        return
    if any(rest) and not rest[0].startswith(b"{"):
        raise UserError(
            f"{path} holds a JSON object over several lines; JSON Lines were expected, "
            "one object a line. Convert it: jq -c . FILE > NEW.jsonl"
        )


def _is_text(head: bytes) -> bool:
    controls = sum(byte < 32 and byte not in b"\t\r\n\f\x1b" for byte in head)
    return controls * 100 <= len(head)


def guess_delimiter(head: str) -> str:
    r"""Returns the character that divides most lines into as many fields as the first.

    Args:
      head: the beginning of a file; its last line may be cut off.

    Returns:
      `,`, `;`, a tab or `|`; `,` where nothing divides the lines.
    """
    lines = head.splitlines(keepends=True)
    lines = lines[:-1] if len(lines) > 1 else lines
    best, best_rank = ",", (0.0, 1)
    for delimiter in _DELIMITERS:
        records = []
        try:
            reader = csv.reader(lines, delimiter=delimiter)
            records = [r for r in itertools.islice(reader, _HEAD_RECORDS) if any(r)]
        except csv.Error:  # a field without end: not this one
            continue
        width = len(records[0]) if records else 1
        alike = Counter(len(record) for record in records)[width] / max(len(records), 1)
        rank = (alike if width > 1 else 0.0, width)
        if rank > best_rank:
            best, best_rank = delimiter, rank
    return best


def has_header(header: list[str], first: list[str] | None) -> bool:
    """Tells whether a CSV's first record may be the names of its columns.

    Args:
      header: its fields.
      first: those of the record behind it, where there is one.
    """
    names = [name.strip() for name in header]
    if any(_NUMBER.fullmatch(name) or len(name) > _LONGEST_NAME for name in names):
        return False
    if any(map(_is_sentence, names)):
        return False
    # A pandas index has no name; more of that is a record with gaps.
    if not any(names) or sum(not name for name in names) > 1:
        return False
    return first is None or names != [field.strip() for field in first]


def _is_sentence(name: str) -> bool:
    ends = name.endswith((".", "!")) and not _NUMBER_SHORT.fullmatch(name)
    return ends or len(name.split()) > 5
