import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common.batching import cut_batches


def _plain(batches):
    return [batch.tolist() for batch in batches]


def test_longest_rows_come_first_and_ties_keep_their_order():
    lengths = np.array([2, 5, 3, 5, 2])

    assert _plain(cut_batches(lengths, 10)) == [[1, 3], [2, 0, 4]]
    assert _plain(cut_batches(lengths, 9)) == [[1], [3], [2, 0, 4]]


def test_a_row_above_the_budget_is_alone():
    assert _plain(cut_batches(np.array([3, 20, 3]), 6)) == [[1], [0, 2]]


def test_no_rows_no_batches():
    assert cut_batches(np.array([], np.int32), 8) == []


def test_empty_rows_count_as_one_token():
    assert _plain(cut_batches(np.zeros(5, np.int32), 2)) == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("kind", [np.int32, np.int64])
@given(lengths=st.lists(st.integers(0, 40), max_size=60), budget=st.integers(1, 100))
def test_batches_hold_each_row_once_within_the_budget(kind, lengths, budget):
    lengths = np.array(lengths, kind)
    batches = cut_batches(lengths, budget)

    rows = [row for batch in _plain(batches) for row in batch]
    assert sorted(rows) == list(range(len(lengths)))
    for batch in batches:
        longest = lengths[batch].max()
        assert len(batch) == 1 or len(batch) * longest <= budget
    # Nothing more would have fitted: each batch but the last is as large as can be.
    for batch in batches[:-1]:
        assert (len(batch) + 1) * max(1, lengths[batch[0]]) > budget


@pytest.mark.parametrize("budget", [512, 4096])
def test_little_is_padding_among_ten_thousand_reviews(budget):
    random_ = np.random.default_rng(1)
    # As long as real ones: 34 tokens on average, some of them cut at 256.
    lengths = np.clip(random_.lognormal(3.0, 1.0, 10_000).astype(int) + 2, 3, 256)
    padded = sum(
        len(batch) * lengths[batch].max() for batch in cut_batches(lengths, budget)
    )
    assert 1 - lengths.sum() / padded <= 0.05
