"""What can be told about a text without showing it."""

import pyarrow as pa
import pyarrow.compute as pc

# Pictures and their modifiers by code point, as far as they are never text: RE2
# knows no \p{Emoji}, and \p{So} has © and ° as well.
_EMOJI = (
    r"[\x{231A}\x{231B}\x{23E9}-\x{23FA}\x{2600}-\x{27BF}\x{2B05}-\x{2B55}"
    r"\x{1F000}-\x{1FAFF}]"
)
# Digits, punctuation, symbols, controls.
_NO_LETTER = r"[^\p{L}\p{M}\p{Z}\s]"


def text_features(
    text: pa.Array, tokens: pa.Array, unknown_tokens: pa.Array
) -> dict[str, pa.Array]:
    """Measures texts.

    Args:
      text: strings.
      tokens: integers, how many each has.
      unknown_tokens: integers, how many of these the vocabulary doesn't have.

    Returns:
      `characters` (Unicode code points) and `tokens` (int64), `unknown_token_share` of
      the tokens, `emoji_share` and `non_letter_share` of the characters (float32, 0 to
      1).
    """
    characters = pc.utf8_length(text)
    return {
        "characters": characters.cast(pa.int64()),
        "tokens": tokens.cast(pa.int64()),
        "unknown_token_share": _shares(unknown_tokens, tokens),
        "emoji_share": _shares(pc.count_substring_regex(text, _EMOJI), characters),
        "non_letter_share": _shares(
            pc.count_substring_regex(text, _NO_LETTER), characters
        ),
    }


def _shares(parts: pa.Array, wholes: pa.Array) -> pa.Array:
    """Returns parts / wholes as float32; nothing of nothing is 0."""
    wholes = pc.max_element_wise(wholes, pa.scalar(1, wholes.type))
    return pc.divide(parts.cast(pa.float32()), wholes.cast(pa.float32()))
