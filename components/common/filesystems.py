"""Files that workers read and write, local or remote."""

import hashlib

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from reviewbeam.components.common.places import in_store, place


def open_binary(path: str):
    """Opens a file for reading, without decompressing it."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def write_atomically(path: str, data: bytes) -> None:
    """Writes a file, or an object of a store: a retry finds it whole or not."""
    if in_store(path):
        return place(path).write_bytes(data)
    temporary = f"{path}.{hashlib.sha256(data).hexdigest()[:8]}.tmp"
    # Beam would make the folder too: that of a job which has ended, and whose last
    # worker is late.
    with open(temporary, "wb") as sink:
        sink.write(data)
    FileSystems.rename([temporary], [path])
