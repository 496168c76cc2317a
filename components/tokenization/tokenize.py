"""Tokenizes examples in a pipeline."""

import dataclasses
from collections.abc import Iterator

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from reviewbeam.components.common.columns import concat_batches, with_columns
from reviewbeam.components.common.corpus_config import TextRules
from reviewbeam.components.common.host_copies import on_every_host
from reviewbeam.components.common.prepare_config import AUGMENTED, AugmentRules
from reviewbeam.components.tokenization.augment import Augmenter
from reviewbeam.components.tokenization.tokenizer import Tokenizer

_ROWS = 16_384  # at once: SentencePiece's lists take far more memory than their ids


@dataclasses.dataclass
class TokenizeExamples(beam.PTransform):
    """(key, RecordBatch) -> the same with the columns of `Tokenizer.encode`."""

    vocabulary: str  # a path
    rules: TextRules

    def expand(
        self, examples: beam.PCollection[tuple[int, pa.RecordBatch]]
    ) -> beam.PCollection[tuple[int, pa.RecordBatch]]:
        """Tokenizes each batch, however large, some thousand texts at once."""
        return examples | "Tokenize" >> beam.ParDo(
            _Tokenize(self.vocabulary, self.rules)
        )


class _Tokenize(beam.DoFn):
    def __init__(self, vocabulary: str, rules: TextRules):
        self._vocabulary = on_every_host(vocabulary)
        self._rules = rules

    def setup(self):
        self._tokenizer = Tokenizer(self._vocabulary.here(), self._rules)

    def process(
        self, element: tuple[int, pa.RecordBatch]
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        key, batch = element
        starts = range(0, max(batch.num_rows, 1), _ROWS)  # one of no rows, too
        tokenized = [
            with_columns(piece, **self._tokenizer.encode(piece.column("text")))
            for piece in (batch.slice(start, _ROWS) for start in starts)
        ]
        yield key, concat_batches(tokenized, tokenized[0].schema)


@dataclasses.dataclass
class AugmentExamples(beam.PTransform):
    """(key, tokenized examples) -> (key, further ones made of the train split's)."""

    vocabulary: str
    rules: TextRules
    augment: AugmentRules

    def expand(
        self, examples: beam.PCollection[tuple[int, pa.RecordBatch]]
    ) -> beam.PCollection[tuple[int, pa.RecordBatch]]:
        """Augments each batch; their `split` is AUGMENTED."""
        return examples | "Augment" >> beam.ParDo(
            _Augment(self.vocabulary, self.rules, self.augment)
        )


class _Augment(beam.DoFn):
    def __init__(self, vocabulary: str, rules: TextRules, augment: AugmentRules):
        self._vocabulary = on_every_host(vocabulary)
        self._rules = (rules, augment)

    def setup(self):
        self._augmenter = Augmenter(self._vocabulary.here(), *self._rules)

    def process(
        self, element: tuple[int, pa.RecordBatch]
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        key, batch = element
        train = batch.filter(pc.equal(batch.column("split"), "train"))
        made = [
            self._augmenter.augment(train.slice(at, _ROWS))
            for at in range(0, train.num_rows, _ROWS)
        ]
        if sum(piece.num_rows for piece in made):
            copies = concat_batches(made, made[0].schema)
            split = pa.array([AUGMENTED] * copies.num_rows, pa.string())
            yield key, with_columns(copies, split=split)
