"""Bytes of a file to decompressed blocks, and blocks to lines with their offsets."""

import bz2
import zlib
from collections.abc import Iterable, Iterator

import zstandard

BLOCK_BYTES = 2**20
COMPRESSED_BLOCK_BYTES = 2**16  # it may grow a millionfold
MAX_RECORD_BYTES = 16 * 2**20  # a longer line is one reject, not a full memory
# Of zstd, 4 bytes may be a block of 128 KiB: 16 MiB at most.
_ZSTD_BYTES = 512


class DamagedFileError(Exception):
    """A file whose bytes end or break before its content does."""


class _ZstdDecompressor:
    """zstandard's, whose output can't be bounded, with the interface of zlib's."""

    def __init__(self):
        self._stream = zstandard.ZstdDecompressor().decompressobj()
        self.unconsumed_tail = self.unused_data = b""
        self.eof = False

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Returns `max_length` bytes and a bounded number more, or what there is."""
        parts, size, place = [], 0, 0
        while place < len(data) and size < max_length and not self.eof:
            part = self._stream.decompress(data[place : place + _ZSTD_BYTES])
            if part:
                parts.append(part)
                size += len(part)
            place += _ZSTD_BYTES
            self.eof = self._stream.eof
        self.unconsumed_tail = data[place:]
        if self.eof:
            self.unused_data = self._stream.unused_data + self.unconsumed_tail
        return b"".join(parts)


_DECOMPRESSORS = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "bz2": bz2.BZ2Decompressor,
    "zstd": _ZstdDecompressor,
}


def read_blocks(source, compression: str) -> Iterator[bytes]:
    """Yields a file's decompressed content, in bounded memory whatever it grows to.

    Beam's own decompression takes a file that was cut short for a whole one, so
    the end of the compressed stream is looked for here.

    Args:
      source: a binary file.
      compression: none, gzip, bz2 or zstd; several streams may follow each other.

    Raises:
      DamagedFileError: the compressed stream breaks or ends too early.
    """
    if compression == "none":
        while block := source.read(BLOCK_BYTES):
            yield block
        return
    new_decompressor = _DECOMPRESSORS[compression]
    decompressor, in_stream = new_decompressor(), False
    try:
        while block := source.read(COMPRESSED_BLOCK_BYTES):
            while block:
                if not in_stream:
                    block = block.lstrip(b"\0")  # padding between or behind streams
                    if not block:
                        break
                in_stream = True
                while content := decompressor.decompress(block, BLOCK_BYTES):
                    for start in range(0, len(content), BLOCK_BYTES):
                        yield content[start : start + BLOCK_BYTES]
                    if decompressor.eof:
                        break
                    # bz2's keeps it; all of them may keep content without it.
                    block = getattr(decompressor, "unconsumed_tail", b"")
                block = b""
                if decompressor.eof:
                    block = decompressor.unused_data
                    decompressor, in_stream = new_decompressor(), False
    except (zlib.error, OSError, ValueError, zstandard.ZstdError) as error:
        raise DamagedFileError(f"its {compression} data is broken ({error})") from None
    if in_stream:
        raise DamagedFileError(f"its {compression} data ends before its end mark")


def read_lines(blocks: Iterable[bytes], offset: int = 0) -> Iterator[tuple[int, bytes]]:
    r"""Yields `(offset, line)`; only `\n` ends a line, and it is left out.

    Of a line above MAX_RECORD_BYTES the first MAX_RECORD_BYTES + 1 bytes are given.

    Args:
      blocks: consecutive bytes.
      offset: of the first block in its decompressed file.
    """
    kept: list[bytes] = []  # of a line that goes on
    size = 0  # of that line so far
    for block in blocks:
        *ended, rest = block.split(b"\n")
        for part in ended:
            line = b"".join([*kept, part]) if kept else part
            yield offset, line[: MAX_RECORD_BYTES + 1]
            offset += size + len(part) + 1
            kept, size = [], 0
        if size <= MAX_RECORD_BYTES:
            kept.append(rest)
        size += len(rest)
    if size:
        yield offset, b"".join(kept)[: MAX_RECORD_BYTES + 1]


def read_slice_lines(source, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    """Yields `(offset, line)` of the lines that begin in a byte range.

    Args:
      source: an uncompressed, seekable file.
      start: first byte of the range; a line that began before it is not of it.
      stop: the byte behind the range; a line that begins before it is whole.
    """
    source.seek(max(start - 1, 0))
    lines = read_lines(read_blocks(source, "none"), max(start - 1, 0))
    if start > 0:
        next(lines, None)  # the end of the line before, or the empty one of its \n
    for offset, line in lines:
        if offset >= stop:
            return
        yield offset, line
