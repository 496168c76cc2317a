"""Hashes that decide where an example goes: the same everywhere, every time."""

import hashlib
import unicodedata

import numpy as np
import pyarrow as pa

from reviewbeam.components.common.job_configs import SplitRules

KEY_BYTES = 16
KEY_TYPE = pa.binary(KEY_BYTES)
# The more reserved a split, the higher: no text or group moves from test to train.
SPLITS = ("train", "validation", "test")


def normalized_text(text: str) -> str:
    """Returns what two texts must share to count as the same review."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def text_keys(texts: pa.Array) -> pa.Array:
    """Returns a 16-byte hash of each normalised text."""
    keys = [
        hashlib.blake2b(
            normalized_text(text).encode("utf-8"), digest_size=KEY_BYTES
        ).digest()
        for text in texts.to_pylist()
    ]
    return pa.array(keys, KEY_TYPE)


def key_numbers(keys: pa.Array) -> np.ndarray:
    """Returns keys as uint64 [rows, 2], which sort as the bytes do."""
    data = b"".join(keys.to_pylist())
    return np.frombuffer(data, ">u8").reshape(-1, 2).astype(np.uint64)


def split_of(value: bytes, rules: SplitRules) -> str:
    """Returns the split of a text key or a group.

    The hash gives a number in [0, 1): test comes first, so that what was once in
    test stays there when the share of validation changes.
    """
    digest = hashlib.blake2b(
        value, digest_size=8, salt=_salt(rules.salt), person=b"split"
    ).digest()
    place = int.from_bytes(digest, "big") / 2**64
    if place < rules.test:
        return "test"
    return "validation" if place < rules.test + rules.validation else "train"


def _salt(salt: str) -> bytes:
    return hashlib.blake2b(salt.encode(), digest_size=16).digest()
