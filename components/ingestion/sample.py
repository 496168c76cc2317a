"""A bounded sample of a corpus whose columns nobody has named yet."""

import dataclasses
import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import BeamIOError

from reviewbeam.components.common.corpus_config import (
    Columns,
    CorpusConfig,
    RecordRules,
)
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.filesystems import open_binary
from reviewbeam.components.ingestion.csv_records import csv_records
from reviewbeam.components.ingestion.files import ListedFile, list_files
from reviewbeam.components.ingestion.lines import (
    DamagedFileError,
    read_blocks,
    read_lines,
    read_slice_lines,
)
from reviewbeam.components.ingestion.records import (
    Records,
    json_records,
    parquet_records,
)
from reviewbeam.components.ingestion.sample_rows import (
    Row,
    Thinned,
    column_names,
    leaves,
    named_rows,
    nested_rows,
)
from reviewbeam.components.ingestion.sniff import (
    Format,
    has_header,
    named_format,
    sniff,
)
from reviewbeam.components.ingestion.values import MISSING

_FILES = 40  # looked into, evenly spaced
_ROWS = 20_000  # kept of all of them
_BYTES = 32 * 2**20  # read of all of them, decompressed
_LEAST_BYTES = 2 * 2**20  # of a file
_RANGES = 8  # of plain JSON Lines that are too long to be read as a whole
_ROW_GROUPS = 3  # of a Parquet file
# What to do where a rule rejects all records of a file.
_LOOK = "Look at its first lines."
_ADVICE = {
    "invalid_utf8": "Convert it, as with iconv -f LATIN1 -t UTF-8.",
    "malformed_json": "JSON Lines were expected: one whole object a line.",
    "not_an_object": 'Each line must be an object, as {"text": "…", "label": "…"}.',
}


@dataclasses.dataclass
class SampledFile:
    """What was seen of one file."""

    path: str
    format: Format
    rows: list[Row] = dataclasses.field(default_factory=list)
    columns: list[str] = dataclasses.field(default_factory=list)  # in their order
    read: int = 0  # records, of which `rows` are some, evenly spaced
    problems: Counter = dataclasses.field(default_factory=Counter)  # rule -> records
    whole: bool = True  # it was read to its end
    damaged: str | None = None  # why reading ended early


@dataclasses.dataclass
class Sample:
    """Rows from all over a corpus."""

    files: list[SampledFile]
    listed: int  # files that the globs match

    @property
    def rows(self) -> list[Row]:
        """The rows of all files."""
        return [row for file in self.files for row in file.rows]

    @property
    def whole(self) -> bool:
        """Whether every record of every file was kept."""
        seen = all(file.whole and _kept_all(file) for file in self.files)
        return seen and len(self.files) == self.listed

    def columns(self) -> list[str]:
        """The columns that every file has that has rows; jobs refuse others."""
        named = [file.columns for file in self.files if file.read]
        return [c for c in named[0] if all(c in other for other in named)]

    def partial_columns(self) -> list[str]:
        """The columns that only some of the files have."""
        every = set(self.columns())
        found = [c for f in self.files for c in f.columns if c not in every]
        return list(dict.fromkeys(found))


def _kept_all(file: SampledFile) -> bool:
    return len(file.rows) + file.problems.total() == file.read


def sample_corpus(globs: Sequence[str]) -> Sample:
    """Reads some rows of each of some files, within bounds.

    Args:
      globs: as `input` of a config.

    Raises:
      UserError: a glob matches nothing, a file can't be read at all, a CSV has no
        header, or a file seems to be no part of the corpus.
    """
    config = CorpusConfig(input=tuple(globs), columns=Columns(text="unknown"))
    listed = list_files(config)
    count = min(len(listed), _FILES)
    chosen = [listed[i * (len(listed) - 1) // max(count - 1, 1)] for i in range(count)]
    # By their names; of the others, some may be no part of the corpus.
    known = [file.path for file in listed if named_format(file.path)[0]]
    files = []
    for file in chosen:
        try:
            files.append(_sampled(file, count))
        except UserError as error:
            if not known or file.path in known:
                raise
            raise _stray(file.path, known[0], f"{error}") from None
    _check_columns_meet(files, known)
    if not any(file.read for file in files):
        raise UserError("The input has no records: there is nothing to guess from.")
    return Sample(files, len(listed))


def _check_columns_meet(files: Sequence[SampledFile], known: Sequence[str]) -> None:
    """Refuses a file whose name tells no format, and that has none of the columns."""
    named = {c for file in files if file.format.named for c in file.columns}
    for file in files if named else ():
        if file.format.named is None and file.read and named.isdisjoint(file.columns):
            raise _stray(file.path, known[0], "It has none of the others' columns.")


def _stray(path: str, known: str, why: str) -> UserError:
    glob = posixpath.join(posixpath.dirname(known), f"*{posixpath.splitext(known)[1]}")
    return UserError(
        f"{path} is perhaps no part of the corpus: its name tells no format, as that "
        f"of {known} does. Give an --input that leaves it out, as {glob!r}. {why}"
    )


def _sampled(listed: ListedFile, files: int) -> SampledFile:
    try:
        with open_binary(listed.path) as source:
            file = SampledFile(listed.path, sniff(listed.path, source))
            kept = Thinned(max(_ROWS // files, 1))
            for records, names in _records(file, source, listed.size, files):
                file.read += len(records.numbers)
                file.problems.update(filter(None, records.problems))
                if names:
                    file.columns = column_names(names)
                    kept.take(named_rows(records, file.columns))
                else:
                    kept.take(nested_rows(records))
    except DamagedFileError as error:
        raise UserError(f"{listed.path} can't be used: {error}.") from None
    except (OSError, BeamIOError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or f"{error}".splitlines()[0]
        raise UserError(f"{listed.path} can't be read: {reason}.") from None
    if file.read and file.problems.total() == file.read and not file.damaged:
        worst = file.problems.most_common(1)[0][0]
        raise UserError(
            f"{listed.path} is no {file.format.found} file that can be read: none of "
            f"the {file.read} records that were looked at can be used ({worst}). "
            f"{_ADVICE.get(worst, _LOOK)}"
        )
    file.rows = kept.rows
    file.columns = file.columns or column_names(n for row in file.rows for n in row)
    return file


def _records(
    file: SampledFile, source, size: int, files: int
) -> Iterator[tuple[Records, list[str]]]:
    """Yields records, and the names of their columns where the file tells them."""
    limit = max(_BYTES // files, _LEAST_BYTES)
    rules = RecordRules()
    if file.format.found == "parquet":
        yield from _of_parquet(file, source)
        return
    source.seek(0)
    plain = file.format.compression == "none"
    if file.format.found == "jsonl" and plain and size > limit:
        file.whole = False
        for i in range(_RANGES):
            start = size * i // _RANGES
            lines = read_slice_lines(source, start, start + limit // _RANGES)
            yield from ((records, []) for records in json_records(lines, rules))
        return
    lines = _bounded_lines(file, source, limit)
    if file.format.found == "jsonl":
        yield from ((records, []) for records in json_records(lines, rules))
        return
    is_cut = lambda: not file.whole or file.damaged is not None  # noqa: E731
    for records in csv_records(lines, file.format.delimiter or ",", rules, is_cut):
        _check_header(file, records)
        yield records, [n for n in records.known if records.known.count(n) == 1]


def _bounded_lines(file: SampledFile, source, limit: int):
    """Yields whole lines; notes where the limit, or damage, ends them."""
    end = 0

    def blocks() -> Iterator[bytes]:
        nonlocal end
        try:
            for block in read_blocks(source, file.format.compression):
                if end >= limit:
                    file.whole = False
                    return
                end += len(block)
                yield block
        except DamagedFileError as error:
            file.damaged = str(error)

    last = None
    for line in read_lines(blocks()):
        if last is not None:
            yield last
        last = line
    if last is not None and file.whole and not file.damaged:
        yield last


def _of_parquet(file: SampledFile, source) -> Iterator[tuple[Records, list[str]]]:
    parquet = pq.ParquetFile(source)
    names = leaves(parquet.schema_arrow)
    groups = parquet.num_row_groups
    chosen = sorted({0, groups // 2, groups - 1}) if groups else []
    file.whole = len(chosen) == groups
    for group in chosen[:_ROW_GROUPS]:
        wanted = {name.split(".")[0] for name in names} | set(names)
        size = 0
        for records in parquet_records(parquet, group, group + 1, wanted):
            yield records, names
            size += len(records.numbers)
            if size >= _ROWS:
                file.whole = False
                break
    if not groups:
        file.columns = names


def _check_header(file: SampledFile, records: Records) -> None:
    first = None
    if records.numbers and records.problems[0] is None:
        columns = (records.values(name) for name in records.known)
        first = ["" if (v := values[0]) is MISSING else v or "" for values in columns]
    if file.read == 0 and not has_header(records.known, first):
        raise UserError(
            f"{file.path} has no header, or its first record is not one: names of "
            f"columns were expected, and these {len(records.known)} fields look like "
            "values. Put a line with the columns' names before them, as in text,label."
        )
