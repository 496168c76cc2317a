"""Rows as the reader gives them, for the tests of what comes behind it."""

import pyarrow as pa

from reviewbeam.components.common.columns import review_schema

GOOD = {"text": "gut so", "id": "r1", "label": "5", "language": "de"}


def as_read(rows, keep=()):
    """A batch of rows; what a row doesn't say is null."""
    schema = review_schema(keep)
    origin = {"file": "a.jsonl", "slice": 2, "byte_offset": 0, "raw": b"{}"}
    columns = [
        pa.array(
            [
                (origin | {"row": i} | row).get(field.name)
                for i, row in enumerate(rows, 1)
            ],
            field.type,
        )
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def broken_rule(rules, **changes):
    """The rule that one row is a reject for, or None."""
    checked = rules.apply(as_read([GOOD | changes]))
    assert checked.reviews.num_rows + checked.rejects.num_rows == 1
    (rule,) = checked.rejects.column("rule").to_pylist() or [None]
    return rule
