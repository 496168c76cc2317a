"""Applies the record rules in a pipeline, and writes what they reject."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reviewbeam.components.common.artifacts import write_bytes
from reviewbeam.components.common.columns import (
    LABEL_SEPARATOR,
    REJECTS,
    from_bytes,
    parquet_bytes,
    to_bytes,
)
from reviewbeam.components.common.places import place
from reviewbeam.components.validation.labels import count_labels
from reviewbeam.components.validation.rules import ReviewRules

# What the reader of a reject sees: places in the file, not in a slice of it.
PUBLISHED_REJECTS = pa.schema([field for field in REJECTS if field.name != "slice"])


@dataclasses.dataclass
class ValidateReviews(beam.PTransform):
    """Rows as they were read -> usable reviews, rejects and their counts.

    Returns the collections `reviews` and `rejects` (RecordBatches), `outcomes`
    (((file, outcome), rows)) and `labels` ((label value, rows), of usable rows and of
    those with an unknown label). An outcome is `rejected.<rule>`, EXCLUDED, or, of
    rows that go on, `repaired.<rule>` or `allowed.<rule>`.
    """

    rules: ReviewRules

    def expand(self, batches: beam.PCollection[pa.RecordBatch]):
        """Applies `ReviewRules.apply` to each batch."""
        return batches | "ApplyRules" >> beam.ParDo(
            _Validate(self.rules)
        ).with_output_types(pa.RecordBatch).with_outputs(
            "rejects", "outcomes", "labels", main="reviews"
        )


class _Validate(beam.DoFn):
    def __init__(self, rules: ReviewRules):
        self._rules = rules

    def process(self, batch: pa.RecordBatch) -> Iterator[Any]:
        checked = self._rules.apply(batch)
        file = batch.column("file")[0].as_py()
        for outcome in checked.outcomes().items():
            yield beam.pvalue.TaggedOutput("outcomes", ((file, outcome[0]), outcome[1]))
        for label in count_labels(checked.reviews, checked.rejects).items():
            yield beam.pvalue.TaggedOutput("labels", label)
        if checked.rejects.num_rows:
            yield beam.pvalue.TaggedOutput("rejects", checked.rejects)
        if checked.reviews.num_rows:
            yield checked.reviews


@dataclasses.dataclass
class WriteRejects(beam.PTransform):
    """Rejects -> Parquet files under a folder, ordered by file and row.

    Consecutive files of the corpus share an output file, so that many small ones
    don't make many small ones.
    """

    directory: str
    files: list[str]  # names of the corpus's files, sorted
    offsets: beam.pvalue.AsSingleton  # (file, slice) -> lines before the slice
    parts: int

    def expand(self, rejects: beam.PCollection[pa.RecordBatch]):
        """Returns the names of the written files."""
        part_of = {
            name: index * self.parts // len(self.files)
            for index, name in enumerate(self.files)
        }
        return (
            rejects
            | "KeyByFile"
            >> beam.Map(
                lambda batch: (
                    part_of[batch.column("file")[0].as_py()],
                    to_bytes(batch),
                )
            )
            # (part, compressed batch)
            | "GroupRejects" >> beam.GroupByKey()
            | "WriteRejectFile"
            >> beam.Map(_write_part, self.directory, self.parts, self.offsets)
        )


def _write_part(
    element: tuple[int, Iterable[bytes]],
    directory: str,
    parts: int,
    offsets: Mapping[tuple[str, int], int],
) -> str:
    part, compressed = element
    rejects = place_rejects([from_bytes(data) for data in compressed], offsets)
    name = f"rejects-{part:05d}-of-{parts:05d}.parquet"
    write_bytes(place(directory) / name, parquet_bytes(rejects))
    return name


def place_rejects(
    batches: list[pa.RecordBatch], offsets: Mapping[tuple[str, int], int]
) -> pa.Table:
    """Counts rows from the start of the file, and orders them by file and row.

    Args:
      batches: under `columns.REJECTS`.
      offsets: (file, slice) -> lines of the file before the slice.
    """
    rejects = pa.Table.from_batches(batches, REJECTS)
    places = zip(rejects["file"].to_pylist(), rejects["slice"].to_pylist(), strict=True)
    before = np.array([offsets[place] for place in places], np.int64)
    rows = pa.array(rejects["row"].to_numpy() + before)
    placed = rejects.set_column(rejects.schema.get_field_index("row"), "row", rows)
    values = pc.replace_substring(placed["value"], LABEL_SEPARATOR, ", ")
    placed = placed.set_column(placed.schema.get_field_index("value"), "value", values)
    table = placed.select(PUBLISHED_REJECTS.names).cast(PUBLISHED_REJECTS)
    return table.sort_by([("file", "ascending"), ("row", "ascending")])
