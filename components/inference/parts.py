"""Chunks of scored reviews: their names, their files, and what stands already."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from reviewbeam.components.common.artifacts import read_json, write_bytes, write_json
from reviewbeam.components.common.columns import KEEP_PREFIX, parquet_bytes
from reviewbeam.components.common.score_config import SCORE_COLUMNS


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Consecutive rows of one slice of a file: inferred and written together."""

    file: str  # name of the file in its corpus
    sha256: str  # of the file's content
    slice: int
    first_row: int  # within the slice, 1-based

    @property
    def name(self) -> str:
        """Follows from the content alone, so that a rerun finds the same chunk."""
        identity = json.dumps(dataclasses.astuple(self)).encode()
        return hashlib.sha256(identity).hexdigest()[:20]

    @property
    def part(self) -> str:
        """Name of its Parquet file."""
        return f"part-{self.name}.parquet"


@dataclasses.dataclass(frozen=True)
class ChunkRecord:
    """What a worker tells of a finished chunk, in a file beside its part."""

    chunk: Chunk
    rows: int
    written: int
    rejected: dict[str, int]
    excluded: int  # rows with an id that is to be left out


def rejects_path(directory: Path, chunk: Chunk) -> Path:
    """Where a chunk's rejects are staged."""
    return directory / f"{chunk.name}.rejects.arrow"


def is_staged(directory: str, chunk: Chunk) -> bool:
    """Tells whether a chunk was finished, in this run or one before."""
    return _record_path(Path(directory), chunk).exists()


def write_part(
    directory: str, record: ChunkRecord, scored: pa.RecordBatch, rejects: bytes
) -> None:
    """Writes a chunk's scores and rejects, then the record that it is finished."""
    folder = Path(directory)
    if record.rejected:
        write_bytes(rejects_path(folder, record.chunk), rejects, mode=0o600)
    if record.written:
        write_bytes(folder / record.chunk.part, parquet_bytes(_published(scored)))
    data = dataclasses.asdict(record)
    write_json(_record_path(folder, record.chunk), data)


def read_records(directory: Path) -> list[ChunkRecord]:
    """Reads the records of all finished chunks, ordered by place."""
    records = [_record(read_json(path)) for path in directory.glob("chunk-*.json")]
    return sorted(records, key=lambda record: dataclasses.astuple(record.chunk))


def _published(scored: pa.RecordBatch) -> pa.Table:
    kept = [name for name in scored.schema.names if name.startswith(KEEP_PREFIX)]
    columns = {name: scored.column(name) for name in SCORE_COLUMNS}
    columns |= {name.removeprefix(KEEP_PREFIX): scored.column(name) for name in kept}
    return pa.table(columns)


def _record_path(directory: Path, chunk: Chunk) -> Path:
    return directory / f"chunk-{chunk.name}.json"


def _record(data: dict[str, Any]) -> ChunkRecord:
    return ChunkRecord(**(data | {"chunk": Chunk(**data["chunk"])}))
