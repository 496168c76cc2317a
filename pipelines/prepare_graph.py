"""The Beam pipeline of `prepare`."""

import dataclasses
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from tensorflow_metadata.proto.v0 import statistics_pb2

from reviewbeam.components.common import artifacts
from reviewbeam.components.common.coders import register_record_batch_coder
from reviewbeam.components.common.places import Place, names_in
from reviewbeam.components.common.prepare_config import PrepareConfig
from reviewbeam.components.common.progress import rows_in_progress
from reviewbeam.components.common.serving_statistics import merge
from reviewbeam.components.examples.describe import describe
from reviewbeam.components.examples.histograms import histograms_by_split
from reviewbeam.components.examples.make import MakeExamples
from reviewbeam.components.examples.shards import framed
from reviewbeam.components.examples.write import WriteShards
from reviewbeam.components.ingestion.files import FileSlice
from reviewbeam.components.ingestion.read import ReadReviews, line_offsets
from reviewbeam.components.tokenization.tokenize import (
    AugmentExamples,
    TokenizeExamples,
)
from reviewbeam.components.validation.places import FindPlaces
from reviewbeam.components.validation.rules import ReviewRules
from reviewbeam.components.validation.statistics import GenerateStatistics
from reviewbeam.components.validation.validate import ValidateReviews, WriteRejects
from reviewbeam.pipelines.watching import Show, watching

STATISTICS = "statistics.tfrecord"
REJECTS = "rejects"
_BATCH_ROWS = 16_384  # of a partition some dozens at least, so that they compress well
# What workers tell the launcher, each in a file of JSON below the work folder.
TOLD = (
    "summaries",
    "outcomes",
    "labels",
    "conflicts",
    "places",
    "histograms",
    "shards",
)


@dataclasses.dataclass(frozen=True)
class PrepareGraph:
    """What the pipeline is made of.

    Attributes:
      config: of the job.
      rules: the record rules.
      vocabulary: path of the SentencePiece model.
      slices: of all files.
      partitions: of the texts; each gives a shard of each split.
      staging: folder for shards, rejects and statistics.
      work: folder for what the workers tell.
      with_shards: write examples, not only what can be told about them.
    """

    config: PrepareConfig
    rules: ReviewRules
    vocabulary: str
    slices: list[FileSlice]
    partitions: int
    staging: Place
    work: Place
    with_shards: bool

    def run(self, options: PipelineOptions, show: Show = None) -> dict[str, Any]:
        """Runs the pipeline; returns what its workers told.

        Args:
          options: Beam's.
          show: is told how far the workers are, from a thread.
        """
        register_record_batch_coder()
        self._progress.mkdir(exist_ok=True)
        with (
            watching(self._state, show),
            beam.Pipeline(options=options) as pipeline,
        ):
            self._build(pipeline)
        return {
            what: artifacts.read_json(self.work / f"{what}.json")
            for what in TOLD
            if what != "shards" or self.with_shards
        }

    @property
    def _progress(self) -> Place:
        return self.work / "progress"

    def _state(self) -> str:
        rows = rows_in_progress(self._progress)
        shards = len(names_in(self.staging, "*.tfrecord.gz"))
        return f"{rows:,} rows read" + (f", {shards} shards written" if shards else "")

    def _build(self, pipeline: beam.Pipeline) -> None:
        read = (
            pipeline
            | "ListSlices" >> beam.Create(self.slices)
            | "ReadReviews"
            >> ReadReviews(self.config, _BATCH_ROWS, str(self._progress))
        )
        checked = read.reviews | "ValidateReviews" >> ValidateReviews(self.rules)
        made = checked.reviews | "MakeExamples" >> MakeExamples(
            self.config, self.partitions
        )
        summaries = read.summaries | "ListSummaries" >> beam.combiners.ToList()
        _ = (
            (checked.rejects, made["rejects"])
            | "FlattenRejects" >> beam.Flatten()
            | "WriteRejects"
            >> WriteRejects(
                str(self.staging / REJECTS),
                sorted({piece.file.name for piece in self.slices}),
                beam.pvalue.AsSingleton(
                    summaries | "AddUpLines" >> beam.Map(line_offsets)
                ),
                self.partitions,
            )
        )
        features = self._add_examples(made["examples"])
        self._tell("summaries", summaries)
        self._tell("places", features | "FindPlaces" >> FindPlaces())
        self._tell_list(
            "histograms",
            features
            | "CountFeatures" >> beam.FlatMap(histograms_by_split)
            # (split, statistics)
            | "AddUpCounts" >> beam.CombinePerKey(merge),
        )
        self._tell_list("conflicts", made["conflicts"])
        self._tell_sums("labels", checked.labels)
        self._tell_sums(
            "outcomes",
            (checked.outcomes, made["outcomes"]) | "FlattenOutcomes" >> beam.Flatten(),
        )
        _ = (
            features
            | "GenerateStatistics" >> GenerateStatistics()
            | "WriteStatistics"
            >> beam.Map(_write_statistics, self.staging / STATISTICS)
        )

    def _add_examples(self, examples) -> beam.PCollection[pa.RecordBatch]:
        """Tokenizes and writes examples; returns the features that describe them."""
        config = self.config
        tokenized = examples | "TokenizeExamples" >> TokenizeExamples(
            self.vocabulary, config.text
        )
        if self.with_shards:
            to_write = tokenized
            if config.augment.copies:
                augmented = tokenized | "AugmentExamples" >> AugmentExamples(
                    self.vocabulary, config.text, config.augment
                )
                to_write = (tokenized, augmented) | "AddAugmented" >> beam.Flatten()
            shards = to_write | "WriteShards" >> WriteShards(
                config, str(self.staging), self.partitions
            )
            self._tell_list("shards", shards)
        return tokenized | "Describe" >> beam.MapTuple(
            lambda _, batch, names=config.labels.names: describe(batch, names)
        ).with_output_types(pa.RecordBatch)

    def _tell(self, what: str, items: beam.PCollection[list]) -> None:
        name = what.capitalize()
        path = self.work / f"{what}.json"
        _ = items | f"Tell{name}" >> beam.Map(artifacts.write_items, path)

    def _tell_list(self, what: str, items: beam.PCollection) -> None:
        listed = items | f"List{what.capitalize()}" >> beam.combiners.ToList()
        self._tell(what, listed)

    def _tell_sums(self, what: str, pairs: beam.PCollection[tuple[Any, int]]) -> None:
        summed = pairs | f"Sum{what.capitalize()}" >> beam.CombinePerKey(sum)
        self._tell_list(what, summed)


def _write_statistics(
    statistics: statistics_pb2.DatasetFeatureStatisticsList, path: Place
) -> None:
    data = framed(statistics.SerializeToString(deterministic=True))
    artifacts.write_bytes(path, data)
