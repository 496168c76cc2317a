"""tf.Examples as bytes, a whole column at a time.

The layout is that of tensorflow/core/example/example.proto in Protocol Buffers' wire
format: a message is a run of (tag, value), and a length goes before what is nested.
The features stand in the order of their names, so that the same example always has
the same bytes; protobuf's own encoders leave the order of a map open.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Field number << 3 | 2: a value with its length before it.
_FIRST, _SECOND, _THIRD = 0x0A, 0x12, 0x1A
_NONE = -1  # in place of a length: a Feature without a value


@dataclasses.dataclass(frozen=True)
class Feature:
    """A column of Features, without what depends on lengths alone.

    Attributes:
      payload: binary [rows]; what is nested deepest.
      lengths: int64 [rows], its bytes, or -1 for a Feature without a value.
      tags: of the messages around it, from the Feature's on.
    """

    payload: pa.Array
    lengths: np.ndarray
    tags: tuple[int, ...]


def bytes_feature(column: pa.Array) -> Feature:
    """Makes Features of one string or binary a row; null gives one without a value."""
    payload = column.cast(pa.binary())
    lengths = np.asarray(pc.fill_null(pc.binary_length(payload), _NONE))
    return Feature(pc.fill_null(payload, b""), lengths, (_FIRST, _FIRST))


def int64_feature(numbers: pa.Array) -> Feature:
    """Makes Features of one integer a row, or of a list a row; none is negative.

    Args:
      numbers: integers, or lists of them, without nulls.
    """
    if pa.types.is_list(numbers.type):
        offsets = np.asarray(numbers.offsets) - numbers.offsets[0].as_py()
        values = np.asarray(numbers.flatten())
    else:
        offsets, values = np.arange(len(numbers) + 1), np.asarray(numbers)
    data, ends = _varints(values)
    return _packed(data, np.append(0, ends)[offsets], _THIRD)


def float_feature(numbers: np.ndarray) -> Feature:
    """Makes Features of a row of numbers; float32 [rows, values]."""
    rows, values = numbers.shape
    data = np.ascontiguousarray(numbers, "<f4").view(np.uint8).ravel()
    return _packed(data, np.arange(rows + 1) * values * 4, _SECOND)


def serialize(features: Mapping[str, Feature], rows: int) -> list[bytes]:
    """Serializes rows as tf.Examples.

    Args:
      features: by name.
      rows: how many.

    Returns:
      One serialized tf.Example a row.
    """
    if not rows:
        return []
    parts, total = [], np.zeros(rows, np.int64)
    for name in sorted(features, key=str.encode):
        feature = features[name]
        # What stands before a payload follows from its length.
        lengths, of_row = np.unique(feature.lengths, return_inverse=True)
        heads = [_entry_head(name, length, feature.tags) for length in lengths.tolist()]
        parts += [pa.array(heads, pa.binary()).take(pa.array(of_row)), feature.payload]
        total += np.array([len(head) for head in heads])[of_row]
        total += np.maximum(feature.lengths, 0)
    lengths, of_row = np.unique(total, return_inverse=True)
    heads = [bytes([_FIRST]) + _varint(length) for length in lengths.tolist()]
    head = pa.array(heads, pa.binary()).take(pa.array(of_row))
    nothing = pa.scalar(b"", pa.binary())
    return pc.binary_join_element_wise(head, *parts, nothing).to_pylist()


def _entry_head(name: str, length: int, tags: tuple[int, ...]) -> bytes:
    """Returns the bytes of a map's entry up to the payload of its Feature."""
    head = b""
    for tag in () if length == _NONE else reversed(tags):
        size = length + len(head)
        head = bytes([tag]) + _varint(size) + head
    size = max(length, 0) + len(head)
    head = bytes([_SECOND]) + _varint(size) + head
    key = name.encode()
    head = bytes([_FIRST]) + _varint(len(key)) + key + head
    return bytes([_FIRST]) + _varint(max(length, 0) + len(head)) + head


def _packed(data: np.ndarray, offsets: np.ndarray, tag: int) -> Feature:
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
    payload = pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)
    lengths = np.diff(offsets)
    # A list without numbers has no packed field.
    return Feature(payload, lengths, (tag, _FIRST))


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*data, number])


def _varints(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Encodes numbers seven bits a byte, the lowest first; the highest bit says more.

    Args:
      numbers: integers that are not negative.

    Returns:
      All bytes (uint8), and the end of each number's in them (int64).
    """
    most = int(numbers.max(initial=0))
    rest = numbers.astype(np.uint32 if most < 2**32 else np.uint64)
    width = max(1, -(-most.bit_length() // 7))
    # Each number in a row of its own, with zeros behind; then the zeros go.
    table = np.empty((len(numbers), width), np.uint8)
    sizes = np.ones(len(numbers), np.int64)
    for place in range(width - 1):
        more = rest > 0x7F
        table[:, place] = rest.astype(np.uint8) & 0x7F | more.view(np.uint8) << 7
        sizes += more
        rest = rest >> 7
    table[:, width - 1] = rest
    kept = np.arange(width) < sizes[:, None]
    return table[kept], np.cumsum(sizes)
