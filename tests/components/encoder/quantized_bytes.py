"""Writes a small file in the layout of `e5-small-q4.bin`, for tests."""

import struct

import numpy as np

HIDDEN, LAYERS, HEADS, FFN = 32, 2, 2, 64
POSITIONS, TOKEN_TYPES = 6, 2
PIECES = ("<s>", "<pad>", "</s>", "<unk>", "▁", "▁good", "bad", "é", "<mask>")
SCORES = (0.0, 0.0, 0.0, 0.0, -3.0, -1.5, -2.5, -4.0, 0.0)
ROWS = len(PIECES) + 3  # the published file has unused rows too


def quantize(values: np.ndarray) -> bytes:
    """Packs values into blocks of a float16 scale and 32 nibbles."""
    blocks = []
    for block in values.reshape(-1, 32):
        scale = np.float16(max(abs(block).max() / 7, 1e-4))
        nibbles = (np.clip(np.round(block / scale), -8, 7) + 8).astype(np.uint8)
        blocks.append(scale.tobytes() + bytes(nibbles[:16] | nibbles[16:] << 4))
    return b"".join(blocks)


def random_tensors(seed: int = 0) -> dict[str, np.ndarray]:
    """Returns the file's tensors by its names; matrices are [out, in]."""
    random = np.random.default_rng(seed)
    shapes = {
        "emb.word": (ROWS, HIDDEN),
        "emb.pos": (POSITIONS, HIDDEN),
        "emb.type": (TOKEN_TYPES, HIDDEN),
        "emb.ln.w": (HIDDEN,),
        "emb.ln.b": (HIDDEN,),
    }
    for layer in range(LAYERS):
        for name in ("q", "k", "v", "ao", "fi", "fo"):
            rows = FFN if name == "fi" else HIDDEN
            columns = FFN if name == "fo" else HIDDEN
            shapes[f"l{layer}.{name}.w"] = (rows, columns)
            shapes[f"l{layer}.{name}.b"] = (rows,)
        for name in ("aln", "oln"):
            shapes[f"l{layer}.{name}.w"] = (HIDDEN,)
            shapes[f"l{layer}.{name}.b"] = (HIDDEN,)
    return {
        name: random.normal(0, 0.3, shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def quantized_bytes(tensors: dict[str, np.ndarray]) -> bytes:
    """Returns the file: matrices of layers and words in 4 bits, the rest float32."""
    text = [piece.encode() for piece in PIECES]
    offsets = np.cumsum([0] + [len(piece) for piece in text])
    table = b"\x07" * 13  # of a length that leaves what follows unaligned
    head = b"".join(
        [
            struct.pack("<4sI", b"E5S1", 1),
            struct.pack(
                "<7i", HIDDEN, LAYERS, HEADS, FFN, ROWS, POSITIONS, TOKEN_TYPES
            ),
            struct.pack("<fi", 1e-12, 32),
            struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, offsets[-1]),
            offsets.astype("<u4").tobytes(),
            np.array(SCORES, "<f4").tobytes(),
            b"".join(text),
            struct.pack("<iI", 3, len(table)) + table,
            struct.pack("<i", len(tensors)),
        ]
    )
    stored = {}
    for name, values in tensors.items():
        packed = values.ndim == 2 and name not in ("emb.pos", "emb.type")
        stored[name] = (packed, quantize(values) if packed else values.tobytes())
    offset = len(head) + sum(2 + len(name) + 21 for name in tensors)
    entries, body = [], []
    for name, (packed, data) in stored.items():
        entries.append(struct.pack("<H", len(name)) + name.encode())
        entries.append(
            struct.pack("<BIQQ", packed, tensors[name].size, offset, len(data))
        )
        body.append(data)
        offset += len(data)
    return head + b"".join(entries) + b"".join(body)
