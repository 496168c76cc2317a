"""What can be told about an example without its text: the features of statistics."""

import pyarrow as pa
import pyarrow.compute as pc

from reviewbeam.components.common.language_codes import shown_languages
from reviewbeam.components.examples.encode import as_lists

# Pictures and their modifiers by code point, as far as they are never text: RE2
# knows no \p{Emoji}, and \p{So} has © and ° as well.
_EMOJI = (
    r"[\x{231A}\x{231B}\x{23E9}-\x{23FA}\x{2600}-\x{27BF}\x{2B05}-\x{2B55}"
    r"\x{1F000}-\x{1FAFF}]"
)
# Digits, punctuation, symbols, controls.
_NO_LETTER = r"[^\p{L}\p{M}\p{Z}\s]"
_ORIGIN = ("file", "slice", "row")


def describe(examples: pa.RecordBatch, label_names: tuple[str, ...]) -> pa.RecordBatch:
    """Returns what statistics are made of: all that can be told about a text.

    The text itself stays out: TFDV counts the top values of every string. So does
    anything in the language column that doesn't look like a language's code.

    Args:
      examples: with the columns `split`, `label_index` (int32, or a list of int32
        with 0 or more classes), `language`, `text`, `tokens`, `unknown_tokens`,
        `truncated`, `count`, `file`, `slice` and `row`.
      label_names: the names of the classes, in the order of their indices.

    Returns:
      Features in TFDV's form, as lists: `split`, `label` and `language` (binary),
      `characters` (Unicode code points), `tokens`, `truncated` (0 or 1) and `count`
      (int64), `unknown_token_share` of the tokens, `emoji_share` and
      `non_letter_share` of the characters (float32, 0 to 1). A null language and a
      review without labels are null. Then `file`, `slice` and `row` as they are,
      which are no features: they tell where a value comes from.
    """
    text, tokens = examples.column("text"), examples.column("tokens")
    characters = pc.utf8_length(text)
    columns = {
        "split": as_lists(examples.column("split")),
        "label": _label_lists(examples.column("label_index"), label_names),
        "language": as_lists(shown_languages(examples.column("language"))),
        "characters": as_lists(characters.cast(pa.int64())),
        "tokens": as_lists(tokens.cast(pa.int64())),
        "unknown_token_share": _shares(examples.column("unknown_tokens"), tokens),
        "emoji_share": _shares(_count(text, _EMOJI), characters),
        "non_letter_share": _shares(_count(text, _NO_LETTER), characters),
        "truncated": as_lists(examples.column("truncated").cast(pa.int64())),
        "count": as_lists(examples.column("count")),
    } | {name: examples.column(name) for name in _ORIGIN}
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _label_lists(indices: pa.Array, label_names: tuple[str, ...]) -> pa.ListArray:
    names = pa.array([name.encode() for name in label_names], pa.binary())
    if not pa.types.is_list(indices.type):
        return as_lists(names.take(indices))
    lengths = pc.fill_null(pc.list_value_length(indices), 0)
    ends = pc.cumulative_sum(lengths.cast(pa.int32()))
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
    # TFDV counts an empty list as present: no labels is a missing value.
    mask = pa.concat_arrays([pc.equal(lengths, 0), pa.array([False])])
    offsets = pc.if_else(mask, pa.scalar(None, pa.int32()), offsets)
    return pa.ListArray.from_arrays(offsets, names.take(indices.flatten()))


def _count(text: pa.Array, pattern: str) -> pa.Array:
    return pc.count_substring_regex(text, pattern)


def _shares(parts: pa.Array, wholes: pa.Array) -> pa.ListArray:
    """Returns parts / wholes as lists of float32; nothing of nothing is 0."""
    wholes = pc.max_element_wise(wholes, pa.scalar(1, wholes.type))
    return as_lists(pc.divide(parts.cast(pa.float32()), wholes.cast(pa.float32())))
