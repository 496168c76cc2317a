"""Maps the columns of records, as the config names them, to those that flow on."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from reviewbeam.components.common.columns import REPAIR_SEPARATOR, review_schema
from reviewbeam.components.common.corpus_config import CorpusConfig
from reviewbeam.components.ingestion.records import Records
from reviewbeam.components.ingestion.values import (
    MISSING,
    UNREADABLE,
    Converted,
    kept_value,
    label_value,
    labels_value,
    language_value,
    scalar_value,
    text_value,
    time_value,
)

_STRINGS = {str, type(None)}


class ColumnMapper:
    """Turns records into batches, and notes the columns it met."""

    def __init__(self, config: CorpusConfig):
        self._rules = config.rules
        self._schema = review_schema(config.columns.keep)
        self._mapped = _mapped(config)
        self.wanted = {column for column, _, _ in self._mapped if column}
        self.present: set[str] = set()  # mapped columns that a record had
        self.known: list[str] = []  # columns of the first record

    def batch(self, records: Records, file: str, piece: int) -> pa.RecordBatch:
        """Returns records as rows under `review_schema`."""
        rows = len(records.numbers)
        self.known = self.known or records.known
        if records.header:
            self.present.update(self.wanted & set(records.known))
        faults: list[tuple[int, str]] = []  # (row, the rule it broke)
        columns = [
            self._column(column, records, convert, plain, faults)
            for column, convert, plain in self._mapped
        ]
        problems, repairs = self._judged(records, faults)
        return pa.RecordBatch.from_arrays(
            [
                pa.array([file]).take(pa.array(np.zeros(rows, np.int8))),
                pa.array(np.full(rows, piece, np.int64)),
                pa.array(records.numbers, pa.int64()),
                pa.array(records.offsets, pa.int64()),
                pa.array(records.raws, pa.binary()),
                pa.array(problems, pa.string()),
                pa.array(repairs, pa.string()),
                *columns,
            ],
            schema=self._schema,
        )

    def _column(
        self, column: str | None, records: Records, convert, plain: bool, faults: list
    ) -> pa.Array:
        if column is None:
            return pa.nulls(len(records.numbers), pa.string())
        values = records.values(column)
        if isinstance(values, pa.Array):
            self.present.add(column)
            if plain:
                return values
            values = values.to_pylist()
        kinds = set(map(type, values))
        if kinds - {object} or any(value is UNREADABLE for value in values):
            self.present.add(column)
        if plain and kinds <= _STRINGS:
            return pa.array(values, pa.string())
        memo: dict[str | int, Converted] = {}  # few values, many rows
        texts = []
        for row, value in enumerate(values):
            if value is None or value is MISSING or value != value:  # NaN of pandas
                texts.append(None)
                continue
            if type(value) in (str, int):  # True is no key: it equals 1
                text, rule = memo.get(value) or memo.setdefault(value, convert(value))
            else:
                text, rule = convert(value)
            texts.append(text)
            if rule:
                faults.append((row, rule))
        return pa.array(texts, pa.string())

    def _judged(self, records: Records, faults: list[tuple[int, str]]):
        """Returns (problems, repairs): by its rule's action a fault is one of them."""
        problems, repairs = records.problems, records.repairs
        if faults:
            problems, repairs = list(problems), list(repairs)
        for row, rule in faults:
            if rule == "unreadable_value" or self._rules.action(rule) == "reject":
                problems[row] = problems[row] or rule
            else:
                repairs[row] = REPAIR_SEPARATOR.join(filter(None, [repairs[row], rule]))
        return problems, repairs


def _mapped(config: CorpusConfig) -> list[tuple[str | None, Callable, bool]]:
    """(column, conversion, whether it leaves a string as it is) of each value."""
    columns = config.columns
    labels, split = (getattr(config, name, None) for name in ("labels", "split"))
    to_label = label_value
    if labels and labels.type == "multilabel":
        to_label = functools.partial(labels_value, delimiter=labels.delimiter)
    to_id, to_group, to_split = (
        functools.partial(scalar_value, rule=f"{name}_wrong_type")
        for name in ("id", "group", "split")
    )
    mapped = [
        (columns.text, text_value, True),
        (columns.id, to_id, True),
        (columns.label, to_label, False),
        (columns.language, language_value, False),
        (split and split.group_by, to_group, True),
        (split and split.time_column, time_value, False),
        (split and split.column, to_split, True),
        *((column, kept_value, True) for column in columns.keep),
    ]
    return [(c, _readable(convert), plain) for c, convert, plain in mapped]


def _readable(convert: Callable) -> Callable[[Any], Converted]:
    def converted(value: Any) -> Converted:
        return (None, "unreadable_value") if value is UNREADABLE else convert(value)

    return converted
