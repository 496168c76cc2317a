"""Writes the shards of examples, and tells what they hold."""

import dataclasses
import posixpath
from collections import Counter
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from reviewbeam.components.common.prepare_config import PrepareConfig
from reviewbeam.components.examples.encode import encode_examples
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
    # By language: how many examples of each label; "" for a language not known.
    labels: dict[str, dict[str, int]]


@dataclasses.dataclass
class WriteShards(beam.PTransform):
    """(partition, tokenized examples) -> shards under a folder and their ShardInfo.

    The examples of an element are all those of its partition and of the splits that
    it has.
    """

    config: PrepareConfig
    directory: str
    partitions: int

    def expand(self, examples: beam.PCollection[tuple[int, pa.RecordBatch]]):
        """Returns the collection of ShardInfo."""
        return examples | "WritePartition" >> beam.ParDo(
            _WritePartition(self.config, self.directory, self.partitions)
        )


class _WritePartition(beam.DoFn):
    def __init__(self, config: PrepareConfig, directory: str, partitions: int):
        self._config = config
        self._directory = directory
        self._partitions = partitions

    def process(self, element: tuple[int, pa.RecordBatch]) -> Iterator[Any]:
        partition, examples = element
        splits = examples.column("split")
        for split in splits.unique().to_pylist():
            chosen = examples.filter(pc.equal(splits, split))
            name = shard_name(split, partition, self._partitions)
            records = encode_examples(chosen, len(self._config.labels.names))
            digest = write_shard(posixpath.join(self._directory, name), records)
            yield self._describe(split, name, digest, chosen)

    def _describe(
        self, split: str, name: str, digest: str, examples: pa.RecordBatch
    ) -> ShardInfo:
        lengths = pc.list_value_length(examples.column("token_ids"))
        return ShardInfo(
            split=split,
            name=name,
            sha256=digest,
            examples=examples.num_rows,
            tokens=pc.sum(lengths).as_py(),
            longest=pc.max(lengths).as_py(),
            truncated=pc.sum(examples.column("truncated")).as_py(),
            labels=_count_labels(examples, self._config.labels.names),
        )


def _count_labels(
    examples: pa.RecordBatch, names: tuple[str, ...]
) -> dict[str, dict[str, int]]:
    """Counts the labels of each language; "" for a language not known."""
    index = examples.column("label_index")
    languages = pc.fill_null(examples.column("language"), "")
    if pa.types.is_list(index.type):
        languages = languages.take(pc.list_parent_indices(index))
        index = index.flatten()
    pairs = Counter(zip(languages.to_pylist(), index.to_pylist(), strict=True))
    counts: dict[str, dict[str, int]] = {}
    for (language, label), rows in sorted(pairs.items()):
        counts.setdefault(language, {})[names[label]] = rows
    return counts
