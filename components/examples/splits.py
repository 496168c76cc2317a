"""Which split a review is for: by hash, by time or as given."""

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reviewbeam.components.common.prepare_config import SPLITS, SplitRules
from reviewbeam.components.examples.keys import KEY_BYTES, key_bytes, share_of

# The more reserved a split, the higher its rank: nothing of test goes to train.
TRAIN, VALIDATION, TEST = range(len(SPLITS))


def own_ranks(
    reviews: pa.RecordBatch, rules: SplitRules, latest: str | None
) -> np.ndarray:
    """Returns the rank of each review's split, before others have a say.

    Args:
      reviews: with the columns `text_key`, `group`, `time`, `given_split`.
      rules: how the corpus is divided.
      latest: time of the corpus's latest review, where they go by time.

    Returns:
      int8 [rows].
    """
    ranks = _by_hash(reviews, rules)
    if rules.time_column:
        in_test = pc.greater(
            reviews.column("time"), _last_of_training(latest, rules.test_days)
        )
        ranks[np.asarray(in_test)] = TEST
    elif rules.column:
        values = {value: SPLITS.index(split) for value, split in rules.values.items()}
        place = pc.index_in(
            reviews.column("given_split"), pa.array(list(values), pa.string())
        )
        given = np.array(list(values.values()), np.int8)[np.asarray(place)]
        ranks = np.where(given == TRAIN, ranks, given)
    return ranks


def needs_groups(rules: SplitRules) -> bool:
    """Tells whether reviews of one group can be meant for different splits."""
    return bool(rules.group_by and (rules.time_column or rules.column))


def _last_of_training(latest: str, test_days: float) -> str:
    """Returns the last time that isn't within so many days of the latest one."""
    latest_time = datetime.datetime.fromisoformat(latest)
    try:
        last = latest_time - datetime.timedelta(days=test_days)
    except OverflowError:  # more days than there are dates
        return ""
    return last.isoformat(timespec="seconds")


def _by_hash(reviews: pa.RecordBatch, rules: SplitRules) -> np.ndarray:
    test, reserved = rules.test_share, rules.test_share + rules.validation_share
    if not reserved:
        return np.zeros(reviews.num_rows, np.int8)
    # Test comes first, so that what was once in test stays there when the share of
    # validation changes.
    keys = key_bytes(reviews.column("text_key"))
    decides = [keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES)]
    groups = reviews.column("group")
    if groups.null_count < len(groups):
        decides = [
            key if group is None else b"group:" + group.encode()
            for key, group in zip(decides, groups.to_pylist(), strict=True)
        ]
    shares = np.array([share_of(value, rules.salt) for value in decides])
    return np.where(
        shares < test, TEST, np.where(shares < reserved, VALIDATION, TRAIN)
    ).astype(np.int8)
