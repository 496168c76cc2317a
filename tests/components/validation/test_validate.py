import io

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from reviewbeam.components.common.coders import register_record_batch_coder
from reviewbeam.components.common.columns import (
    REJECTS,
    parquet_bytes,
    review_schema,
    with_columns,
)
from reviewbeam.components.common.corpus_config import RecordRules
from reviewbeam.components.validation.rules import ReviewRules
from reviewbeam.components.validation.validate import (
    PUBLISHED_REJECTS,
    ValidateReviews,
    WriteRejects,
    place_rejects,
)


@pytest.fixture(autouse=True)
def our_coder():
    register_record_batch_coder()


def _rejects(*places, rule="text_empty"):
    """Rejects at (file, slice, row); the raw record tells the place."""
    rows = [
        {
            "file": file,
            "slice": piece,
            "row": row,
            "byte_offset": None,
            "rule": rule,
            "value": None,
            "raw": f"{file} {piece} {row}".encode(),
        }
        for file, piece, row in places
    ]
    return pa.RecordBatch.from_pylist(rows, schema=REJECTS)


def _reviews(file, texts, labels="555555"):
    schema = review_schema(())
    rows = [
        {"file": file, "slice": 0, "row": i, "text": text, "label": label, "raw": b"r"}
        for i, (text, label) in enumerate(zip(texts, labels, strict=False), 1)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def test_validate_reviews_in_a_pipeline():
    batches = [
        _reviews("a", ["one", "", None, "two"]),
        _reviews("a", ["", ""]),
        _reviews("b", ["three", "four"], "5?"),
    ]
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        checked = (
            pipeline
            | "Create" >> beam.Create(batches)
            | "ValidateReviews" >> ValidateReviews(ReviewRules(RecordRules()))
        )
        reviews = checked.reviews | "Reviews" >> beam.Map(
            lambda batch: batch.column("text").to_pylist()
        )
        rejects = checked.rejects | "Rejects" >> beam.Map(
            lambda batch: (batch.schema == REJECTS, batch.column("row").to_pylist())
        )
        # Empty batches go no further.
        assert_that(
            reviews, equal_to([["one", "two"], ["three", "four"]]), label="Reviews"
        )
        assert_that(
            rejects, equal_to([(True, [2, 3]), (True, [1, 2])]), label="Rejects"
        )
        usable = ("allowed.language_missing", "repaired.id_missing")
        assert_that(
            checked.outcomes,
            equal_to(
                [
                    (("a", "rejected.text_empty"), 1),
                    (("a", "rejected.text_missing"), 1),
                    (("a", "rejected.text_empty"), 2),
                    *((("a", outcome), 2) for outcome in usable),
                    *((("b", outcome), 2) for outcome in usable),
                ]
            ),
            label="Outcomes",
        )
        assert_that(
            checked.labels, equal_to([("5", 2), ("?", 1), ("5", 1)]), label="Labels"
        )


def test_rejects_are_placed_in_their_file():
    rejects = _rejects(("b", 1, 3), ("a", 0, 9), ("b", 0, 7), ("b", 1, 1), ("a", 0, 2))
    offsets = {("a", 0): 0, ("b", 0): 0, ("b", 1): 10}

    table = place_rejects([rejects], offsets)
    assert table.schema == PUBLISHED_REJECTS
    assert "slice" not in table.schema.names
    assert [(row["file"], row["row"], row["raw"]) for row in table.to_pylist()] == [
        ("a", 2, b"a 0 2"),
        ("a", 9, b"a 0 9"),
        ("b", 7, b"b 0 7"),
        ("b", 11, b"b 1 1"),
        ("b", 13, b"b 1 3"),
    ]


def test_several_unknown_labels_are_published_as_text():
    rejects = with_columns(
        _rejects(("a", 0, 1), ("a", 0, 2), ("a", 0, 3), rule="label_unknown"),
        value=pa.array(["?", "?\x1f!", None]),
    )
    rejects = pa.RecordBatch.from_arrays(
        [rejects.column(name) for name in REJECTS.names], schema=REJECTS
    )

    table = place_rejects([rejects], {("a", 0): 0})
    assert table.schema == PUBLISHED_REJECTS
    assert table["value"].to_pylist() == ["?", "?, !", None]


def test_excluded_rows_are_outcomes_only():
    rules = ReviewRules(RecordRules(), excluded_ids=frozenset(["r1"]))
    batch = with_columns(_reviews("a", ["one", "two"]), id=pa.array(["r1", "r1"]))
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        checked = (
            pipeline
            | "Create" >> beam.Create([batch])
            | "ValidateReviews" >> ValidateReviews(rules)
        )
        for name in ("reviews", "rejects", "labels"):
            assert_that(getattr(checked, name), equal_to([]), label=name)
        expected = [(("a", "left_out.excluded_id"), 2)]
        assert_that(checked.outcomes, equal_to(expected), label="Outcomes")


def test_no_rejects_make_an_empty_table():
    table = place_rejects([_rejects()], {})

    assert (table.num_rows, table.schema) == (0, PUBLISHED_REJECTS)


def test_written_rejects_are_plain_parquet():
    table = place_rejects([_rejects(("a", 0, 1))], {("a", 0): 4})
    data = parquet_bytes(table)

    assert data == parquet_bytes(table)
    assert pq.read_table(io.BytesIO(data)).to_pylist() == [
        {
            "file": "a",
            "row": 5,
            "byte_offset": None,
            "rule": "text_empty",
            "value": None,
            "raw": b"a 0 1",
        }
    ]


FILES = [f"f{number:02d}" for number in range(20)]
OFFSETS = {(name, piece): 100 * piece for name in FILES for piece in range(2)}
# Of every second file, both slices, in two batches each.
BATCHES = [
    _rejects(*((name, piece, row) for row in rows))
    for piece in (1, 0)
    for rows in ((5, 6), (1, 3))
    for name in FILES[::2]
]


def _write(folder, batches, parts):
    folder.mkdir()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        offsets = beam.pvalue.AsSingleton(
            pipeline | "CreateOffsets" >> beam.Create([OFFSETS])
        )
        names = (
            pipeline
            | "CreateRejects" >> beam.Create(batches)
            | "WriteRejects" >> WriteRejects(str(folder), FILES, offsets, parts=parts)
        )
        expected = [f"rejects-{i:05d}-of-{parts:05d}.parquet" for i in range(parts)]
        assert_that(names, equal_to(expected), label="Names")
    assert sorted(path.name for path in folder.iterdir()) == expected
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("parts", [1, 3])
def test_write_rejects_in_a_pipeline(tmp_path, parts):
    _write(tmp_path / "out", BATCHES, parts)

    rows = [
        row
        for path in sorted((tmp_path / "out").iterdir())
        for row in pq.read_table(path).to_pylist()
    ]
    # Ordered by file and row over all parts.
    assert [(row["file"], row["row"]) for row in rows] == [
        (name, 100 * piece + row)
        for name in FILES[::2]
        for piece in (0, 1)
        for row in (1, 3, 5, 6)
    ]


def test_the_order_of_arrival_changes_no_byte(tmp_path):
    first = _write(tmp_path / "one", BATCHES, 3)

    assert _write(tmp_path / "two", BATCHES[::-1], 3) == first
