"""Reviews to tf.Examples, and back."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from reviewbeam.components.common.columns import KEEP_PREFIX
from reviewbeam.components.examples.wire_format import (
    Feature,
    bytes_feature,
    float_feature,
    int64_feature,
    serialize,
)


def encode_examples(examples: pa.RecordBatch, classes: int) -> list[bytes]:
    """Serializes examples as tf.Examples.

    Args:
      examples: with the columns `token_ids` (list of int32), `label_index` (int32, or
        list of int32 for multilabel), `id`, `language`, `text`, `count` and kept ones.
        A null becomes a feature without a value, for which tf.io's parsers give the
        default.
      classes: how many there are.

    Returns:
      One serialized tf.Example a row: `token_ids`, `label` and `count` as int64
      lists, the rest as bytes lists, kept columns under their own names. A multilabel
      `label` is a float for each class, 1 or 0. The same example always has the same
      bytes.
    """
    features = {
        "token_ids": int64_feature(examples.column("token_ids")),
        "label": _label_feature(examples.column("label_index"), classes),
        "id": bytes_feature(examples.column("id")),
        "language": bytes_feature(examples.column("language")),
        "text": bytes_feature(examples.column("text")),
        "count": int64_feature(examples.column("count")),
    }
    for name in examples.schema.names:
        if name.startswith(KEEP_PREFIX):
            kept = bytes_feature(examples.column(name))
            features[name.removeprefix(KEEP_PREFIX)] = kept
    return serialize(features, examples.num_rows)


def decode_examples(
    records: list[bytes], *, multilabel: bool = False, keep: Sequence[str] = ()
) -> pa.RecordBatch:
    """Parses what `encode_examples` wrote.

    Args:
      records: serialized tf.Examples.
      multilabel: whether their label has a number for each class.
      keep: names of the kept columns to take.

    Returns:
      `token_ids` (list of int32), `label_index` (int64; for multilabel a list of
      int32, the classes that it has), `id`, `language` and `text` (strings; a missing
      language is null), `count` (int64), and the kept columns (strings) behind
      KEEP_PREFIX.
    """
    label_type = pa.list_(pa.int32()) if multilabel else pa.int64()
    types = {
        "id": pa.string(),
        "language": pa.string(),
        "text": pa.string(),
        "count": pa.int64(),
    }
    types |= {KEEP_PREFIX + name: pa.string() for name in keep}
    if not records:
        types = {"token_ids": pa.list_(pa.int32()), "label_index": label_type} | types
        columns = {name: pa.array([], kind) for name, kind in types.items()}
    else:
        decoded = ExamplesToRecordBatchDecoder(None).DecodeBatch(records)
        lists = dict(zip(decoded.schema.names, decoded.columns, strict=True))
        columns = {
            "token_ids": _as_list_of_int32(lists["token_ids"]),
            "label_index": _indices(lists["label"])
            if multilabel
            else _values(lists["label"], len(records), label_type),
        }
        for name, kind in types.items():
            values = lists.get(name.removeprefix(KEEP_PREFIX))
            columns[name] = _values(values, len(records), kind)
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def as_lists(column: pa.Array) -> pa.ListArray:
    """Wraps values in lists of one, strings as bytes; a null stays null.

    It is the form that TFDV and the example encoder take.
    """
    if pa.types.is_string(column.type):
        column = column.cast(pa.binary())
    valid = np.asarray(pc.is_valid(column).to_numpy(zero_copy_only=False))
    offsets = np.concatenate([[0], np.cumsum(valid)]).astype(np.int32)
    # A null offset marks a null list.
    mask = np.append(~valid, False)
    return pa.ListArray.from_arrays(pa.array(offsets, mask=mask), column.drop_null())


def _label_feature(index: pa.Array, classes: int) -> Feature:
    if not pa.types.is_list(index.type):
        return int64_feature(index)
    hot = np.zeros((len(index), classes), np.float32)
    hot[np.asarray(pc.list_parent_indices(index)), np.asarray(index.flatten())] = 1
    return float_feature(hot)


def _indices(hot: pa.Array) -> pa.ListArray:
    """Undoes `_label_feature`: a 1 or 0 for each class to the classes with a 1."""
    matrix = np.asarray(hot.flatten()).reshape(len(hot), -1) == 1
    ends = np.append(0, matrix.sum(axis=1).cumsum()).astype(np.int32)
    indices = matrix.nonzero()[1].astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(indices))


def _as_list_of_int32(lists: pa.Array) -> pa.ListArray:
    offsets = np.asarray(lists.offsets)
    return pa.ListArray.from_arrays(
        pa.array((offsets - offsets[0]).astype(np.int32)),
        lists.flatten().cast(pa.int32()),
    )


def _values(lists: pa.Array | None, rows: int, kind: pa.DataType) -> pa.Array:
    """Undoes `as_lists`; a feature that no example has is null everywhere."""
    if lists is None or pa.types.is_null(lists.type):
        return pa.nulls(rows, kind)
    lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), 0))
    places = np.maximum(np.cumsum(lengths) - 1, 0)
    return lists.flatten().take(pa.array(places, mask=lengths == 0)).cast(kind)
