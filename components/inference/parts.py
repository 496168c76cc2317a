"""Chunks of scored reviews: their names, their files, and what stands already.

A worker writes, in the staging folder of a run:

    part-<chunk>.<format>        scores
    rejects-<chunk>.parquet      rejects
    chunk-<chunk>.json           ChunkRecord: the chunk is finished
    unit-<unit>.json             UnitRecord: the unit was read to its end

In a store, which renames nothing, scores and rejects go to their final places at once.
"""

import dataclasses
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson
import pyarrow as pa

from reviewbeam.components.common.artifacts import write_bytes
from reviewbeam.components.common.places import (
    Place,
    for_each,
    in_store,
    names_in,
    place,
    read_all,
)

CHUNKS, UNITS = "chunk-*.json", "unit-*.json"


@dataclasses.dataclass(frozen=True)
class Segment:
    """Consecutive rows of one slice of a file, in a chunk."""

    file: str  # name of the file in its corpus
    sha256: str  # of the file's content
    slice: int
    first_row: int  # line of the file, 1-based
    rows: int
    written: int = 0
    rejected: dict[str, int] = dataclasses.field(default_factory=dict)
    excluded: int = 0  # rows with an id that is to be left out
    bytes: int = 0  # of its rows in a part that is text


@dataclasses.dataclass(frozen=True)
class ChunkRecord:
    """What a worker tells of a finished chunk, in a file beside its part."""

    name: str
    unit: str  # name of the unit that it is of
    segments: tuple[Segment, ...]
    # Counted over the chunk, to be added up.
    inference: dict[str, int]  # calls, tokens, padded_tokens, halved
    statistics: dict[str, Any] | None  # of its reviews; None: it has none

    @property
    def written(self) -> int:
        """Rows of its part."""
        return sum(segment.written for segment in self.segments)

    @property
    def rejected(self) -> int:
        """Rows of its rejects."""
        return sum(sum(s.rejected.values()) for s in self.segments)

    @property
    def rows(self) -> int:
        """Rows that were read."""
        return sum(segment.rows for segment in self.segments)


@dataclasses.dataclass(frozen=True)
class UnitRecord:
    """What a worker tells of a unit that it has read to the end."""

    name: str
    chunks: tuple[str, ...]  # their names
    summaries: list[dict[str, Any]]  # of the slices


def unit_record(unit: str, chunks: list[str], summaries: Iterable[Any]) -> UnitRecord:
    """Makes what is told of a unit that was read to the end."""
    return UnitRecord(unit, tuple(chunks), [*map(dataclasses.asdict, summaries)])


def segments_of(chunk: pa.RecordBatch, hashes: dict[str, str]) -> tuple[Segment, ...]:
    """Divides a chunk by file and slice.

    Args:
      chunk: rows as they were read.
      hashes: name of a file -> SHA-256 of its content.
    """
    files = chunk.column("file").to_pylist()
    slices = chunk.column("slice").to_pylist()
    rows = chunk.column("row")
    segments, start = [], 0
    for (file, piece), group in itertools.groupby(zip(files, slices, strict=True)):
        count = sum(1 for _ in group)
        first = rows[start].as_py()
        segments.append(Segment(file, hashes[file], piece, first, count))
        start += count
    return tuple(segments)


def chunk_name(unit: str, segments: tuple[Segment, ...], conditions: str) -> str:
    """Follows from the files' names and contents, so that a rerun finds the same.

    Args:
      unit: name of the unit.
      segments: of the chunk.
      conditions: what else decides which rows have a score.
    """
    places = [(s.file, s.sha256, s.slice, s.first_row, s.rows) for s in segments]
    return _hash([unit, places, conditions])


def name_without(name: str, files: set[str]) -> str:
    """The name of a chunk's part when the rows of some files are taken out of it."""
    return _hash([name, sorted(files)])


def _hash(data: list) -> str:
    return hashlib.sha256(json.dumps(data).encode()).hexdigest()[:20]


def part_name(chunk: str, format: str) -> str:
    """Name of a chunk's scores."""
    return f"part-{chunk}.{format}"


def rejects_name(chunk: str) -> str:
    """Name of a chunk's rejects."""
    return f"rejects-{chunk}.parquet"


def counted(
    segments: tuple[Segment, ...], reviews: pa.RecordBatch, rejects: pa.RecordBatch
) -> tuple[Segment, ...]:
    """Adds to segments how many of their rows became what; the rest is excluded.

    Args:
      segments: of a chunk.
      reviews: its rows that have a score, with the columns of their origin.
      rejects: the others, under `columns.REJECTS`.
    """
    places = {(s.file, s.slice): i for i, s in enumerate(segments)}
    written = Counter(_places(reviews, places))
    rejected = [Counter() for _ in segments]
    rules = rejects.column("rule").to_pylist()
    for index, rule in zip(_places(rejects, places), rules, strict=True):
        rejected[index][rule] += 1
    return tuple(
        dataclasses.replace(
            segment,
            written=written[i],
            rejected=dict(sorted(rejected[i].items())),
            excluded=segment.rows - written[i] - rejected[i].total(),
        )
        for i, segment in enumerate(segments)
    )


def _places(rows: pa.RecordBatch, places: dict[tuple[str, int], int]) -> list[int]:
    origins = (rows.column(name).to_pylist() for name in ("file", "slice"))
    return [places[origin] for origin in zip(*origins, strict=True)]


def write_record(directory: Place, record: ChunkRecord | UnitRecord) -> None:
    """Says that a chunk or unit is finished; to be called last."""
    kind = "chunk" if isinstance(record, ChunkRecord) else "unit"
    data = orjson.dumps(dataclasses.asdict(record))
    write_bytes(record_path(directory, kind, record.name), data)


def record_path(directory: Place, kind: str, name: str) -> Place:
    """Where a finished `chunk` or `unit` is told of."""
    return directory / f"{kind}-{name}.json"


def finished_chunks(directory: Place) -> frozenset[str]:
    """Returns the names of all finished chunks."""
    return frozenset(
        name.removesuffix(".json").partition("-")[2]
        for name in names_in(directory, CHUNKS)
    )


def read_chunks(directory: Place) -> Iterator[ChunkRecord]:
    """Reads the records of all finished chunks, in order of names."""
    return map(chunk_of_bytes, read_all(directory, CHUNKS))


def chunk_of_bytes(told: bytes) -> ChunkRecord:
    """Reads the record of a chunk."""
    data = orjson.loads(told)
    segments = tuple(Segment(**segment) for segment in data.pop("segments"))
    return ChunkRecord(segments=segments, **data)


@dataclasses.dataclass(frozen=True)
class Work:
    """Where finished work lies: staged, or published already."""

    staging: str
    scores: str
    rejects: str
    format: str  # of the parts
    listed: Mapping[str, frozenset[str]] | None = None  # folder -> names in it

    def as_listed(self) -> "Work":
        """Returns the same, which knows what is there now and asks no more."""
        folders = {self.staging, self.scores, self.rejects}
        listed = {folder: frozenset(names_in(place(folder))) for folder in folders}
        return dataclasses.replace(self, listed=listed)

    def new_part(self, chunk: str) -> Place:
        """Returns where a worker puts a chunk's part."""
        folder = self.scores if in_store(self.scores) else self.staging
        return place(folder) / part_name(chunk, self.format)

    def new_rejects(self, chunk: str) -> Place:
        """Returns where a worker puts a chunk's rejects."""
        folder = self.rejects if in_store(self.rejects) else self.staging
        return place(folder) / rejects_name(chunk)

    def find_part(self, chunk: str) -> Place | None:
        """Returns where a chunk's part is."""
        return self._find(part_name(chunk, self.format), self.staging, self.scores)

    def find_rejects(self, chunk: str) -> Place | None:
        """Returns where a chunk's rejects are."""
        return self._find(rejects_name(chunk), self.staging, self.rejects)

    def is_finished(self, chunk: str) -> bool:
        """Tells whether a chunk was finished, and nothing of it was lost since."""
        told = self._told("chunk", chunk)
        return told is not None and self.stands(chunk_of_bytes(told))

    def stands(self, record: ChunkRecord) -> bool:
        """Tells whether all files of a finished chunk are there."""
        return not (
            (record.written and not self.find_part(record.name))
            or (record.rejected and not self.find_rejects(record.name))
        )

    def is_read(self, unit: str) -> bool:
        """Tells whether a unit was read to the end, and all its chunks finished."""
        told = self._told("unit", unit)
        return told is not None and all(
            map(self.is_finished, unit_of_bytes(told).chunks)
        )

    def unread(self, units: Iterable[str]) -> set[str]:
        """Returns which units aren't read to their end, or have chunks left."""
        units, is_read = list(units), self.as_listed().is_read
        read = for_each(place(self.staging), is_read, units)
        return {unit for unit, done in zip(units, read, strict=True) if not done}

    def _told(self, kind: str, name: str) -> bytes | None:
        path = record_path(place(self.staging), kind, name)
        if self._find(path.name, self.staging) is None:
            return None
        return path.read_bytes()

    def _find(self, name: str, *folders: str) -> Place | None:
        for folder in folders:
            path = place(folder) / name
            if path.exists() if self.listed is None else name in self.listed[folder]:
                return path
        return None


def read_units(directory: Place) -> dict[str, UnitRecord]:
    """Reads the records of all units that were read to the end, by name."""
    records = map(unit_of_bytes, read_all(directory, UNITS))
    return {record.name: record for record in records}


def unit_of_bytes(told: bytes) -> UnitRecord:
    """Reads the record of a unit."""
    data = orjson.loads(told)
    return UnitRecord(data["name"], tuple(data["chunks"]), data["summaries"])
