"""Reads `e5-small-q4.bin`: multilingual-e5-small in 4-bit blocks.

The layout, little endian:

    magic `E5S1`, uint32 version, int32 x 7 sizes, float32 epsilon, int32 block
    int32 x 5: pieces, bos, eos, pad, unk ids; uint64 bytes of piece text
    uint32 x (pieces + 1) offsets, float32 x pieces scores, the piece text
    int32 count, uint32 bytes of a normalisation table; the table
    int32 tensors; for each: uint16 + name, uint8 type, uint32 elements,
        uint64 offset from the start of the file, uint64 bytes
    the tensors
"""

import dataclasses
import itertools
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from reviewbeam.components.common.errors import UserError

BLOCK = 32  # values that share a scale
BLOCK_BYTES = 2 + BLOCK // 2  # a float16 scale, then two values to the byte
_ZERO_POINT = 8  # the nibble that stands for 0
_FLOAT32 = 0  # the type of a tensor that isn't quantised


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What the head of the file says of the model, in the file's order."""

    hidden: int
    layers: int
    heads: int
    ffn: int
    vocabulary: int  # rows of the word embeddings
    positions: int
    token_types: int


@dataclasses.dataclass(frozen=True)
class _Tensor:
    quantized: bool
    elements: int
    offset: int
    size: int  # bytes


@dataclasses.dataclass(frozen=True)
class QuantizedFile:
    """The parsed file; tensors are dequantised when asked for."""

    sizes: Sizes
    pieces: list[str]  # at XLM-R's ids
    scores: np.ndarray  # float32 [pieces]
    _tensors: Mapping[str, _Tensor]
    _data: bytes

    def tensor(self, name: str) -> np.ndarray:
        """Returns a tensor as a flat float32 array.

        Raises:
          UserError: it isn't in the file, or isn't whole.
        """
        entry = self._tensors.get(name)
        if entry is None:
            raise UserError(f"The quantised encoder has no tensor {name!r}.")
        try:
            raw = np.frombuffer(self._data, np.uint8, entry.size, entry.offset)
            values = dequantize(raw) if entry.quantized else raw.view("<f4")
            return values.reshape(entry.elements)
        except ValueError as error:
            raise UserError(
                f"The tensor {name!r} of the quantised encoder is damaged: {error}."
            ) from None


def dequantize(raw: np.ndarray) -> np.ndarray:
    """Expands 4-bit blocks.

    A block is a float16 scale and 16 bytes, whose low nibbles are values 0 to 15
    and whose high nibbles are values 16 to 31; value = (nibble - 8) x scale.

    Args:
      raw: uint8 [18 x blocks].

    Returns:
      float32 [32 x blocks].
    """
    blocks = raw.reshape(-1, BLOCK_BYTES)
    scales = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)
    packed = blocks[:, 2:]
    values = np.empty((len(blocks), BLOCK), np.float32)
    values[:, : BLOCK // 2] = packed & 0x0F
    values[:, BLOCK // 2 :] = packed >> 4
    values -= _ZERO_POINT  # in place: the embeddings alone are 384 MB
    values *= scales
    return values.ravel()


def parse(data: bytes) -> QuantizedFile:
    """Parses the bytes of the file.

    Raises:
      UserError: they are of another format, or were cut short.
    """
    try:
        return _parse(_Cursor(data))
    except (struct.error, ValueError) as error:
        raise UserError(
            f"The quantised encoder is not a whole `E5S1` file: {error}."
        ) from None


class _Cursor:
    def __init__(self, data: bytes):
        self.data = data
        self.position = 0

    def take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + form, self.data, self.position)
        self.position += struct.calcsize("<" + form)
        return values

    def array(self, dtype: str, count: int) -> np.ndarray:
        values = np.frombuffer(self.data, dtype, count, self.position)
        self.position += values.nbytes
        return values

    def bytes(self, count: int) -> bytes:
        return self.array("u1", count).tobytes()


def _parse(cursor: _Cursor) -> QuantizedFile:
    magic, version = cursor.take("4sI")
    if (magic, version) != (b"E5S1", 1):
        raise ValueError(f"it begins with {magic!r}, version {version}")
    sizes = Sizes(*cursor.take("7i"))
    _, block = cursor.take("fi")
    if block != BLOCK:
        raise ValueError(f"its blocks hold {block} values, {BLOCK} were expected")
    count, bos, eos, pad, unknown, text_bytes = cursor.take("5iQ")
    if (bos, pad, eos, unknown) != (0, 1, 2, 3):
        raise ValueError("its special ids are not those of XLM-R")
    offsets = cursor.array("<u4", count + 1).tolist()
    scores = cursor.array("<f4", count)
    text = cursor.bytes(text_bytes)
    bounds = itertools.pairwise(offsets)
    pieces = [text[start:end].decode() for start, end in bounds]
    _, table_bytes = cursor.take("iI")
    cursor.bytes(table_bytes)  # SentencePiece has the same table under `nmt_nfkc`
    tensors = {}
    for _ in range(*cursor.take("i")):
        name = cursor.bytes(*cursor.take("H")).decode()
        kind, *place = cursor.take("BIQQ")
        tensors[name] = _Tensor(kind != _FLOAT32, *place)
    return QuantizedFile(sizes, pieces, scores, tensors, cursor.data)
