"""The columns that flow between steps, and their compact bytes for a shuffle."""

import io

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# Where a row comes from. Rows are counted within a slice of a file, because no
# worker knows the slices before its own; the launcher makes them the file's.
ORIGIN = [
    pa.field("file", pa.string()),
    pa.field("slice", pa.int64()),  # index of the slice in its file, from 0
    pa.field("row", pa.int64()),  # 1-based line (text) or record (Parquet)
    pa.field("byte_offset", pa.int64()),  # in the decompressed file; null: unknown
]
# Nullable strings. `time` is ISO 8601 in UTC, `given_split` as the corpus names it.
VALUES = ("text", "id", "label", "language", "group", "time", "given_split")
REPAIR_SEPARATOR = ","  # between the rules that a row broke and was let pass for
LABEL_SEPARATOR = "\x1f"  # before each label of a multi-label review

REJECTS = pa.schema(
    [
        *ORIGIN,
        pa.field("rule", pa.string()),
        pa.field("value", pa.string()),  # of the label or language that broke it
        pa.field("raw", pa.binary()),  # the line or record as it was
    ]
)
RAW_BYTES = 2**16  # of a record in a reject; its place tells the rest
KEEP_PREFIX = "keep."  # marks a kept column between steps


def review_schema(keep: tuple[str, ...]) -> pa.Schema:
    """Schema of rows as they were read: origin, raw record, mapped values.

    `problem` names the rule that the reader found broken, and is null for a row
    whose values are usable. `repairs` names the rules that were broken too, but whose
    action is not to reject.
    """
    return pa.schema(
        [
            *ORIGIN,
            pa.field("raw", pa.binary()),
            pa.field("problem", pa.string()),
            pa.field("repairs", pa.string()),
            *(pa.field(name, pa.string()) for name in VALUES),
            *(pa.field(KEEP_PREFIX + name, pa.string()) for name in keep),
        ]
    )


def to_bytes(batch: pa.RecordBatch) -> bytes:
    """Serializes a batch as a compressed Arrow stream; a slice brings its rows only."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def from_bytes(data: bytes) -> pa.RecordBatch:
    """Reads what `to_bytes` wrote."""
    with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
        return reader.read_next_batch()


def concat_batches(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """Puts batches of one schema one after the other."""
    table = pa.Table.from_batches(batches, schema=schema).combine_chunks()
    if table.num_rows == 0:
        return pa.RecordBatch.from_arrays(
            [pa.array([], field.type) for field in schema], schema=schema
        )
    (batch,) = table.to_batches()
    return batch


def with_columns(batch: pa.RecordBatch, **columns: pa.Array) -> pa.RecordBatch:
    """Returns the batch with columns replaced, or added at its end."""
    merged = dict(zip(batch.schema.names, batch.columns, strict=True)) | columns
    return pa.RecordBatch.from_arrays(list(merged.values()), names=list(merged))


def select_columns(batch: pa.RecordBatch, names: list[str]) -> pa.RecordBatch:
    """Returns the batch with some of its columns only."""
    return pa.RecordBatch.from_arrays([batch.column(n) for n in names], names=names)


def without_columns(batch: pa.RecordBatch, *names: str) -> pa.RecordBatch:
    """Returns the batch without some of its columns."""
    return select_columns(batch, [n for n in batch.schema.names if n not in names])


def is_value(name: str) -> bool:
    """Tells whether a column holds what the corpus said of a review."""
    return name in VALUES or name.startswith(KEEP_PREFIX)


def raw_of_values(batch: pa.RecordBatch) -> list[bytes]:
    """Returns what stands for records in rejects where their bytes are not known."""
    values = [name for name in batch.schema.names if is_value(name)]
    rows = select_columns(batch, values).to_pylist()
    return [orjson.dumps(row)[:RAW_BYTES] for row in rows]


def raw_records(batch: pa.RecordBatch) -> pa.Array:
    """Returns the start of each record, of its values where its bytes are not known."""
    raw = batch.column("raw")
    known = [record and record[:RAW_BYTES] for record in raw.to_pylist()]
    missing = pc.is_null(raw)
    told = pa.array(raw_of_values(batch.filter(missing)), pa.binary())
    return pc.replace_with_mask(pa.array(known, pa.binary()), missing, told)


def reject_batch(
    rows: pa.RecordBatch,
    rule: pa.Array,
    *,
    value: pa.Array | None = None,
    raw: pa.Array | None = None,
) -> pa.RecordBatch:
    """Makes rejects, of the schema REJECTS, of rows.

    Args:
      rows: with the columns of ORIGIN.
      rule: string [rows], the one that each broke.
      value: string [rows], of the label or language that broke it; None: not told.
      raw: binary [rows], the records; None: not told.
    """
    nothing = pa.nulls(rows.num_rows)
    told = (nothing if column is None else column for column in (value, raw))
    columns = [*(rows.column(field.name) for field in ORIGIN), rule, *told]
    return pa.RecordBatch.from_arrays(
        [
            column.cast(field.type)
            for column, field in zip(columns, REJECTS, strict=True)
        ],
        schema=REJECTS,
    )


def parquet_bytes(table: pa.Table) -> bytes:
    """Returns a table as one Parquet file; equal tables give equal bytes."""
    sink = io.BytesIO()
    # What is read has the types that were written, and by whichever pyarrow the same:
    # the default has changed.
    pq.write_table(table, sink, compression="zstd", use_compliant_nested_type=False)
    return sink.getvalue()
