"""Finds the files of a corpus, tells their format, and hashes their content."""

import dataclasses
import hashlib
import os
import posixpath
import re
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import BeamIOError, FileMetadata
from apache_beam.io.filesystems import FileSystems

from reviewbeam.components.common.corpus_config import CorpusConfig
from reviewbeam.components.common.errors import UserError, listing
from reviewbeam.components.common.filesystems import (
    check_library,
    file_metadata,
    open_binary,
)
from reviewbeam.components.common.journal import LOG_ENDINGS, LOG_HEAD
from reviewbeam.components.ingestion.checks import check_magic
from reviewbeam.components.ingestion.lines import DamagedFileError

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_HASH_BLOCK = 4 * 2**20  # bytes


@dataclasses.dataclass(frozen=True)
class CorpusFile:
    """One file of a corpus."""

    path: str  # as Beam opens it
    name: str  # below its glob's fixed folder; its path where two would be equal
    format: str  # jsonl, csv, tsv or parquet
    compression: str  # none, gzip, bz2 or zstd
    size: int  # bytes
    sha256: str  # of its content
    modified: float = 0.0  # seconds since 1970, when it was listed


@dataclasses.dataclass(frozen=True)
class FileSlice:
    """A part of a file that one worker reads: bytes, or Parquet row groups."""

    file: CorpusFile
    index: int  # among the slices of the file
    start: int  # byte of plain JSON Lines, or row group; 0 for what isn't split
    stop: int  # behind the last one; -1: the end
    first_line: int = 0  # lines or records of the file before it, where they are known


@dataclasses.dataclass(frozen=True)
class ListedFile:
    """A file that a glob matches, as the file system lists it; not yet opened."""

    path: str  # as Beam opens it
    name: str  # as in `CorpusFile`
    size: int  # bytes
    modified: float  # seconds since 1970


def find_files(config: CorpusConfig) -> list[CorpusFile]:
    """Expands the globs into files, checked by their first bytes, sorted by name.

    Raises:
      UserError: no glob was given, one matches nothing, a format is unknown, a file
        can't be read, or is not what its name says.
    """

    def inspect(listed: ListedFile) -> CorpusFile:
        try:
            return inspect_file(listed, config)
        except DamagedFileError as error:
            raise UserError(f"{listed.path} can't be used: {error}.") from None

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(inspect, list_files(config)))


def list_files(
    config: CorpusConfig, may_be_empty: Collection[str] = ()
) -> list[ListedFile]:
    """Expands the globs, sorted by name; opens nothing but logs, which it leaves out.

    Args:
      config: which names the globs.
      may_be_empty: those of them that may match nothing.

    Raises:
      UserError: no glob was given, or one matches nothing.
    """
    if not config.input:
        raise UserError(
            "No input was given. Add --input 'GLOB', or input: in the config."
        )
    found: dict[str, ListedFile] = {}  # by path
    for asked in config.input:
        glob = absolute_glob(asked)
        for item in _match(glob, asked in may_be_empty):
            name = _name_below(glob, item.path)
            listed = ListedFile(
                item.path, name, item.size_in_bytes, item.last_updated_in_seconds
            )
            found.setdefault(item.path, listed)
    files = list(found.values())
    if len({file.name for file in files}) < len(files):  # equal names under two globs
        files = [dataclasses.replace(file, name=file.path) for file in files]
    return sorted(files, key=lambda file: file.name)


def slice_file(file: CorpusFile, slice_bytes: int) -> list[FileSlice]:
    """Cuts a file where its format allows; bounds follow from the file alone.

    Raises:
      DamagedFileError: a Parquet file has no readable footer.
    """
    if file.format == "parquet":
        sizes = _row_group_bytes(file.path)
        bounds, filled = [0], 0
        for index, size in enumerate(sizes):
            if filled and filled + size > slice_bytes:
                bounds.append(index)
                filled = 0
            filled += size
        bounds.append(len(sizes))
    elif file.format == "jsonl" and file.compression == "none":
        bounds = [*range(0, max(file.size, 1), slice_bytes), file.size]
    else:
        bounds = [0, file.size]
    pairs = zip(bounds[:-1], bounds[1:], strict=True)
    return [FileSlice(file, i, start, stop) for i, (start, stop) in enumerate(pairs)]


def _row_group_bytes(path: str) -> list[int]:
    try:
        with open_binary(path) as source:
            groups = pq.ParquetFile(source).metadata
    # The names of columns are decoded too.
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"its Parquet footer can't be read ({error})") from None
    return [groups.row_group(i).total_byte_size for i in range(groups.num_row_groups)]


def changed_files(files: Iterable[CorpusFile]) -> dict[str, str]:
    """Returns path -> what happened to it, of files that are not as they were found."""
    changed = {}
    for file in files:
        try:
            now = file_metadata(file.path)
        except (OSError, BeamIOError):
            changed[file.path] = "it vanished while it was read"
            continue
        same = (now.size_in_bytes, now.last_updated_in_seconds)
        if same != (file.size, file.modified):
            changed[file.path] = "it changed while it was read"
    return changed


def _match(glob: str, may_be_empty: bool) -> list[FileMetadata]:
    check_library(glob)
    try:
        found = FileSystems.match([glob])[0].metadata_list
    except (BeamIOError, ValueError) as error:
        raise UserError(f"The input {glob!r} can't be listed: {error}") from None
    found = [item for item in found if not _is_log(item.path)]
    if not found and not may_be_empty:
        raise UserError(
            f"The input {glob!r} matches no file. Check the path, and put a glob in "
            "quotes so that the shell leaves it alone."
        )
    return sorted(found, key=lambda item: item.path)


def _is_log(path: str) -> bool:
    """Whether it is a job's log, as of an output that lies beside its input."""
    if not path.endswith(LOG_ENDINGS):
        return False
    try:
        with open_binary(path) as file:
            return file.read(len(LOG_HEAD)) == LOG_HEAD.encode()
    except (BeamIOError, OSError):
        return False  # who reads it tells


def absolute_glob(glob: str) -> str:
    """A local glob from the root, so that a file has one path however it is named."""
    return glob if "://" in glob else os.path.abspath(glob)


def _fixed_start(glob: str) -> str:
    return re.split(r"[*?\[]", glob, maxsplit=1)[0]


def _name_below(glob: str, path: str) -> str:
    folder = posixpath.dirname(_fixed_start(glob))
    return path[len(folder) :].lstrip("/") if path.startswith(folder) else path


def inspect_file(
    listed: ListedFile, config: CorpusConfig, sha256: str | None = None
) -> CorpusFile:
    """Tells a file's format and hashes its content.

    Args:
      listed: the file.
      config: says the format where names don't.
      sha256: of the content, where it is known: the file isn't opened then.

    Raises:
      UserError: its format is unknown, or it is not what its name says.
      DamagedFileError: it can't be read, or is empty where its format can't be.
    """
    path = listed.path
    file_format, compression = _format_of_name(path, config)
    if sha256 is not None:
        return CorpusFile(
            path, listed.name, file_format, compression,
            listed.size, sha256, listed.modified,
        )  # fmt: skip
    if FileSystems.get_scheme(path) is None and not os.path.isfile(path):
        kind = "a directory" if os.path.isdir(path) else "no regular file"
        if os.path.lexists(path):
            raise UserError(f"{path} can't be read: it is {kind}.")
    digest, size, head = hashlib.sha256(), 0, b""
    try:
        with open_binary(path) as source:
            while block := source.read(_HASH_BLOCK):
                digest.update(block)
                size += len(block)
                head = head or block[:4096]
    except (OSError, BeamIOError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DamagedFileError(f"it can't be read: {reason}") from None
    if not size and (file_format == "parquet" or compression != "none"):
        raise DamagedFileError("it is empty")
    check_magic(path, head, file_format, compression)
    return CorpusFile(
        path, listed.name, file_format, compression,
        size, digest.hexdigest(), listed.modified,
    )  # fmt: skip


def _format_of_name(path: str, config: CorpusConfig) -> tuple[str, str]:
    """Returns format and compression."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise UserError(f"{path!a}: the name is not UTF-8. Rename the file.") from None
    stem, suffix = posixpath.splitext(path.lower())
    compression = COMPRESSIONS.get(suffix, "none")
    if compression != "none":
        suffix = posixpath.splitext(stem)[1]
    file_format = config.format if config.format != "auto" else FORMATS.get(suffix)
    if file_format is None:
        raise UserError(
            f"{path}: the ending tells no format. Known: {listing(FORMATS)}, with "
            f"{listing(COMPRESSIONS)} behind; or set format: in the config."
        )
    if file_format == "parquet" and compression != "none":
        raise UserError(
            f"{path}: Parquet is compressed within. Decompress the file first."
        )
    return file_format, compression
