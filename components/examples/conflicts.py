"""Reviews that disagree with others elsewhere in the corpus.

A repeated id or a group in several splits shows only when reviews meet by that id or
group, while examples are made where reviews meet by their text. So small facts of
each review are shuffled by id or group, and notices go to the partition of its text.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from reviewbeam.components.common.columns import (
    concat_batches,
    from_bytes,
    to_bytes,
)
from reviewbeam.components.common.prepare_config import SplitRules
from reviewbeam.components.examples.keys import key_numbers
from reviewbeam.components.examples.splits import own_ranks

ID_REPEATED = "id_repeated"
GROUP_CONFLICT = "left_out.group_conflict"  # its group is in a more reserved split
_PLACE = ["file", "slice", "row"]


def partitioned(
    batch: pa.RecordBatch, numbers: np.ndarray, partitions: int
) -> Iterator[tuple[int, bytes]]:
    """Yields (partition, its rows as bytes) by a uint64 number of each row."""
    partition = numbers % partitions
    order = np.argsort(partition, kind="stable")
    sizes = np.bincount(partition.astype(np.int64), minlength=partitions)
    ordered = batch.take(pa.array(order))
    start = 0
    for number, size in enumerate(sizes.tolist()):
        if size:
            yield number, to_bytes(ordered.slice(start, size))
        start += size


def facts(
    reviews: pa.RecordBatch, column: str, partitions: int
) -> Iterator[tuple[int, bytes]]:
    """Yields (partition, facts of reviews) by the hash of their id or group.

    Args:
      reviews: with `text_key`; those without a value in the column have no say.
      column: `id` or `group`.
      partitions: how many.
    """
    reviews = reviews.filter(pc.is_valid(reviews.column(column)))
    if not reviews.num_rows:
        return
    values = np.array(reviews.column(column).to_pylist(), object)
    met_by = pd.util.hash_array(values, categorize=False)
    text = key_numbers(reviews.column("text_key"))[:, 0]
    names = [*_PLACE]
    if column == "group":  # what a review's own split follows from
        names += ["text_key", "group", "time", "given_split"]
    batch = pa.RecordBatch.from_arrays(
        [*(reviews.column(n) for n in names), pa.array(met_by), pa.array(text)],
        names=[*names, "met_by", "text"],
    )
    yield from partitioned(batch, met_by, partitions)


def repeated_ids(compressed: Iterable[bytes]) -> pa.RecordBatch:
    """Returns the facts of reviews whose id belongs to another text.

    Of the texts under one id the one with the least hash has it, with its copies.

    Args:
      compressed: the facts of all reviews with some ids.
    """
    batch = _joined(compressed)
    ids, texts = (np.asarray(batch.column(name)) for name in ("met_by", "text"))
    order = np.lexsort((texts, ids))
    ids, texts = ids[order], texts[order]
    first = np.append(True, ids[1:] != ids[:-1])
    owner = texts[np.maximum.accumulate(np.where(first, np.arange(len(ids)), 0))]
    return batch.take(pa.array(order[texts != owner]))


def group_conflicts(
    compressed: Iterable[bytes], rules: SplitRules, latest: str | None
) -> pa.RecordBatch:
    """Returns the facts of reviews whose group is in a more reserved split.

    Args:
      compressed: the facts of all reviews of some groups.
      rules: how the corpus is divided.
      latest: time of the corpus's latest review, where they go by time.
    """
    batch = _joined(compressed)
    ranks = own_ranks(batch, rules, latest)
    _, group = np.unique(np.asarray(batch.column("met_by")), return_inverse=True)
    best = np.zeros(group.max() + 1, np.int8)
    np.maximum.at(best, group, ranks)
    return batch.filter(pa.array(ranks < best[group]))


def notices(
    found: pa.RecordBatch, fate: str, partitions: int
) -> Iterator[tuple[int, bytes]]:
    """Yields (partition of the text, places of reviews with that fate)."""
    texts = np.asarray(found.column("text"))
    batch = pa.RecordBatch.from_arrays(
        [*(found.column(name) for name in _PLACE), pa.array([fate] * len(texts))],
        names=[*_PLACE, "fate"],
    )
    yield from partitioned(batch, texts, partitions)


def count_files(found: pa.RecordBatch, outcome: str) -> Counter:
    """Returns (file, outcome) -> reviews."""
    pairs = pc.value_counts(found.column("file")).to_pylist()
    return Counter({(pair["values"], outcome): pair["counts"] for pair in pairs})


def is_notice(batch: pa.RecordBatch) -> bool:
    """Tells what came by `notices` from reviews."""
    return "fate" in batch.schema.names


def apply_notices(
    reviews: pa.RecordBatch, told: list[pa.RecordBatch]
) -> tuple[pa.RecordBatch, dict[str, pa.RecordBatch]]:
    """Takes out the reviews that notices name.

    Returns:
      The other reviews; and by fate those taken out. A rejection goes before all.
    """
    taken: dict[str, pa.RecordBatch] = {}
    for fate in (ID_REPEATED, GROUP_CONFLICT):
        mine = [n for n in told if n.column("fate")[0].as_py() == fate]
        if not mine:
            continue
        places = pa.concat_arrays([_places(batch) for batch in mine])
        found = pc.is_in(_places(reviews), places)
        taken[fate] = reviews.filter(found)
        reviews = reviews.filter(pc.invert(found))
    return reviews, taken


def _places(batch: pa.RecordBatch) -> pa.Array:
    file, *numbers = (batch.column(name) for name in _PLACE)
    numbers = [number.cast(pa.string()) for number in numbers]
    return pc.binary_join_element_wise(file, *numbers, "/")


def _joined(compressed: Iterable[bytes]) -> pa.RecordBatch:
    batches = [from_bytes(data) for data in compressed]
    return concat_batches(batches, batches[0].schema)
