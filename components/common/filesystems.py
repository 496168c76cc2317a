"""Files of any Beam file system, local or remote."""

import hashlib

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems


def open_binary(path: str):
    """Opens a file for reading, without decompressing it."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def write_atomically(path: str, data: bytes) -> None:
    """Writes a file of any Beam file system so that a retry finds it whole or not."""
    temporary = f"{path}.{hashlib.sha256(data).hexdigest()[:8]}.tmp"
    with _create(temporary) as sink:
        sink.write(data)
    FileSystems.rename([temporary], [path])


def _create(path: str):
    if FileSystems.get_scheme(path) is None:
        # Beam would make the folder too: that of a job which has ended, and whose
        # last worker is late.
        return open(path, "wb")
    return FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)
