"""TFRecord shards with the same bytes each time they are written."""

import functools
import gzip
import hashlib
import struct
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import google_crc32c

from reviewbeam.components.common.artifacts import write_bytes
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.filesystems import open_binary
from reviewbeam.components.common.places import place

_GZIP_LEVEL = 3  # of 6 it takes 60 % of the time, and 1.4 % more bytes
_CRC_MASK = 0xA282EAD8


def shard_name(split: str, partition: int, partitions: int) -> str:
    """Returns `train-00000-of-00008.tfrecord.gz`."""
    return f"{split}-{partition:05d}-of-{partitions:05d}.tfrecord.gz"


def write_shard(path: str, batches: Iterable[list[bytes]]) -> str:
    """Writes records as a gzip TFRecord file, by rename.

    Args:
      path: of the file.
      batches: the records, some thousands at once: while they are compressed, the
        next ones can be made.

    Returns:
      The SHA-256 of the file's bytes: the same records give the same one, however
      they are batched.
    """
    compressor = zlib.compressobj(_GZIP_LEVEL, wbits=31)
    with ThreadPoolExecutor(1) as pool:
        parts = [
            pool.submit(compressor.compress, b"".join(map(framed, records)))
            for records in batches
        ]
        parts.append(pool.submit(compressor.flush))
    packed = b"".join(part.result() for part in parts)
    write_bytes(place(path), packed)
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
            (length,) = struct.unpack_from("<Q", data, place)
            record = data[place + 12 : place + 12 + length]
            end = place + 16 + length
            found = data[place : place + 12], data[end - 4 : end]
            if found != (_head(length), _masked_crc(record)):
                raise ValueError("a checksum is wrong")
            records.append(record)
            place = end
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        raise UserError(f"{path} is no sound TFRecord file: {error}.") from None
    return records


def framed(record: bytes) -> bytes:
    """Returns a record as TFRecord has it: length and data, a checksum behind each."""
    return b"".join([_head(len(record)), record, _masked_crc(record)])


@functools.lru_cache(4096)
def _head(length: int) -> bytes:
    head = struct.pack("<Q", length)
    return head + _masked_crc(head)


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + _CRC_MASK) & 0xFFFFFFFF)
