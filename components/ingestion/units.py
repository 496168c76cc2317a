"""Units of work: slices of large files, and packs of small ones.

What a unit holds follows from names and contents alone, never from the workers.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reviewbeam.components.common.columns import with_columns
from reviewbeam.components.common.corpus_config import CorpusConfig
from reviewbeam.components.common.filesystems import open_binary
from reviewbeam.components.ingestion.files import (
    CorpusFile,
    FileSlice,
    changed_files,
    slice_file,
)
from reviewbeam.components.ingestion.lines import BLOCK_BYTES, DamagedFileError
from reviewbeam.components.ingestion.read import (
    SliceReader,
    SliceSummary,
    regular_batches,
)
from reviewbeam.components.ingestion.records import AT_ONCE

_PACKED_SLICES = 2  # of a slice's bytes: how much a pack of small files holds
_EXPANSION = 4  # what compressed bytes, or those of Parquet, are thought to become
_WAVE_BYTES = 512 * 2**20  # of large files, for each worker
_CHUNK_BYTES = 256 * 2**20  # of a chunk with the one merged into it
_WHOLE_BYTES = 256 * 2**20  # of a file's rows, until it is known to be sound


@dataclasses.dataclass(frozen=True)
class Unit:
    """What one worker reads: a slice of a large file, or some small files whole."""

    slices: tuple[FileSlice, ...]
    spool: bool = False  # a large file that can't be sliced: to be divided by reading

    @functools.cached_property
    def name(self) -> str:
        """Follows from names and contents, so that a rerun finds the same unit."""
        places = [
            (p.file.name, p.file.sha256, p.index, p.start, p.stop) for p in self.slices
        ]
        return hashlib.sha256(json.dumps(places).encode()).hexdigest()[:20]

    @functools.cached_property
    def bytes(self) -> int:
        """As they lie in the files, roughly."""
        if len(self.slices) == 1 and self.slices[0].file.format != "parquet":
            return self.slices[0].stop - self.slices[0].start
        return sum(p.file.size for p in self.slices)

    @property
    def modified(self) -> float:
        """When the newest of its files was changed; seconds since 1970."""
        return max(p.file.modified for p in self.slices)


def plan_units(
    files: Iterable[CorpusFile], slice_bytes: int, salvages: bool
) -> tuple[list[Unit], dict[str, str]]:
    """Divides and packs files.

    Args:
      files: in order of names.
      slice_bytes: of a large file, at once.
      salvages: a file that can't be divided is a unit, which its reader gets what it
        can from.

    Returns:
      The units in order of names, and name -> damage of files that can't be divided.
    """
    units, damaged = [], {}
    pack: list[FileSlice] = []
    filled = 0
    for file in files:
        size = file.size
        if file.format == "parquet" or file.compression != "none":
            size *= _EXPANSION
        if size <= slice_bytes:
            if pack and filled + size > _PACKED_SLICES * slice_bytes:
                units.append(Unit(tuple(pack)))
                pack, filled = [], 0
            pack.append(FileSlice(file, 0, 0, _stop(file)))
            filled += size
        elif file.format == "parquet" or _is_plain_jsonl(file):
            try:
                slices = _with_first_lines(file, slice_file(file, slice_bytes))
                units.extend(Unit((piece,)) for piece in slices)
            except (DamagedFileError, OSError) as error:
                if salvages:
                    units.append(Unit((FileSlice(file, 0, 0, _stop(file)),)))
                else:
                    damaged[file.name] = str(error)
        else:
            units.append(Unit((FileSlice(file, 0, 0, file.size),), spool=True))
    if pack:
        units.append(Unit(tuple(pack)))
    return units, damaged


def _stop(file: CorpusFile) -> int:
    # How many row groups a small file of Parquet has is seen when it is read.
    return -1 if file.format == "parquet" else file.size


def _is_plain_jsonl(file: CorpusFile) -> bool:
    return file.format == "jsonl" and file.compression == "none"


def _with_first_lines(file: CorpusFile, slices: list[FileSlice]) -> list[FileSlice]:
    """Counts what is before each slice, so that rejects can say their line."""
    if len(slices) == 1:
        return slices
    before, counted = 0, []
    with open_binary(file.path) as source:
        groups = pq.ParquetFile(source).metadata if file.format == "parquet" else None
        for piece in slices:
            counted.append(dataclasses.replace(piece, first_line=before))
            if groups is not None:
                rows = (
                    groups.row_group(i).num_rows for i in range(piece.start, piece.stop)
                )
                before += sum(rows)
            else:
                # A line belongs to the slice that it begins in: counted is what
                # begins before the next slice, behind a line feed that is before it.
                before += _line_feeds(source, piece.stop - piece.start, piece.start)
    return counted


def _line_feeds(source, length: int, start: int) -> int:
    """Counts the lines that begin in `length` bytes from `start` on."""
    source.seek(max(start - 1, 0))
    left = length if start else length - 1
    count = 0 if start else 1
    while left > 0 and (block := source.read(min(left, BLOCK_BYTES))):
        count += block.count(b"\n")
        left -= len(block)
    return count


def waves(units: list[Unit], workers: int) -> Iterator[list[Unit]]:
    """Divides units so that few large files at once are divided by several workers.

    They infer nothing before the files of a wave are divided.
    """
    wave, size = [], 0
    for unit in units:
        wave.append(unit)
        size += unit.bytes if unit.spool and workers > 1 else 0
        if size >= workers * _WAVE_BYTES:
            yield wave
            wave, size = [], 0
    if wave:
        yield wave


class UnitReader:
    """Reads a unit into chunks; the summaries are complete when all were taken."""

    def __init__(self, unit: Unit, config: CorpusConfig, chunk_rows: int):
        """Opens nothing yet.

        Args:
          unit: what to read.
          config: which columns hold what, and what becomes of damaged files.
          chunk_rows: of a chunk; the last one of a unit has half of it to one and a
            half, if there are that many.
        """
        self.summaries: list[SliceSummary] = []
        self.is_changed = False  # the file, since it was listed: not all was given
        self._unit = unit
        self._config = config
        self._rows = chunk_rows
        self._streamed: CorpusFile | None = None  # its rows are given while it is read

    def chunks(self) -> Iterator[pa.RecordBatch]:
        """Yields chunks of consecutive rows; they go over the ends of files.

        The column `row` counts from the start of the file. Of a damaged file that was
        packed no row is given, unless such are salvaged; of other files those before
        the damage. Of one that isn't as it was listed nothing is given from there on.
        """
        whole = len(self._unit.slices) > 1 or self._unit.slices[0].file.size <= (
            self._config.slice_bytes
        )
        if not whole:
            self._streamed = self._unit.slices[0].file
        batches = (
            batch
            for piece in self._unit.slices
            for batch in (self._whole(piece) if whole else self._batches(piece))
        )
        for chunk in _merge_last(regular_batches(batches, self._rows), self._rows):
            # What was read may not be what the file's hash stands for.
            if self._streamed and changed_files([self._streamed]):
                self.is_changed = True
                return
            yield chunk

    def _whole(self, piece: FileSlice) -> Iterator[pa.RecordBatch]:
        kept, size = [], 0
        for batch in self._batches(piece):
            size += batch.nbytes
            if size <= _WHOLE_BYTES:
                kept.append(batch)
            else:
                kept.clear()
        if changes := changed_files([piece.file]):
            (self.summaries[-1].damaged,) = changes.values()
            return
        damaged = self.summaries[-1].damaged is not None
        if damaged and self._config.on_damaged_file != "salvage":
            return
        if size > _WHOLE_BYTES:  # a few bytes may become gigabytes: they are read again
            self._streamed = piece.file
            self.summaries.pop()
            yield from self._batches(piece)
        yield from kept

    def _batches(self, piece: FileSlice) -> Iterator[pa.RecordBatch]:
        reader = SliceReader(piece, self._config, AT_ONCE)
        self.summaries.append(reader.summary)
        for batch in reader.batches():
            if piece.first_line:
                rows = pc.add(batch.column("row"), piece.first_line)
                batch = with_columns(batch, row=rows)
            yield batch


def _merge_last(
    batches: Iterable[pa.RecordBatch], rows: int
) -> Iterator[pa.RecordBatch]:
    """Adds a batch of less than half the rows to the one before."""
    held = None
    for batch in batches:
        if held is not None:
            small = 2 * batch.num_rows < rows
            if small and held.nbytes + batch.nbytes <= _CHUNK_BYTES:
                table = pa.Table.from_batches([held, batch]).combine_chunks()
                (held,) = table.to_batches()
                continue
            yield held
        held = batch
    if held is not None:
        yield held


def unit_to_data(unit: Unit) -> list[Any]:
    """Returns what tells a unit of known files: `unit_of_data` makes it again."""
    return [
        [
            *(p.file.name, p.file.sha256, p.file.modified),
            *(p.index, p.start, p.stop, p.first_line),
        ]
        for p in unit.slices
    ] + [unit.spool]


def unit_of_data(data: list[Any], files: dict[str, CorpusFile]) -> Unit | None:
    """Returns a unit, or None where one of its files is not what it was.

    Nor one that was only written anew: it may have been read while that was going on.

    Args:
      data: of `unit_to_data`.
      files: name -> file.
    """
    *places, spool = data
    slices = []
    for name, sha256, modified, index, start, stop, first_line in places:
        file = files.get(name)
        if file is None or (file.sha256, file.modified) != (sha256, modified):
            return None
        slices.append(FileSlice(file, index, start, stop, first_line))
    return Unit(tuple(slices), spool)
