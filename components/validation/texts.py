"""What is wrong with a text, and how it is mended."""

import unicodedata

import pyarrow as pa
import pyarrow.compute as pc

_NUL = r"\x00"
# Neither white space nor NUL; C1 but for NEL, which is white space.
_CONTROL = r"[\x01-\x08\x0E-\x1B\x7F-\x{84}\x{86}-\x{9F}]"
# A character that shows: neither white space nor control, format or private use.
_VISIBLE = r"[^\p{C}\p{Z}\s]"


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
    ascii_only = pc.string_is_ascii(texts)
    return pa.array(
        [
            None
            if text is None
            else not (plain or unicodedata.is_normalized("NFC", text))
            for text, plain in zip(
                texts.to_pylist(), ascii_only.to_pylist(), strict=True
            )
        ],
        pa.bool_(),
    )


def composed(texts: pa.Array) -> pa.Array:
    """Brings texts into NFC."""
    return pa.array(
        [t and unicodedata.normalize("NFC", t) for t in texts.to_pylist()], pa.string()
    )


def shortened(texts: pa.Array, characters: int) -> pa.Array:
    """Cuts texts behind a number of characters."""
    return pc.utf8_slice_codeunits(texts, 0, characters)
