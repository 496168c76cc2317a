"""Histograms of what examples are like, for a model to know its training by."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reviewbeam.components.common.serving_statistics import Statistics, count_texts

_NUMBERS = (
    "characters",
    "tokens",
    "unknown_token_share",
    "emoji_share",
    "non_letter_share",
)


def histograms_by_split(features: pa.RecordBatch) -> Iterator[tuple[str, Statistics]]:
    """Counts the reviews that examples stand for.

    Args:
      features: what `describe` gives.

    Yields:
      Each split that has examples, and the statistics of its reviews.
    """
    columns = {name: features.column(name).flatten() for name in _NUMBERS}
    columns["truncated"] = features.column("truncated").flatten().cast(pa.bool_())
    columns["language"] = pc.list_element(features.column("language"), 0).cast(
        pa.string()
    )
    splits = features.column("split").flatten().cast(pa.string())
    counts = np.asarray(features.column("count").flatten())
    for split in splits.unique().to_pylist():
        mine = pc.equal(splits, split)
        chosen = {name: column.filter(mine) for name, column in columns.items()}
        yield split, count_texts(chosen, counts[np.asarray(mine)])
