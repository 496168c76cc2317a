"""tf.Examples as bytes, a whole column at a time.

The layout is that of tensorflow/core/example/example.proto in Protocol Buffers' wire
format: a message is a run of (tag, value), and a length goes before what is nested.
The features stand in the order of their names, so that the same example always has
the same bytes; protobuf's own encoders leave the order of a map open.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Field number << 3 | 2: a value with its length before it.
_FIRST, _SECOND, _THIRD = b"\x0a", b"\x12", b"\x1a"


def serialize(features: Mapping[str, pa.Array], rows: int) -> list[bytes]:
    """Serializes rows as tf.Examples.

    Args:
      features: serialized Features by name, as `bytes_feature` and the others make
        them; binary [rows].
      rows: how many.

    Returns:
      One serialized tf.Example a row.
    """
    if not rows:
        return []
    parts: list = []
    for name in sorted(features, key=str.encode):
        key = name.encode()
        value = _nested(_SECOND, features[name])  # of a map's entry
        key = _FIRST + _varint(len(key)) + key
        lengths = np.asarray(pc.binary_length(value)) + len(key)
        parts += [_FIRST, _lengths(lengths), key, value]
    return _nested(_FIRST, _joined(*parts)).to_pylist()


def bytes_feature(column: pa.Array) -> pa.Array:
    """Returns a Feature of one value a row; null gives a Feature without a value.

    Args:
      column: strings or binary.
    """
    feature = _nested(_FIRST, _nested(_FIRST, column.cast(pa.binary())))
    return pc.fill_null(feature, b"")


def int64_feature(numbers: pa.Array) -> pa.Array:
    """Returns a Feature of one value a row, or of a list a row, none of them negative.

    Args:
      numbers: integers, or lists of them, without nulls.
    """
    if pa.types.is_list(numbers.type):
        offsets = np.asarray(numbers.offsets) - numbers.offsets[0].as_py()
        values = np.asarray(numbers.flatten())
    else:
        offsets, values = np.arange(len(numbers) + 1), np.asarray(numbers)
    data, ends = _varints(values)
    packed = _binary(data, np.append(0, ends)[offsets])
    return _nested(_THIRD, _nested(_FIRST, packed))


def float_feature(numbers: np.ndarray) -> pa.Array:
    """Returns a Feature of a row of numbers.

    Args:
      numbers: float32 [rows, values].
    """
    rows, values = numbers.shape
    data = np.ascontiguousarray(numbers, "<f4").view(np.uint8).ravel()
    packed = _binary(data, np.arange(rows + 1) * values * 4)
    return _nested(_SECOND, _nested(_FIRST, packed))


def _nested(tag: bytes, messages: pa.Array) -> pa.Array:
    """Returns messages with a tag and their length before each; null for null."""
    lengths = np.asarray(pc.fill_null(pc.binary_length(messages), 0))
    return _joined(tag, _lengths(lengths), messages)


def _lengths(lengths: np.ndarray) -> pa.Array:
    data, ends = _varints(lengths)
    return _binary(data, np.append(0, ends))


def _joined(*parts: bytes | pa.Array) -> pa.Array:
    columns = [pa.scalar(p, pa.binary()) if isinstance(p, bytes) else p for p in parts]
    return pc.binary_join_element_wise(*columns, pa.scalar(b"", pa.binary()))


def _binary(data: np.ndarray, offsets: np.ndarray) -> pa.Array:
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)


def _varint(number: int) -> bytes:
    return _varints(np.array([number]))[0].tobytes()


def _varints(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Encodes numbers seven bits a byte, the lowest first; the highest bit says more.

    Args:
      numbers: integers that are not negative.

    Returns:
      All bytes (uint8), and the end of each number's in them (int64).
    """
    numbers = numbers.astype(np.uint64)
    sizes, rest = np.ones(len(numbers), np.int64), numbers >> np.uint64(7)
    while rest.any():
        sizes += rest > 0
        rest >>= np.uint64(7)
    ends = np.cumsum(sizes)
    data = np.empty(ends[-1] if len(ends) else 0, np.uint8)
    for place in range(sizes.max(initial=0)):
        has = np.flatnonzero(sizes > place)
        bits = (numbers[has] >> np.uint64(7 * place)) & np.uint64(0x7F)
        more = (sizes[has] > place + 1).astype(np.uint64) << np.uint64(7)
        data[(ends - sizes)[has] + place] = bits | more
    return data, ends
