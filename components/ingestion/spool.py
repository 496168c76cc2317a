"""Divides a large file that can't be sliced, by reading it once into chunk files."""

import dataclasses
from collections.abc import Callable, Iterator

import pyarrow as pa

from reviewbeam.components.common.artifacts import write_bytes
from reviewbeam.components.common.columns import from_bytes, to_bytes
from reviewbeam.components.common.corpus_config import CorpusConfig
from reviewbeam.components.common.places import Place, place, remove_tree
from reviewbeam.components.ingestion.read import SliceSummary
from reviewbeam.components.ingestion.units import Unit, UnitReader


@dataclasses.dataclass(frozen=True)
class SpooledChunk:
    """Rows of a large file that lie in a file of their own."""

    unit: str  # name of the unit that it is of
    path: str

    @classmethod
    def of(cls, directory: Place, unit: Unit, index: int) -> "SpooledChunk":
        """Names the file of a unit's chunk."""
        return cls(unit.name, str(directory / f"{index:06d}.arrow"))

    def chunks(self) -> Iterator[pa.RecordBatch]:
        """Yields the chunk, as `UnitReader.chunks` does."""
        yield self.read()

    def read(self) -> pa.RecordBatch:
        """Returns the rows."""
        return from_bytes(place(self.path).read_bytes())

    def exists(self) -> bool:
        """Tells whether the file is there."""
        return place(self.path).exists()

    def remove(self) -> None:
        """Frees the room; the chunk is finished."""
        place(self.path).unlink(missing_ok=True)


def spool(
    unit: Unit,
    config: CorpusConfig,
    chunk_rows: int,
    directory: Place,
    is_over: Callable[[], bool],
) -> tuple[list[SpooledChunk], list[SliceSummary]] | None:
    """Writes the chunks of a unit.

    Of a damaged file nothing stays, unless its rows are salvaged.

    Args:
      unit: a large file.
      config: which columns hold what.
      chunk_rows: of a chunk.
      directory: for the chunks; emptied first.
      is_over: tells that no more is to be read.

    Returns:
      The chunks and what was met in the file; None, and nothing stays, where that was
      over before the end, or the file is not as it was listed.
    """
    remove_tree(directory)
    directory.mkdir(parents=True, mode=0o700)
    reader = UnitReader(unit, config, chunk_rows)
    chunks = []
    for index, chunk in enumerate(reader.chunks()):
        if is_over():
            remove_tree(directory)
            return None
        chunks.append(SpooledChunk.of(directory, unit, index))
        write_bytes(place(chunks[-1].path), to_bytes(chunk), mode=0o600)
    if reader.is_changed:
        remove_tree(directory)
        return None
    damaged = any(summary.damaged is not None for summary in reader.summaries)
    if damaged and config.on_damaged_file != "salvage":
        remove_tree(directory)
        return [], reader.summaries
    return chunks, reader.summaries
