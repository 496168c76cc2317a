import apache_beam as beam
import pyarrow as pa
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from reviewbeam.components.common.coders import register_record_batch_coder
from reviewbeam.components.common.corpus_config import TextRules
from reviewbeam.components.tokenization.tokenize import TokenizeReviews
from reviewbeam.components.tokenization.tokenizer import Tokenizer


def test_tokenizes_each_batch(tiny_encoder):
    register_record_batch_coder()
    vocabulary = str(tiny_encoder / "sentencepiece.bpe.model")
    rules = TextRules(max_tokens=6)
    texts = [["good quality", "schlecht"], ["Excelente producto, 10/10"]]
    batches = [
        pa.RecordBatch.from_pydict({"id": list("ab")[: len(part)], "text": part})
        for part in texts
    ]
    expected = [
        batch.to_pydict()
        | {
            name: column.to_pylist()
            for name, column in Tokenizer(vocabulary, rules)
            .encode(batch.column("text"))
            .items()
        }
        for batch in batches
    ]
    assert expected[1]["truncated"] == [True]

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        tokenized = (
            pipeline
            | "Create" >> beam.Create(batches)
            | "TokenizeReviews" >> TokenizeReviews(vocabulary, rules)
            | "AsLists" >> beam.Map(lambda batch: batch.to_pydict())
        )
        assert_that(tokenized, equal_to(expected), label="Tokenized")
