"""TFRecord shards with the same bytes each time they are written."""

import gzip
import hashlib
import struct
import zlib
from collections.abc import Iterable

import google_crc32c

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.filesystems import open_binary, write_atomically

_GZIP_LEVEL = 6
_CRC_MASK = 0xA282EAD8


def shard_name(split: str, partition: int, partitions: int) -> str:
    """Returns `train-00000-of-00008.tfrecord.gz`."""
    return f"{split}-{partition:05d}-of-{partitions:05d}.tfrecord.gz"


def write_shard(path: str, records: Iterable[bytes]) -> str:
    """Writes records as a gzip TFRecord file, by rename.

    Returns:
      The SHA-256 of the file's bytes: the same records give the same one.
    """
    packed = gzip.compress(
        b"".join(map(_framed, records)), compresslevel=_GZIP_LEVEL, mtime=0
    )
    write_atomically(path, packed)
    return hashlib.sha256(packed).hexdigest()


def read_shard(path: str) -> list[bytes]:
    """Reads what `write_shard` wrote.

    Raises:
      UserError: the file was cut short or changed.
    """
    with open_binary(path) as file:
        packed = file.read()
    records, place = [], 0
    try:
        if not packed:
            raise EOFError("it is empty")
        data = gzip.decompress(packed)
        while place < len(data):
            length, length_crc = struct.unpack_from("<QI", data, place)
            record = data[place + 12 : place + 12 + length]
            (crc,) = struct.unpack_from("<I", data, place + 12 + length)
            head = data[place : place + 8]
            if (length_crc, crc) != (_masked_crc(head), _masked_crc(record)):
                raise ValueError("a checksum is wrong")
            records.append(record)
            place += 16 + length
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        raise UserError(f"{path} is no sound TFRecord file: {error}.") from None
    return records


def _framed(record: bytes) -> bytes:
    """A record as TFRecord has it: length, its checksum, data, its checksum."""
    length = struct.pack("<Q", len(record))
    return b"".join(
        [
            length,
            struct.pack("<I", _masked_crc(length)),
            record,
            struct.pack("<I", _masked_crc(record)),
        ]
    )


def _masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + _CRC_MASK) & 0xFFFFFFFF
