"""What can be told about an example without its text: the features of statistics."""

import pyarrow as pa
import pyarrow.compute as pc

from reviewbeam.components.common.language_codes import shown_languages
from reviewbeam.components.common.text_features import text_features
from reviewbeam.components.examples.encode import as_lists

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
    measured = text_features(
        *(examples.column(name) for name in ("text", "tokens", "unknown_tokens"))
    )
    columns = {
        "split": as_lists(examples.column("split")),
        "label": _label_lists(examples.column("label_index"), label_names),
        "language": as_lists(shown_languages(examples.column("language"))),
        **{name: as_lists(column) for name, column in measured.items()},
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
