"""Which texts a model was trained on: their hashes, kept in its directory.

A hash is of the normalised text, by which `prepare` folds duplicates. That of the
token ids would tell `GREAT!` and `great!` apart, and would say nothing across two
vocabularies.
"""

import hashlib
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from reviewbeam.components.common.artifacts import write_bytes
from reviewbeam.components.common.errors import UserError

# Sorted, little-endian uint64, one after the other.
TRAINING_TEXTS = "training_texts.u64"
VALIDATION_TEXTS = "validation_texts.u64"  # chose the epoch, and calibrated
_TYPE = np.dtype("<u8")


def normalized_text(text: str) -> str:
    """Returns what two texts must share to count as the same review."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def text_hashes(texts: Iterable[str]) -> np.ndarray:
    """Returns a 64-bit hash of each normalised text, uint64 [texts].

    That any of 10 M texts shares its hash with any of 1 M others by chance happens
    once in 2 million times.
    """
    digests = [
        hashlib.blake2b(normalized_text(text).encode(), digest_size=8).digest()
        for text in texts
    ]
    return np.frombuffer(b"".join(digests), _TYPE)


def write_hashes(path: Path, hashes: np.ndarray) -> None:
    """Writes hashes, each once."""
    write_bytes(path, np.unique(hashes).astype(_TYPE).tobytes())


def known_texts(model: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns the hashes of the texts that a model was trained and validated on.

    Where it began with an earlier model, that one's are among them.

    Args:
      model: directory of a model that `open_model` let pass.

    Raises:
      UserError: the model doesn't tell.
    """
    found = []
    for name in (TRAINING_TEXTS, VALIDATION_TEXTS):
        try:
            found.append(np.fromfile(Path(model) / name, _TYPE))
        except FileNotFoundError:
            raise UserError(
                f"The model {os.fspath(model)!r} has no {name}: it doesn't tell which "
                "texts it was trained on. Train it again with this version."
            ) from None
    return found[0], found[1]
