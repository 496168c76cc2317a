import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from reviewbeam.components.common.coders import register_record_batch_coder
from reviewbeam.components.common.corpus_config import TextRules
from reviewbeam.components.common.prepare_config import AugmentRules
from reviewbeam.components.tokenization import tokenize
from reviewbeam.components.tokenization.augment import Augmenter
from reviewbeam.components.tokenization.tokenize import (
    AugmentExamples,
    TokenizeExamples,
)
from reviewbeam.components.tokenization.tokenizer import Tokenizer

RULES = TextRules(max_tokens=6)
TEXTS = ["good quality", "schlecht", "Excelente producto, 10/10", "ok", "gut, gut"]


@pytest.fixture(scope="module")
def vocabulary(tiny_encoder):
    return str(tiny_encoder / "sentencepiece.bpe.model")


def _batch(texts, **columns):
    ids = [f"r{i}" for i in range(len(texts))]
    return pa.RecordBatch.from_pydict({"id": ids, "text": texts} | columns)


def _tokenized(batch, vocabulary):
    encoded = Tokenizer(vocabulary, RULES).encode(batch.column("text"))
    columns = dict(zip(batch.schema.names, batch.columns, strict=True)) | encoded
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _as_lists(element):
    key, batch = element
    return key, batch.to_pydict()


def _check(elements, transform, expected):
    """Runs a transform; elements and what is expected are (key, batch)."""
    register_record_batch_coder()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        found = (
            pipeline
            | "Create" >> beam.Create(elements)
            | "Transform" >> transform
            | "AsLists" >> beam.Map(_as_lists)
        )
        assert_that(found, equal_to([_as_lists(one) for one in expected]))


def test_tokenizes_each_batch_under_its_key(vocabulary):
    elements = [(7, _batch(TEXTS[:2])), (3, _batch(TEXTS[2:3]))]
    expected = [(key, _tokenized(batch, vocabulary)) for key, batch in elements]
    assert expected[1][1].column("truncated").to_pylist() == [True]
    assert expected[0][1].column("token_ids")[0].as_py()[0] == 0

    _check(elements, TokenizeExamples(vocabulary, RULES), expected)


def test_a_batch_stays_one_however_large(vocabulary, monkeypatch):
    monkeypatch.setattr(tokenize, "_ROWS", 2)
    batch = _batch(TEXTS)

    _check(
        [(0, batch)],
        TokenizeExamples(vocabulary, RULES),
        [(0, _tokenized(batch, vocabulary))],
    )


def test_a_batch_without_rows_stays_without(vocabulary):
    tokenizer = tokenize._Tokenize(vocabulary, RULES)
    tokenizer.setup()
    ((key, batch),) = tokenizer.process((4, _batch(TEXTS).slice(0, 0)))

    assert (key, batch.num_rows) == (4, 0)
    assert batch.schema == _tokenized(_batch(TEXTS), vocabulary).schema


def test_only_training_examples_are_augmented(vocabulary, monkeypatch):
    monkeypatch.setattr(tokenize, "_ROWS", 2)
    rules = AugmentRules(copies=2, swap_words=0.9)
    splits = ["train", "test", "train", "validation", "train"]
    batch = _tokenized(_batch(TEXTS, split=splits, count=[1, 2, 3, 4, 5]), vocabulary)
    train = batch.take(pa.array([0, 2, 4]))
    copies = Augmenter(vocabulary, RULES, rules).augment(train)
    assert copies.num_rows > 1

    columns = copies.to_pydict() | {"split": ["augmented"] * copies.num_rows}
    expected = pa.RecordBatch.from_pydict(columns, schema=copies.schema)
    others = batch.take(pa.array([1, 3]))
    _check(
        [(1, batch), (2, others)],
        AugmentExamples(vocabulary, RULES, rules),
        [(1, expected)],
    )
