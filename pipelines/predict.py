"""`predict`: labels of a few texts, by the same rules and stage as `score`."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from reviewbeam.components.common.columns import review_schema, with_columns
from reviewbeam.components.common.corpus_config import RecordRules
from reviewbeam.components.common.language_detector import check_same
from reviewbeam.components.common.model_directory import open_model
from reviewbeam.components.inference.decide import with_labels
from reviewbeam.components.inference.engines import TENSORFLOW
from reviewbeam.components.inference.handler import ClassifierHandler
from reviewbeam.components.inference.resolve import ResolvedInference
from reviewbeam.components.tokenization.tokenizer import Tokenizer
from reviewbeam.components.validation.rules import ReviewRules

_BATCH_TOKENS = 4096  # rows x longest row of one call


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The answer for one text; without a label, `reject` names the broken rule.

    Where a review may have several labels, label and score are lists, perhaps empty.
    """

    text: str
    label: str | list[str] | None
    score: float | list[float] | None
    probabilities: dict[str, float] | None
    reject: str | None


def predict(model: Path, texts: Sequence[str]) -> list[Prediction]:
    """Classifies texts, in their order.

    Raises:
      UserError: the model, or the language detector that it needs, can't be used.
    """
    directory = open_model(os.fspath(model))
    metadata = directory.metadata
    detector = metadata.language_detector
    if detector is not None:  # the calibration may depend on the language
        check_same(detector)
    rules = ReviewRules(RecordRules(), detect_language=detector is not None)
    checked = rules.apply(_rows(texts))
    reviews = checked.reviews
    tokens = Tokenizer(directory.vocabulary, metadata.text).encode(
        reviews.column("text")
    )
    # For a few texts it is not worth while to measure what is fastest.
    resolved = ResolvedInference(
        TENSORFLOW, _BATCH_TOKENS, threads=len(os.sched_getaffinity(0))
    )
    handler = ClassifierHandler(
        directory,
        resolved,
        classes=len(metadata.labels.names),
        kind=metadata.labels.type,
        max_faults=len(texts),
    )
    batch = with_columns(reviews, token_ids=tokens["token_ids"])
    (inferred,) = handler.run_inference([batch], handler.load_model())
    faults = inferred.batch.column("fault")
    answers: dict[int, Prediction] = {}
    for row in with_labels(
        inferred.batch.filter(pc.is_null(faults)), metadata
    ).to_pylist():
        probabilities = dict(
            zip(metadata.labels.names, row["probabilities"], strict=True)
        )
        answers[row["row"]] = Prediction(
            texts[row["row"]], row["label"], row["score"], probabilities, None
        )
    failed = inferred.batch.filter(pc.is_valid(faults)).to_pylist()
    rejected = [(row["row"], row["fault"]) for row in failed]
    rejected += [(row["row"], row["rule"]) for row in checked.rejects.to_pylist()]
    for row, rule in rejected:
        answers[row] = Prediction(texts[row], None, None, None, rule)
    return [answers[row] for row in range(len(texts))]


def _is_unicode(text: str) -> bool:
    """Tells bytes that Python let through in a text, as lone surrogates."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _rows(texts: Sequence[str]) -> pa.RecordBatch:
    schema = review_schema(())
    valid = [text if _is_unicode(text) else None for text in texts]
    given = {
        "file": ["predict"] * len(texts),
        "slice": [0] * len(texts),
        "row": range(len(texts)),
        "raw": [text.encode("utf-8", errors="surrogateescape") for text in texts],
        "problem": ["invalid_utf8" if text is None else None for text in valid],
        "text": valid,
    }
    nothing = [None] * len(texts)
    return pa.RecordBatch.from_arrays(
        [pa.array(given.get(field.name, nothing), field.type) for field in schema],
        schema=schema,
    )
