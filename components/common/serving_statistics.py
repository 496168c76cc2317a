"""Histograms of reviews and predictions that add up, in training and in service.

Statistics are plain data: `rows`, how many reviews; `squares`, the sum of their squared
counts (see `effective_rows`); and `counts`, for each feature the rows of each bin. The
bin of a number is named by the largest value that it holds, that of a category is its
value. A bin without rows is left out.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reviewbeam.components.common.calibration import row_confidences
from reviewbeam.components.common.language_codes import shown_languages
from reviewbeam.components.common.text_features import text_features

Statistics = dict[str, Any]
NO_VALUE = "(none)"  # a missing category, as a value of its own
LABEL_BY_LANGUAGE = "label_by_language"  # counted of predictions, for people to see
_BETWEEN = "\t"  # language and label
MORE = "more"  # the bin above the last bound
# A bin holds its bound, and what is above the one before.
_LENGTHS = sorted({round(2 ** (step / 2)) for step in range(27)})  # to 8,192
_SHARES = [0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75]
_CONFIDENCES = [*(step / 10 for step in range(1, 10)), 0.95, 0.98, 0.99, 0.995, 0.999]
BOUNDS: dict[str, list[float]] = {
    "characters": _LENGTHS,
    "tokens": _LENGTHS,
    "unknown_token_share": _SHARES,
    "emoji_share": _SHARES,
    "non_letter_share": _SHARES,
    "confidence": _CONFIDENCES,
}


def bins(feature: str) -> list[str] | None:
    """Returns the names of a number's bins in their order; None: it is a category."""
    if feature not in BOUNDS:
        return None
    return [*(f"{bound:g}" for bound in BOUNDS[feature]), MORE]


def chunk_statistics(
    reviews: pa.RecordBatch,
    tokenized: Mapping[str, pa.Array],
    probabilities: np.ndarray,
    decisions: np.ndarray,
    names: Sequence[str],
    kind: str,
) -> Statistics:
    """Counts some reviews and what the model says of them.

    Args:
      reviews: with the columns `text` and `language`.
      tokenized: the columns of `Tokenizer.encode` for them.
      probabilities: the calibrated ones, float32 [rows, classes].
      decisions: what `decide` made of them.
      names: of the classes.
      kind: the type of the labels.
    """
    features = text_features(
        reviews.column("text"), tokenized["tokens"], tokenized["unknown_tokens"]
    )
    languages = shown_languages(reviews.column("language"))
    counted = count_texts(
        features | {"truncated": tokenized["truncated"], "language": languages}
    )
    predicted = count_predictions(probabilities, decisions, names, kind)
    each = {LABEL_BY_LANGUAGE: _label_by_language(languages, decisions, names, kind)}
    return counted | {"counts": counted["counts"] | predicted["counts"] | each}


def count_texts(
    columns: Mapping[str, pa.Array], counts: np.ndarray | None = None
) -> Statistics:
    """Counts reviews by what can be told about their texts.

    Args:
      columns: those of `text_features`; `truncated` (bool) and `language` (strings as
        they may be shown).
      counts: int64 [rows], how many reviews a row stands for; None: one.
    """
    weights = _weights(counts, len(columns["language"]))
    found = {}
    for feature, column in columns.items():
        if feature in BOUNDS:
            found[feature] = _count_numbers(feature, np.asarray(column), weights)
        else:
            if pa.types.is_boolean(column.type):
                column = pc.if_else(column, "yes", "no")
            found[feature] = _count_values(column, weights)
    return _statistics(weights, found)


def count_predictions(
    probabilities: np.ndarray,
    decisions: np.ndarray,
    names: Sequence[str],
    kind: str,
    counts: np.ndarray | None = None,
) -> Statistics:
    """Counts reviews by the labels that a model gives, and by its confidence.

    Args:
      probabilities: the calibrated ones, float32 [rows, classes].
      decisions: what `decide` made of them.
      names: of the classes.
      kind: the type of the labels.
      counts: int64 [rows], how many reviews a row stands for; None: one.

    Returns:
      Statistics of `predicted_label` and `confidence`. A row with several labels is in
      the bins of all of them.
    """
    weights = _weights(counts, len(probabilities))
    given = _given(decisions, names, kind)
    labels = zip(names, (weights @ given).tolist(), strict=True)
    confidence = row_confidences(probabilities, kind)
    return _statistics(
        weights,
        {
            "predicted_label": {name: rows for name, rows in labels if rows},
            "confidence": _count_numbers("confidence", confidence, weights),
        },
    )


def labels_by_language(statistics: Statistics) -> dict[str, dict[str, int]]:
    """Returns language -> label -> reviews that were given it.

    Args:
      statistics: of `chunk_statistics`, or what they add up to.
    """
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for name, rows in statistics["counts"].get(LABEL_BY_LANGUAGE, {}).items():
        language, _, label = name.partition(_BETWEEN)
        found[language][label] = rows
    return dict(found)


def merge(several: Iterable[Statistics]) -> Statistics:
    """Adds up statistics of different reviews, in any order."""
    rows = squares = 0
    counts: dict[str, Counter] = defaultdict(Counter)
    for statistics in several:
        rows += statistics["rows"]
        squares += statistics["squares"]
        for feature, found in statistics["counts"].items():
            counts[feature].update(found)
    return {
        "rows": rows,
        "squares": squares,
        "counts": {feature: dict(found) for feature, found in counts.items()},
    }


def effective_rows(statistics: Statistics) -> float:
    """Returns how many independent reviews would scatter as these do.

    One that stands for many copies tells less than as many different ones (Kish 1965,
    "Survey Sampling").
    """
    return statistics["rows"] ** 2 / statistics["squares"]


def _statistics(weights: np.ndarray, counts: dict[str, dict[str, int]]) -> Statistics:
    squares = int((weights * weights).sum())
    return {"rows": int(weights.sum()), "squares": squares, "counts": counts}


def _given(decisions: np.ndarray, names: Sequence[str], kind: str) -> np.ndarray:
    """Returns which labels each row was given, int64 [rows, classes]."""
    if kind != "multilabel":
        decisions = decisions[:, None] == np.arange(len(names))
    return decisions.astype(np.int64)


def _label_by_language(
    languages: pa.Array, decisions: np.ndarray, names: Sequence[str], kind: str
) -> dict[str, int]:
    """Counts reviews by both at once; a language's code has no tabulator."""
    coded = pc.fill_null(languages, NO_VALUE).dictionary_encode()
    sums = np.zeros((len(coded.dictionary), len(names)), np.int64)
    np.add.at(sums, np.asarray(coded.indices), _given(decisions, names, kind))
    return {
        f"{language}{_BETWEEN}{name}": rows
        for language, of_labels in zip(
            coded.dictionary.to_pylist(), sums.tolist(), strict=True
        )
        for name, rows in zip(names, of_labels, strict=True)
        if rows
    }


def _weights(counts: np.ndarray | None, rows: int) -> np.ndarray:
    return np.ones(rows, np.int64) if counts is None else counts.astype(np.int64)


def _count_numbers(
    feature: str, values: np.ndarray, weights: np.ndarray
) -> dict[str, int]:
    # As float32, as shares are: one of 0.1 is within a bound of 0.1.
    bounds = np.array(BOUNDS[feature], np.float32)
    places = np.searchsorted(bounds, values.astype(np.float32), side="left")
    return _sums(places, bins(feature), weights)


def _count_values(column: pa.Array, weights: np.ndarray) -> dict[str, int]:
    coded = pc.fill_null(column, NO_VALUE).dictionary_encode()
    return _sums(np.asarray(coded.indices), coded.dictionary.to_pylist(), weights)


def _sums(
    places: np.ndarray, names: Sequence[str], weights: np.ndarray
) -> dict[str, int]:
    sums = np.zeros(len(names), np.int64)
    np.add.at(sums, places, weights)
    found = zip(names, sums.tolist(), strict=True)
    return {name: rows for name, rows in sorted(found) if rows}
