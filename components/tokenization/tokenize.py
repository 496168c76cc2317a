"""Tokenizes reviews in a pipeline."""

import dataclasses
from collections.abc import Iterator

import apache_beam as beam
import pyarrow as pa

from reviewbeam.components.common.columns import with_columns
from reviewbeam.components.common.job_configs import TextRules
from reviewbeam.components.tokenization.tokenizer import Tokenizer


@dataclasses.dataclass
class TokenizeReviews(beam.PTransform):
    """Reviews -> reviews with the columns of `Tokenizer.encode` at their end."""

    vocabulary: str  # a path that every worker can open
    rules: TextRules

    def expand(
        self, reviews: beam.PCollection[pa.RecordBatch]
    ) -> beam.PCollection[pa.RecordBatch]:
        """Tokenizes each batch at once."""
        return reviews | "Tokenize" >> beam.ParDo(
            _Tokenize(self.vocabulary, self.rules)
        )


class _Tokenize(beam.DoFn):
    def __init__(self, vocabulary: str, rules: TextRules):
        self._vocabulary = vocabulary
        self._rules = rules

    def setup(self):
        self._tokenizer = Tokenizer(self._vocabulary, self._rules)

    def process(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        yield with_columns(batch, **self._tokenizer.encode(batch.column("text")))
