import numpy as np
import pytest

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.encoder.quantized_file import Sizes, dequantize, parse
from tests.components.encoder.quantized_bytes import (
    PIECES,
    SCORES,
    quantized_bytes,
    random_tensors,
)


def test_dequantizes_blocks_computed_by_hand():
    # Byte i holds i in its low nibble (value i) and 15 - i in its high nibble
    # (value 16 + i).
    packed = bytes(i | (15 - i) << 4 for i in range(16))
    half, minus_two = b"\x00\x38", b"\x00\xc0"  # float16, little endian
    raw = np.frombuffer(half + packed + minus_two + packed, np.uint8)

    values = dequantize(raw)

    low = [-4.0, -3.5, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5]
    low += [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]
    block = low + low[::-1]
    assert values.dtype == np.float32
    assert values.tolist() == block + [-4 * value for value in block]


def test_reads_sizes_pieces_and_scores():
    file = parse(quantized_bytes(random_tensors()))

    assert file.sizes == Sizes(
        hidden=32,
        layers=2,
        heads=2,
        ffn=64,
        vocabulary=12,
        positions=6,
        token_types=2,
    )
    assert file.pieces == list(PIECES)
    assert file.scores.tolist() == list(SCORES)


def test_reads_both_kinds_of_tensors():
    tensors = random_tensors()
    file = parse(quantized_bytes(tensors))

    np.testing.assert_array_equal(
        file.tensor("l1.fi.b"), tensors["l1.fi.b"]
    )  # float32: exact
    found, expected = file.tensor("l1.fo.w"), tensors["l1.fo.w"].ravel()
    # 4 bits: within half a step, and a step is a seventh of the block's largest.
    assert abs(found - expected).max() < 0.51 * abs(expected).max() / 7
    assert np.corrcoef(found, expected)[0, 1] > 0.99


@pytest.mark.parametrize("length", [0, 3, 20, 60, 90, 120, 160, 300])
def test_refuses_a_head_that_was_cut_short(length):
    with pytest.raises(UserError, match="not a whole `E5S1` file"):
        parse(quantized_bytes(random_tensors())[:length])


def test_refuses_another_magic():
    data = b"GGUF" + quantized_bytes(random_tensors())[4:]
    with pytest.raises(UserError, match="GGUF"):
        parse(data)


@pytest.mark.parametrize(
    ("place", "number", "message"),
    [
        (4, 2, "version 2"),
        (40, 64, "its blocks hold 64 values, 32 were expected"),
        (48, 4, "its special ids are not those of XLM-R"),
    ],
)
def test_refuses_another_number_in_the_head(place, number, message):
    data = bytearray(quantized_bytes(random_tensors()))
    data[place : place + 4] = number.to_bytes(4, "little")
    with pytest.raises(UserError, match=message):
        parse(bytes(data))


def test_refuses_a_tensor_that_was_cut_short():
    file = parse(quantized_bytes(random_tensors())[:-8])
    with pytest.raises(UserError, match="'l1.oln.b' of the quantised encoder is dam"):
        file.tensor("l1.oln.b")


def test_refuses_a_tensor_that_is_not_there():
    with pytest.raises(UserError, match="no tensor 'l2.q.w'"):
        parse(quantized_bytes(random_tensors())).tensor("l2.q.w")
