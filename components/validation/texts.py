"""What is wrong with a text, and how it is mended."""

import unicodedata

import pyarrow as pa
import pyarrow.compute as pc

_NUL = r"\x00"
# Neither white space nor NUL; C1 but for NEL, which is white space.
_CONTROL = r"[\x01-\x08\x0E-\x1B\x7F-\x{84}\x{86}-\x{9F}]"
# A character that shows: neither white space nor control, format or private use, no
# variation selector, nothing that fills a blank, nor what stands for a lost one.
_VISIBLE = (
    r"[^\p{C}\p{Z}\s\x{34F}\x{115F}\x{1160}\x{2800}\x{3164}\x{FE00}-\x{FE0F}\x{FFA0}"
    r"\x{FFFD}\x{E0100}-\x{E01EF}]"
)
# Without any of these a text is composed, and most have none: marks, the jamo behind a
# first one, and what NFC always replaces.
_MAY_COMPOSE = (
    r"[\p{M}\x{1160}-\x{11FF}\x{374}-\x{387}\x{958}-\x{95F}\x{9DC}-\x{9DF}"
    r"\x{A33}-\x{A5E}\x{B5C}\x{B5D}\x{F43}-\x{F69}\x{1F71}-\x{1FFD}\x{2000}\x{2001}"
    r"\x{2126}-\x{212B}\x{2329}\x{232A}\x{2ADC}\x{F900}-\x{FB4E}\x{1D15E}-\x{1D1C0}"
    r"\x{2F800}-\x{2FA1D}]"
)


def is_blank(texts: pa.Array) -> pa.Array:
    """Tells which texts have no character that shows; bool, null for null."""
    return pc.invert(pc.match_substring_regex(texts, _VISIBLE))


def has_nul(texts: pa.Array) -> pa.Array:
    """Tells which texts hold NUL; bool, null for null."""
    return pc.match_substring_regex(texts, _NUL)


def without_nul(texts: pa.Array) -> pa.Array:
    """Takes NUL out."""
    return pc.replace_substring_regex(texts, _NUL, "")


def has_control(texts: pa.Array) -> pa.Array:
    """Tells which texts hold control characters besides NUL; bool, null for null."""
    return pc.match_substring_regex(texts, _CONTROL)


def without_control(texts: pa.Array) -> pa.Array:
    """Takes control characters out."""
    return pc.replace_substring_regex(texts, _CONTROL, "")


def is_not_nfc(texts: pa.Array) -> pa.Array:
    """Tells which texts are not composed, as in Unicode's NFC; bool, null for null."""
    may = pc.match_substring_regex(texts, _MAY_COMPOSE)
    normal = [
        unicodedata.is_normalized("NFC", text) for text in texts.filter(may).to_pylist()
    ]
    return pc.replace_with_mask(
        may, pc.fill_null(may, False), pc.invert(pa.array(normal, pa.bool_()))
    )


def composed(texts: pa.Array) -> pa.Array:
    """Brings texts into NFC."""
    return pa.array(
        [t and unicodedata.normalize("NFC", t) for t in texts.to_pylist()], pa.string()
    )


def shortened(texts: pa.Array, characters: int) -> pa.Array:
    """Cuts texts behind a number of characters, and white space at the new end."""
    return pc.utf8_rtrim_whitespace(pc.utf8_slice_codeunits(texts, 0, characters))
