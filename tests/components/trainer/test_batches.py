import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis.extra import numpy as hnp

from reviewbeam.components.trainer.batches import (
    plan_batches,
    plan_in_order_of_length,
)

lengths_of_rows = hnp.arrays(
    np.int64, st.integers(0, 300), elements=st.integers(2, 200)
)


def review_lengths(rows):
    """Tokens of reviews: half below 20, a few of some hundreds."""
    random = np.random.default_rng(5)
    return np.clip(random.lognormal(3.0, 0.9, rows).astype(int) + 2, 3, 256)


@hypothesis.given(lengths_of_rows, st.integers(8, 500), st.integers(0, 9))
@hypothesis.settings(deadline=None)
def test_each_row_once_and_the_budget_held(lengths, budget, epoch):
    for plan in (
        plan_batches(lengths, budget, seed=3, epoch=epoch),
        plan_in_order_of_length(lengths, budget),
    ):
        assert sorted(plan.rows.tolist()) == list(range(len(lengths)))
        for index in range(len(plan)):
            batch = lengths[plan.batch(index)]
            assert len(batch) >= 1
            assert len(batch) * batch.max() <= budget or len(batch) == 1
            # What is more than half full holds little padding.
            cells = len(batch) * batch.max()
            assert batch.sum() >= 0.95 * cells or cells <= budget / 2
            assert plan.tokens[index] == batch.sum()
            assert plan.cells[index] == len(batch) * batch.max()


def test_equal_arguments_give_equal_plans_and_epochs_differ():
    lengths = review_lengths(500)
    first, again, later, other = (
        plan_batches(lengths, 512, seed=seed, epoch=epoch)
        for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0))
    )
    np.testing.assert_array_equal(first.rows, again.rows)
    np.testing.assert_array_equal(first.starts, again.starts)
    assert (first.rows != later.rows).any()
    assert (first.rows != other.rows).any()


@pytest.mark.parametrize("rows", [3_000, 30_000])
@pytest.mark.parametrize("budget", [1024, 2048])
def test_padding_is_at_most_five_percent(rows, budget):
    plan = plan_batches(review_lengths(rows), budget, seed=1, epoch=0)
    assert plan.padding_share <= 0.05
    # Not bought with batches that are hardly filled.
    assert plan.cells.mean() >= 0.75 * budget


def test_batch_mates_and_batch_order_change_between_epochs():
    lengths = review_lengths(30_000)
    plans = [plan_batches(lengths, 1024, seed=1, epoch=epoch) for epoch in (0, 1)]
    first, second = (batch_of_each_row(plan) for plan in plans)
    _, pair, counts = np.unique(
        first * len(plans[1]) + second, return_inverse=True, return_counts=True
    )
    mates = np.bincount(first)[first] - 1
    still_mates = counts[pair] - 1
    share = still_mates / np.maximum(mates, 1)
    assert share.mean() < 0.15
    # Sorted by the bare length, the rare long rows would always meet the same ones.
    assert share[lengths >= 80].mean() < 0.15
    # Short and long batches alternate: no trend from the first to the last.
    longest = plans[0].cells / np.diff(plans[0].starts)
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.1


def batch_of_each_row(plan):
    batch_of = np.empty(len(plan.rows), int)
    batch_of[plan.rows] = np.repeat(np.arange(len(plan)), np.diff(plan.starts))
    return batch_of


def test_a_row_above_the_budget_stands_alone():
    plan = plan_in_order_of_length(np.array([4, 50, 4, 4]), 12)
    assert [plan.batch(index).tolist() for index in range(len(plan))] == [
        [0, 2, 3],
        [1],
    ]
    assert plan.padding_share == 0


def test_no_rows_make_no_batches():
    assert len(plan_batches(np.zeros(0, int), 100, seed=1, epoch=0)) == 0
