import bz2
import gzip
import io
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewbeam.components.common.filesystems import open_binary
from reviewbeam.components.ingestion import lines
from reviewbeam.components.ingestion.lines import (
    DamagedFileError,
    read_blocks,
    read_lines,
    read_slice_lines,
)

PACKERS = {
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
CONTENT = b"".join(b"line %d of some review\n" % number for number in range(40))
# Few different bytes, so that line ends are frequent.
TEXT = st.lists(st.sampled_from([b"\n", b"\r", b"a", b"\xff", b"bcd"])).map(b"".join)
SHARES = st.lists(st.floats(0, 1), max_size=6)  # of the content, where it is cut


def _expected(content):
    """Offset and content of each line, by plain splitting."""
    found, offset = [], 0
    for line in content.split(b"\n"):
        found.append((offset, line))
        offset += len(line) + 1
    if not found[-1][1]:
        found.pop()  # what is behind the last \n is no line
    return found


def _bounds(content, shares):
    """Places that divide the content, its ends among them; some may be equal."""
    return [0, *sorted(round(share * len(content)) for share in shares), len(content)]


def _unpacked(data, compression, block_bytes=None, monkeypatch=None):
    if block_bytes:
        monkeypatch.setattr(lines, "COMPRESSED_BLOCK_BYTES", block_bytes)
    return b"".join(read_blocks(io.BytesIO(data), compression))


@given(content=TEXT | st.binary(), shares=SHARES)
def test_lines_do_not_depend_on_the_blocks(content, shares):
    bounds = _bounds(content, shares)
    blocks = [content[a:b] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]

    assert list(read_lines(blocks)) == _expected(content)


@given(content=TEXT)
def test_lines_are_those_that_python_reads(content):
    assert [line for _, line in read_lines([content])] == [
        line.removesuffix(b"\n") for line in io.BytesIO(content)
    ]


def test_only_line_feeds_end_a_line():
    content = "a\rb\r\nc\x0bd\x0ce\x85f\u2028g\n".encode()

    assert list(read_lines([content], 100)) == [
        (100, b"a\rb\r"),
        (105, "c\x0bd\x0ce\x85f\u2028g".encode()),
    ]


def _slices(content, bounds):
    found = []
    for start, stop in zip(bounds[:-1], bounds[1:], strict=True):
        part = list(read_slice_lines(io.BytesIO(content), start, stop))
        assert all(start <= offset < stop for offset, _ in part)
        found += part
    return found


@given(content=TEXT | st.binary(), shares=SHARES)
def test_slices_hold_each_line_once(content, shares):
    assert _slices(content, _bounds(content, shares)) == _expected(content)


@pytest.mark.parametrize("content", [b"one\n\ntwo\r\nthree", b"\n\na\n", b"\nlonger\n"])
def test_slices_hold_each_line_once_wherever_two_cuts_are(content):
    for first in range(len(content) + 1):
        for second in range(first, len(content) + 1):
            bounds = [0, first, second, len(content)]
            assert _slices(content, bounds) == _expected(content)


@pytest.mark.parametrize("size", [9, 10, 11, 12, 25, 31])
def test_a_giant_line_is_given_by_its_start(monkeypatch, size):
    monkeypatch.setattr(lines, "MAX_RECORD_BYTES", 10)
    content = b"short\n" + b"x" * size + b"\nlast"
    cut = b"x" * min(size, 11)  # one byte more than is allowed tells that it is long
    expected = [(0, b"short"), (6, cut), (7 + size, b"last")]

    for block in (1, 4, 100):
        blocks = [content[i : i + block] for i in range(0, len(content), block)]
        assert list(read_lines(blocks)) == expected
    assert list(read_lines([content[:-5]]))[-1] == (6, cut)


def test_a_giant_line_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(lines, "MAX_RECORD_BYTES", 10)
    blocks = (bytes(10_000) for _ in range(1000))
    tracemalloc.start()
    found = list(read_lines(blocks))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found == [(0, bytes(11))]
    assert peak < 200_000  # of a line of 10 MB


def test_plain_content_comes_as_it_is(tmp_path):
    path = tmp_path / "plain.gz"  # the name alone says nothing
    path.write_bytes(CONTENT)

    with open_binary(str(path)) as source:
        assert b"".join(read_blocks(source, "none")) == CONTENT


@pytest.mark.parametrize("block_bytes", [1, 7, 10**6])
@pytest.mark.parametrize("compression", PACKERS)
def test_compressed_streams_follow_each_other(monkeypatch, compression, block_bytes):
    pack = PACKERS[compression]
    data = pack(CONTENT) + pack(b"") + pack(b"more\n")

    found = _unpacked(data, compression, block_bytes, monkeypatch)
    assert found == CONTENT + b"more\n"


@pytest.mark.parametrize("block_bytes", [1, 7, 10**6])
@pytest.mark.parametrize("compression", PACKERS)
def test_zeros_between_and_behind_streams_are_padding(
    monkeypatch, compression, block_bytes
):
    pack = PACKERS[compression]
    data = pack(CONTENT) + bytes(9) + pack(b"more\n") + bytes(1000)

    found = _unpacked(data, compression, block_bytes, monkeypatch)
    assert found == CONTENT + b"more\n"


@pytest.mark.parametrize("compression", PACKERS)
def test_what_grows_a_thousandfold_comes_in_small_blocks(compression):
    data = PACKERS[compression](b"\n" * 20_000_000)
    blocks = [len(block) for block in read_blocks(io.BytesIO(data), compression)]

    assert sum(blocks) == 20_000_000
    assert max(blocks) <= lines.BLOCK_BYTES


def _zeros(compression, size):
    """Compresses zeros without holding them."""
    compressor = {
        "gzip": lambda: zlib.compressobj(wbits=31),
        "bz2": bz2.BZ2Compressor,
        "zstd": lambda: zstandard.ZstdCompressor().compressobj(),
    }[compression]()
    parts = [compressor.compress(bytes(10**6)) for _ in range(size // 10**6)]
    return b"".join([*parts, compressor.flush()])


@pytest.mark.parametrize("compression", PACKERS)
def test_what_grows_a_millionfold_does_not_fill_the_memory(compression):
    source = io.BytesIO(_zeros(compression, 64 * 10**6))
    tracemalloc.start()
    size = sum(len(block) for block in read_blocks(source, compression))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert size == 64 * 10**6
    assert peak < 40 * 2**20


def test_the_smallest_blocks_of_zstd_do_not_fill_the_memory():
    frame = b"\x28\xb5\x2f\xfd\x00\x58"  # no size, a window of 2 MiB
    block = (2**17 << 3 | 1 << 1).to_bytes(3, "little") + b"a"  # one byte, 2**17 times
    data = frame + 600 * block + b"\x01\0\0"  # the last one is empty
    tracemalloc.start()
    size = sum(len(block) for block in read_blocks(io.BytesIO(data), "zstd"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert size == 600 * 2**17
    assert peak < 40 * 2**20


RUNS = st.lists(
    st.tuples(st.sampled_from([b"\n", b"\0", b"some words\n", bytes(range(256))]),
              st.integers(0, 1000))
).map(lambda runs: b"".join(part * count for part, count in runs))  # fmt: skip


@settings(deadline=None)
@given(
    streams=st.lists(RUNS, min_size=1, max_size=3),
    compression=st.sampled_from(list(PACKERS)),
    sizes=st.tuples(*[st.sampled_from([1, 5, 100, 10**5])] * 3),
    cut=st.floats(0, 1),
)
def test_content_does_not_depend_on_bounds(streams, compression, sizes, cut):
    data = b"".join(map(PACKERS[compression], streams))
    with pytest.MonkeyPatch.context() as patch:
        names = "BLOCK_BYTES", "COMPRESSED_BLOCK_BYTES", "_ZSTD_BYTES"
        for name, size in zip(names, sizes, strict=True):
            # Reading byte by byte is for what is small.
            least = 100 if len(b"".join(streams)) > 10**5 else 1
            patch.setattr(lines, name, max(size, least))
        assert _unpacked(data, compression) == b"".join(streams)

        found = b""
        try:
            for block in read_blocks(
                io.BytesIO(data[: int(cut * len(data))]), compression
            ):
                found += block
        except DamagedFileError as error:
            assert "ends before its end mark" in f"{error}"
    assert b"".join(streams).startswith(found)


@pytest.mark.parametrize("compression", PACKERS)
def test_before_the_damage_all_is_given_however_it_grew(compression):
    data = _zeros(compression, 5 * 10**6)

    size = 0
    with pytest.raises(DamagedFileError, match="ends before its end mark"):
        for block in read_blocks(io.BytesIO(data[:-1]), compression):
            size += len(block)
    assert size > 5 * 10**6 - 2**17  # a block of zstd comes whole or not at all


@pytest.mark.parametrize("compression", PACKERS)
def test_a_stream_cut_short_at_any_place_is_damaged(compression):
    pack = PACKERS[compression]
    first, second = pack(CONTENT), pack(b"more\n")
    data = first + second

    for size in range(1, len(data)):
        if size == len(first):  # the whole first stream: nothing tells of the second
            continue
        with pytest.raises(DamagedFileError, match=f"its {compression} data (ends|is)"):
            _unpacked(data[:size], compression)


@pytest.mark.parametrize("compression", PACKERS)
def test_what_came_before_the_damage_is_given(compression):
    data = PACKERS[compression](CONTENT) + PACKERS[compression](b"more\n")[:-3]
    blocks = read_blocks(io.BytesIO(data), compression)

    found = b""
    with pytest.raises(DamagedFileError):
        for block in blocks:
            found += block
    assert found.startswith(CONTENT)


@pytest.mark.parametrize("compression", PACKERS)
@pytest.mark.parametrize("rest", [b"\n", b"rubbish", b"\0\0rubbish"])
def test_anything_else_behind_a_stream_is_damage(compression, rest):
    with pytest.raises(DamagedFileError):
        _unpacked(PACKERS[compression](CONTENT) + rest, compression)


def test_a_wrong_checksum_is_damage():
    data = bytearray(gzip.compress(CONTENT))
    data[-5] ^= 1

    with pytest.raises(DamagedFileError, match="gzip data is broken"):
        _unpacked(bytes(data), "gzip")
