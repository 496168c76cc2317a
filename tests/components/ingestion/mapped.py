"""Bytes and tables to mapped rows, for the tests of what lies between."""

import io

import pyarrow as pa
import pyarrow.parquet as pq

from reviewbeam.components.common.columns import concat_batches, review_schema
from reviewbeam.components.common.corpus_config import CorpusConfig
from reviewbeam.components.common.prepare_config import LabelRules, PrepareConfig
from reviewbeam.components.ingestion.csv_records import csv_records
from reviewbeam.components.ingestion.lines import read_lines
from reviewbeam.components.ingestion.mapping import ColumnMapper
from reviewbeam.components.ingestion.records import json_records, parquet_records

COLUMNS = {"text": "text", "id": "id", "label": "stars", "language": "lang"}
BOM = b"\xef\xbb\xbf"
_LABELS = LabelRules(type="binary", names=("0", "1"))


def corpus_config(actions=None, **columns):
    return CorpusConfig(columns=COLUMNS | columns, rules={"actions": actions or {}})


def prepare_config(columns=None, **changes):
    """With labels, and so with what only training has."""
    return PrepareConfig(
        **{"encoder": "e", "labels": _LABELS, "columns": COLUMNS | (columns or {})}
        | changes
    )


class Mapped:
    """Records as the batch that a ColumnMapper makes of them."""

    def __init__(self, records, config):
        self.mapper = ColumnMapper(config)
        schema = review_schema(config.columns.keep)
        batches = [self.mapper.batch(part, "f", 0) for part in records(self.mapper)]
        self.batch = concat_batches(batches, schema)
        self.batch.validate(full=True)

    def column(self, name):
        return self.batch.column(name).to_pylist()

    @property
    def problems(self):
        return self.column("problem")

    @property
    def repairs(self):
        return self.column("repairs")

    @property
    def values(self):
        """Text, id, label, language, group and kept values of each row."""
        kept = [name for name in self.batch.schema.names if name.startswith("keep.")]
        names = ("text", "id", "label", "language", "group", *kept)
        columns = [self.column(name) for name in names]
        return [list(row) for row in zip(*columns, strict=True)]

    @property
    def rows(self):
        """Row, byte offset, raw record, problem, and the values of each row."""
        origin = zip(
            self.column("row"),
            self.column("byte_offset"),
            self.column("raw"),
            self.problems,
            strict=True,
        )
        return [
            (*start, *values) for start, values in zip(origin, self.values, strict=True)
        ]


def _bytes(content):
    return content if isinstance(content, bytes) else content.encode()


def map_json(content, config=None, **columns):
    config = config or corpus_config(**columns)
    lines = read_lines([_bytes(content)])
    return Mapped(lambda mapper: json_records(lines, config.rules), config)


def map_csv(content, delimiter=",", config=None, **columns):
    config = config or corpus_config(**columns)
    lines = read_lines([_bytes(content)])
    return Mapped(lambda mapper: csv_records(lines, delimiter, config.rules), config)


def map_parquet(table, start=0, stop=None, config=None, **columns):
    config = config or corpus_config(**columns)
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=2, version="2.6")
    file = pq.ParquetFile(sink)
    stop = file.num_row_groups if stop is None else stop
    return Mapped(
        lambda mapper: parquet_records(file, start, stop, mapper.wanted), config
    )


def string_array(*parts):
    """A string array of any bytes; pyarrow doesn't look at them."""
    offsets = [0]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    starts = pa.array(offsets, pa.int32()).buffers()[1]
    return pa.StringArray.from_buffers(
        len(parts), starts, pa.py_buffer(b"".join(parts))
    )
