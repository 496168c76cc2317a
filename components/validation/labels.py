"""Label values to class indices, and what is wrong with those that have none."""

import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reviewbeam.components.common.columns import LABEL_SEPARATOR
from reviewbeam.components.common.prepare_config import LabelRules

LABEL_UNKNOWN = "label_unknown"
LABEL_OUT_OF_RANGE = "label_out_of_range"
LABEL_RULES = (LABEL_UNKNOWN, LABEL_OUT_OF_RANGE)
_UNKNOWN_VALUES = 30  # counted in a batch, so that free text can't flood the counts


def class_indices(labels: pa.Array, rules: LabelRules) -> pa.Array:
    """Returns the class of each label; null for an unknown one.

    Args:
      labels: strings; of several labels each has LABEL_SEPARATOR before it.
      rules: the classes.

    Returns:
      int32, or for multilabel list<int32>, in ascending order without repeats.
    """
    index = rules.class_index()
    if rules.type != "multilabel":
        values = pa.array(list(index), pa.string())
        classes = pa.array(list(index.values()), pa.int32())
        return classes.take(pc.index_in(labels, values))
    encoded = labels.dictionary_encode()  # few combinations, many rows
    found = []
    for combined in encoded.dictionary.to_pylist():
        names = combined.split(LABEL_SEPARATOR)[1:]
        known = all(name in index for name in names)
        found.append(sorted({index[name] for name in names}) if known else None)
    return pa.array(found, pa.list_(pa.int32())).take(encoded.indices)


def out_of_range(labels: pa.Array, rules: LabelRules) -> pa.Array:
    """Tells which labels are numbers below or above those that have a class.

    Args:
      labels: strings.
      rules: the classes; unless all of their values are numbers, nothing is out of
        range.

    Returns:
      bool [rows].
    """
    numbers = [_number(value) for value in rules.class_index()]
    if rules.type == "multilabel" or None in numbers:
        return pa.array(np.zeros(len(labels), bool))
    low, high = min(numbers), max(numbers)
    values = {value: _number(value) for value in labels.unique().to_pylist()}
    out = [v for v, n in values.items() if n is not None and not low <= n <= high]
    return pc.is_in(labels, pa.array(out, pa.string()))


def unknown_values(labels: pa.Array, rules: LabelRules) -> pa.Array:
    """Returns what has no class of labels that are unknown or out of range.

    Args:
      labels: strings, with or without LABEL_SEPARATOR as `rules.type` says.
      rules: the classes.

    Returns:
      Strings, with LABEL_SEPARATOR between several of one review.
    """
    if rules.type != "multilabel":
        return labels
    known = rules.class_index()
    found = []
    for combined in labels.to_pylist():
        names = (combined or "").split(LABEL_SEPARATOR)[1:]
        unknown = LABEL_SEPARATOR.join(name for name in names if name not in known)
        found.append(unknown or None)
    return pa.array(found, pa.string())


def count_labels(reviews: pa.RecordBatch, rejects: pa.RecordBatch) -> dict[str, int]:
    """Counts the label values of usable rows, and the commonest unknown ones."""
    wrong = pc.is_in(rejects.column("rule"), pa.array(LABEL_RULES))
    unknown = rejects.filter(wrong)
    known = _values(reviews.column("label"))
    values = _values(unknown.column("value")).most_common(_UNKNOWN_VALUES)
    return {label: rows for label, rows in [*known.items(), *values] if label}


def _values(labels: pa.Array) -> Counter:
    counts: Counter = Counter()
    for pair in pc.value_counts(labels).to_pylist():
        for label in (pair["values"] or "").split(LABEL_SEPARATOR):
            counts[label] += pair["counts"]
    return counts


def _number(value: str | None) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None  # "nan" is a word
