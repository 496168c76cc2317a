"""Label values to class indices, and what is wrong with those that have none."""

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
    values = pa.array(list(index), pa.string())
    classes = pa.array(list(index.values()), pa.int32())
    if rules.type != "multilabel":
        return classes.take(pc.index_in(labels, values))
    names = pc.split_pattern(labels, LABEL_SEPARATOR)
    # Before the first separator stands nothing: one empty name a row.
    place = pc.index_in(names.flatten(), values).to_pylist()
    sizes = pc.fill_null(pc.list_value_length(names), 0).to_pylist()
    found, start = [], 0
    to_class = classes.to_pylist()
    for size, valid in zip(sizes, pc.is_valid(labels).to_pylist(), strict=True):
        mine = place[start + 1 : start + size]
        start += size
        known = valid and None not in mine
        found.append(sorted({to_class[i] for i in mine}) if known else None)
    return pa.array(found, pa.list_(pa.int32()))


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
    found = map(_number, labels.to_pylist())
    return pa.array([n is not None and not low <= n <= high for n in found], pa.bool_())


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
        return float(value)
    except (TypeError, ValueError):
        return None
