"""Usable reviews to examples: the only shuffle of rows in `prepare`."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from reviewbeam.components.common.columns import (
    concat_batches,
    from_bytes,
    raw_records,
    reject_batch,
    with_columns,
    without_columns,
)
from reviewbeam.components.common.prepare_config import PrepareConfig
from reviewbeam.components.examples import conflicts
from reviewbeam.components.examples.keys import key_numbers, text_keys
from reviewbeam.components.examples.settle import settle
from reviewbeam.components.examples.splits import needs_groups

Partitioned = tuple[int, bytes]
_GATHERED_BYTES = 16 * 2**20  # in a worker, before they are divided


@dataclasses.dataclass
class MakeExamples(beam.PTransform):
    """Usable reviews -> examples without tokens.

    Returns `examples` ((partition, RecordBatch as `settle` gives it)), `outcomes`
    (((file, outcome), reviews)), `rejects` (RecordBatches) and `conflicts` ((number
    of texts whose labels disagree, the fields of some LabelConflicts)).
    """

    config: PrepareConfig
    partitions: int

    def expand(self, reviews: beam.PCollection[pa.RecordBatch]):
        """Shuffles reviews by the hash of their normalised text."""
        config, partitions = self.config, self.partitions
        keyed = reviews | "AddKeys" >> beam.Map(_with_keys, self._rejects_ids())
        latest = _latest(keyed) if config.split.time_column else None
        arriving = [
            keyed | "PartitionByText" >> beam.ParDo(_Divide(_by_text, partitions))
        ]
        outcomes = []
        if config.columns.id:
            found = (
                keyed
                | "FactsById" >> beam.ParDo(_Divide(conflicts.facts, "id", partitions))
                # (partition of the id, facts)
                | "GroupByIds" >> beam.GroupByKey()
                | "FindRepeatedIds"
                >> beam.ParDo(_FindRepeatedIds(config, partitions))
                .with_output_types(Partitioned)
                .with_outputs("outcomes", main="notices")
            )
            if self._rejects_ids():
                arriving.append(found.notices)
            outcomes.append(found.outcomes)
        if needs_groups(config.split):
            arriving.append(
                keyed
                | "FactsByGroup"
                >> beam.ParDo(_Divide(conflicts.facts, "group", partitions))
                # (partition of the group, facts)
                | "GroupByGroups" >> beam.GroupByKey()
                | "FindGroupConflicts"
                >> beam.ParDo(_FindGroupConflicts(config, partitions), latest)
            )
        settled = (
            tuple(arriving)
            | "FlattenArriving" >> beam.Flatten()
            # (partition of the text, reviews or notices)
            | "GroupByPartition" >> beam.GroupByKey()
            | "SettlePartition"
            >> beam.ParDo(_Settle(config), latest)
            .with_output_types(tuple[int, pa.RecordBatch])
            .with_outputs("outcomes", "rejects", "conflicts", main="examples")
        )
        return {
            "examples": settled.examples,
            "outcomes": (*outcomes, settled.outcomes)
            | "FlattenFates" >> beam.Flatten(),
            "rejects": settled.rejects,
            "conflicts": settled.conflicts,
        }

    def _rejects_ids(self) -> bool:
        return self.config.rules.action(conflicts.ID_REPEATED) == "reject"


def _with_keys(batch: pa.RecordBatch, with_evidence: bool) -> pa.RecordBatch:
    if not with_evidence:  # what only a reject would show needs no shuffle
        batch = without_columns(batch, "byte_offset", "label")
    group = batch.column("group")
    # An empty name is none: those without one are no group.
    named = pc.if_else(pc.equal(group, ""), pa.scalar(None, pa.string()), group)
    return with_columns(batch, group=named, text_key=text_keys(batch.column("text")))


def _by_text(batch: pa.RecordBatch, partitions: int) -> Iterator[Partitioned]:
    numbers = key_numbers(batch.column("text_key"))[:, 0]
    yield from conflicts.partitioned(batch, numbers, partitions)


def _latest(reviews: beam.PCollection[pa.RecordBatch]) -> beam.pvalue.AsSingleton:
    latest = (
        reviews
        | "LatestOfBatch"
        >> beam.Map(lambda batch: pc.max(batch.column("time")).as_py())
        | "LatestOfAll" >> beam.CombineGlobally(max).without_defaults()
    )
    return beam.pvalue.AsSingleton(latest, default_value=None)


class _Divide(beam.DoFn):
    """Calls divide(reviews, *arguments) on many batches at once.

    Each partition's rows are a message of their own. Of one batch it would have a few
    rows or one, and a message costs more than a hundred of them.
    """

    def __init__(self, divide: Callable[..., Iterator[Partitioned]], *arguments: Any):
        self._divide = divide
        self._arguments = arguments

    def start_bundle(self):
        self._batches: list[pa.RecordBatch] = []
        self._bytes = 0

    def process(self, batch: pa.RecordBatch) -> Iterator[Partitioned]:
        self._batches.append(batch)
        self._bytes += batch.nbytes
        if self._bytes >= _GATHERED_BYTES:
            yield from self._divided()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._batches:
            yield from map(GlobalWindows.windowed_value, self._divided())

    def _divided(self) -> Iterator[Partitioned]:
        reviews = concat_batches(self._batches, self._batches[0].schema)
        self.start_bundle()
        return self._divide(reviews, *self._arguments)


class _FindRepeatedIds(beam.DoFn):
    def __init__(self, config: PrepareConfig, partitions: int):
        self._action = config.rules.action(conflicts.ID_REPEATED)
        self._partitions = partitions

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
        found = conflicts.repeated_ids(element[1])
        if self._action == "reject":
            yield from conflicts.notices(found, conflicts.ID_REPEATED, self._partitions)
            return
        outcome = f"allowed.{conflicts.ID_REPEATED}"
        for item in conflicts.count_files(found, outcome).items():
            yield beam.pvalue.TaggedOutput("outcomes", item)


class _FindGroupConflicts(beam.DoFn):
    def __init__(self, config: PrepareConfig, partitions: int):
        self._rules = config.split
        self._partitions = partitions

    def process(
        self, element: tuple[int, Iterable[bytes]], latest: str | None
    ) -> Iterator[Partitioned]:
        found = conflicts.group_conflicts(element[1], self._rules, latest)
        yield from conflicts.notices(found, conflicts.GROUP_CONFLICT, self._partitions)


class _Settle(beam.DoFn):
    def __init__(self, config: PrepareConfig):
        self._config = config

    def process(
        self, element: tuple[int, Iterable[bytes]], latest: str | None
    ) -> Iterator[Any]:
        partition, compressed = element
        arrived = [from_bytes(data) for data in compressed]
        told = [batch for batch in arrived if conflicts.is_notice(batch)]
        batches = [batch for batch in arrived if not conflicts.is_notice(batch)]
        reviews = concat_batches(batches, batches[0].schema)
        reviews, taken = conflicts.apply_notices(reviews, told)
        settled = settle(reviews, self._config, latest)
        outcomes = settled.outcomes
        for fate, rows in taken.items():
            outcome = f"rejected.{fate}" if fate == conflicts.ID_REPEATED else fate
            outcomes += conflicts.count_files(rows, outcome)
            if fate == conflicts.ID_REPEATED:
                yield from self._rejects(rows)
        for outcome in sorted(outcomes.items()):
            yield beam.pvalue.TaggedOutput("outcomes", outcome)
        if settled.conflicts:
            some = [dataclasses.asdict(c) for c in settled.shown_conflicts]
            yield beam.pvalue.TaggedOutput("conflicts", (settled.conflicts, some))
        if settled.examples.num_rows:
            yield (
                partition,
                without_columns(settled.examples, "text_key", "given_split"),
            )

    def _rejects(self, rows: pa.RecordBatch) -> Iterator[Any]:
        keep_raw = self._config.rejects.keep_raw
        unknown = pa.nulls(rows.num_rows, pa.binary())  # the records are far away
        rows = with_columns(rows, raw=unknown)
        for file in rows.column("file").unique().to_pylist():
            mine = rows.filter(pc.equal(rows.column("file"), file))
            rule = pa.array([conflicts.ID_REPEATED] * mine.num_rows)
            raw = raw_records(mine) if keep_raw else None
            rejects = reject_batch(mine, rule, raw=raw)
            yield beam.pvalue.TaggedOutput("rejects", rejects)
