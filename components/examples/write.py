"""Writes the shards of examples, and tells what they hold."""

import dataclasses
import posixpath
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reviewbeam.components.common.language_codes import shown_languages
from reviewbeam.components.common.prepare_config import PrepareConfig
from reviewbeam.components.examples.encode import encode_examples
from reviewbeam.components.examples.shards import shard_name, write_shard

_ROWS = 16_384  # encoded while those before are compressed


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
            digest = write_shard(
                posixpath.join(self._directory, name), self._encoded(chosen)
            )
            yield self._describe(split, name, digest, chosen)

    def _encoded(self, examples: pa.RecordBatch) -> Iterator[list[bytes]]:
        for start in range(0, examples.num_rows, _ROWS):
            some = examples.slice(start, _ROWS)
            yield encode_examples(some, len(self._config.labels.names))

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
    """Counts the labels of each language as it may be shown; "" for a missing one."""
    index = examples.column("label_index")
    languages = pc.fill_null(shown_languages(examples.column("language")), "")
    if pa.types.is_list(index.type):
        languages = languages.take(pc.list_parent_indices(index))
        index = index.flatten()
    coded = languages.dictionary_encode()
    pairs = np.asarray(coded.indices).astype(np.int64) * len(names) + np.asarray(index)
    found = np.bincount(pairs, minlength=len(coded.dictionary) * len(names))
    table = found.reshape(-1, len(names)).tolist()
    return {
        language: {name: n for name, n in zip(names, counts, strict=True) if n}
        for language, counts in sorted(
            zip(coded.dictionary.to_pylist(), table, strict=True)
        )
    }
