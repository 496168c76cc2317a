"""Writes each partition's shards; the only shuffle of rows in `prepare`."""

import dataclasses
import posixpath
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from reviewbeam.components.common.columns import (
    concat_batches,
    from_bytes,
    to_bytes,
    with_columns,
)
from reviewbeam.components.common.job_configs import PrepareConfig
from reviewbeam.components.examples.encode import describe, encode_examples
from reviewbeam.components.examples.keys import SPLITS, key_numbers, text_keys
from reviewbeam.components.examples.settle import settle
from reviewbeam.components.examples.shards import shard_name, write_shard


@dataclasses.dataclass(frozen=True)
class ShardInfo:
    """What a shard holds."""

    split: str
    name: str
    sha256: str
    examples: int
    tokens: int  # with <s> and </s>, after truncation
    longest: int  # tokens of the longest example
    truncated: int  # examples that lost tokens
    labels: dict[str, int]
    languages: dict[str, int]


@dataclasses.dataclass
class WriteExamples(beam.PTransform):
    """Tokenized reviews -> shards under a folder.

    Returns three collections: `features` (RecordBatches that describe what was
    written), `shards` (ShardInfo) and `outcomes` (((file, outcome), reviews)).
    """

    config: PrepareConfig
    directory: str
    partitions: int

    def expand(self, reviews: beam.PCollection[pa.RecordBatch]):
        """Shuffles by the hash of the normalised text, then writes."""
        return (
            reviews
            | "KeyByPartition"
            >> beam.FlatMap(_partition_batches, partitions=self.partitions)
            # (partition, compressed batch)
            | "GroupByPartition" >> beam.GroupByKey()
            # (partition, [compressed batches])
            | "WritePartition"
            >> beam.ParDo(_WritePartition(self.config, self.directory, self.partitions))
            .with_output_types(pa.RecordBatch)
            .with_outputs("shards", "outcomes", main="features")
        )


def _partition_batches(
    batch: pa.RecordBatch, partitions: int
) -> Iterator[tuple[int, bytes]]:
    keys = text_keys(batch.column("text"))
    batch = with_columns(batch, text_key=keys)
    partition = key_numbers(keys)[:, 0] % partitions
    for number in sorted(set(partition.tolist())):
        yield number, to_bytes(batch.filter(pa.array(partition == number)))


class _WritePartition(beam.DoFn):
    def __init__(self, config: PrepareConfig, directory: str, partitions: int):
        self._config = config
        self._directory = directory
        self._partitions = partitions

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
        partition, compressed = element
        batches = [from_bytes(data) for data in compressed]
        reviews = concat_batches(batches, batches[0].schema)
        config = self._config
        examples, outcomes = settle(reviews, config.duplicates, config.split)
        for split in SPLITS:
            chosen = examples.filter(pc.equal(examples.column("split"), split))
            info = self._write(split, partition, chosen)
            yield beam.pvalue.TaggedOutput("shards", info)
        for outcome in sorted(outcomes.items()):
            yield beam.pvalue.TaggedOutput("outcomes", outcome)
        if examples.num_rows:
            yield describe(examples, config.labels.names)

    def _write(self, split: str, partition: int, examples: pa.RecordBatch) -> ShardInfo:
        name = shard_name(split, partition, self._partitions)
        records = encode_examples(examples) if examples.num_rows else []
        digest = write_shard(posixpath.join(self._directory, name), records)
        lengths = pc.list_value_length(examples.column("token_ids"))
        names = self._config.labels.names
        return ShardInfo(
            split=split,
            name=name,
            sha256=digest,
            examples=examples.num_rows,
            tokens=pc.sum(lengths).as_py() or 0,
            longest=pc.max(lengths).as_py() or 0,
            truncated=pc.sum(examples.column("truncated")).as_py() or 0,
            labels={
                names[index]: count
                for index, count in _counts(examples.column("label_index")).items()
            },
            languages=_counts(pc.fill_null(examples.column("language"), "")),
        )


def _counts(column: pa.Array) -> dict[Any, int]:
    pairs = pc.value_counts(column).to_pylist()
    return dict(sorted((pair["values"], pair["counts"]) for pair in pairs))
