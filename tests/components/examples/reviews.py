"""Usable reviews and configs for tests, as validation would hand them on."""

import pyarrow as pa

from reviewbeam.components.common.columns import with_columns
from reviewbeam.components.common.prepare_config import PrepareConfig
from reviewbeam.components.examples.keys import share_of, text_keys

SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("slice", pa.int64()),
        ("row", pa.int64()),
        ("byte_offset", pa.int64()),
        ("text", pa.string()),
        ("id", pa.string()),
        ("label", pa.string()),
        ("language", pa.string()),
        ("group", pa.string()),
        ("time", pa.string()),
        ("given_split", pa.string()),
        ("label_index", pa.int32()),
    ]
)
MULTILABEL = SCHEMA.set(
    SCHEMA.get_field_index("label_index"),
    pa.field("label_index", pa.list_(pa.int32())),
)
LABELS = ("bad", "fair", "good")


def reviews(rows, schema=SCHEMA):
    """Reviews from dicts; what a row doesn't say follows from its number."""
    plain = dict.fromkeys(SCHEMA.names) | {"file": "a", "slice": 0, "label_index": 0}
    return pa.RecordBatch.from_pylist(
        [plain | {"row": i, "id": f"id{i}"} | row for i, row in enumerate(rows)],
        schema=schema,
    )


def keyed(rows, schema=SCHEMA):
    """The same with text keys."""
    batch = reviews(rows, schema)
    return with_columns(batch, text_key=text_keys(batch.column("text")))


def prepare_config(kind="multiclass", **settings):
    """A config of three classes."""
    plain = {
        "encoder": "e",
        "columns": {"text": "text", "label": "label", "id": "id"},
        "labels": {"type": kind, "names": LABELS},
    }
    return PrepareConfig.model_validate(plain | settings)


def split_by_hash(value, rules):
    """The split of a text key or of b"group:" and a group, told independently."""
    share = share_of(value, rules.salt)
    if share < rules.test_share:
        return "test"
    reserved = rules.test_share + rules.validation_share
    return "validation" if share < reserved else "train"
