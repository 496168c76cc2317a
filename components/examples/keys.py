"""Hashes that decide where an example goes: the same everywhere, every time."""

import functools
import hashlib

import numpy as np
import pyarrow as pa

from reviewbeam.components.common.text_hashes import normalized_text

KEY_BYTES = 16
KEY_TYPE = pa.binary(KEY_BYTES)


def text_keys(texts: pa.Array) -> pa.Array:
    """Returns a 16-byte hash of each normalised text."""
    return hashed([normalized_text(text) for text in texts.to_pylist()])


def hashed(values: list[str | None]) -> pa.Array:
    """Returns a 16-byte hash of each string; null for null."""
    keys = [
        value if value is None
        else hashlib.blake2b(value.encode(), digest_size=KEY_BYTES).digest()
        for value in values
    ]  # fmt: skip
    return pa.array(keys, KEY_TYPE)


def key_numbers(keys: pa.Array) -> np.ndarray:
    """Returns keys without nulls as uint64 [rows, 2], which sort as the bytes do."""
    return np.frombuffer(key_bytes(keys), ">u8").reshape(-1, 2).astype(np.uint64)


def key_bytes(keys: pa.Array) -> bytes:
    """Returns keys without nulls one after the other."""
    if not len(keys):
        return b""
    start, size = keys.offset * KEY_BYTES, len(keys) * KEY_BYTES
    return keys.buffers()[1].slice(start, size).to_pybytes()


def share_of(value: bytes, salt: str) -> float:
    """Returns a number in [0, 1) that follows from a value and a salt alone."""
    state = _salted(salt).copy()
    state.update(value)
    return int.from_bytes(state.digest(), "big") / 2**64


@functools.lru_cache(8)
def _salted(salt: str):
    salt_bytes = hashlib.blake2b(salt.encode(), digest_size=16).digest()
    return hashlib.blake2b(digest_size=8, salt=salt_bytes, person=b"split")
