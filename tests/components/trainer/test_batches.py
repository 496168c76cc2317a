import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis.extra import numpy as hnp

from reviewbeam.components.trainer.batches import (
    mates_kept,
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


def plan_all(lengths, budget, **options):
    """Plans an epoch that sees every row once."""
    options = {"seed": 1, "epoch": 0} | options
    return plan_batches(np.arange(len(lengths)), lengths, budget, **options)


@hypothesis.given(lengths_of_rows, st.integers(8, 500), st.integers(0, 9))
@hypothesis.settings(deadline=None)
def test_each_row_once_and_the_budget_held(lengths, budget, epoch):
    for plan in (
        plan_all(lengths, budget, seed=3, epoch=epoch),
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
            assert plan.shapes[index].tolist() == [len(batch), batch.max()]
            assert plan.cells[index] == cells


@hypothesis.given(lengths_of_rows, st.integers(8, 500), st.integers(0, 9))
@hypothesis.settings(deadline=None)
def test_few_shapes_are_full_rectangles_of_few_widths(lengths, budget, epoch):
    plan = plan_all(lengths, budget, epoch=epoch, few_shapes=True)
    assert sorted(plan.rows.tolist()) == list(range(len(lengths)))
    assert len(plan.shapes) == len(plan)
    for index, (rows, width) in enumerate(plan.shapes.tolist()):
        batch = lengths[plan.batch(index)]
        assert plan.tokens[index] == batch.sum()
        assert width == 32 * -(-batch.max() // 32)
        # As many rows as the budget has room for, whether there are so many or not.
        assert rows == max(budget // width, 1)
        assert len(batch) <= rows


def test_few_shapes_are_few_where_there_would_be_many():
    lengths = review_lengths(3_000)
    many = plan_all(lengths, 1024)
    few = plan_all(lengths, 1024, few_shapes=True)
    assert len(np.unique(many.shapes, axis=0)) > 50
    assert len(np.unique(few.shapes, axis=0)) <= 256 // 32
    # The batches are as full as the widths let them be.
    rows = np.diff(few.starts)
    assert (rows == few.shapes[:, 0]).mean() > 0.9


@hypothesis.given(lengths_of_rows, st.data())
@hypothesis.settings(deadline=None)
def test_rows_seen_twice_or_not_at_all(lengths, data):
    rows = data.draw(
        hnp.arrays(
            np.int64,
            st.integers(0, 300) if len(lengths) else 0,
            elements=st.integers(0, max(len(lengths) - 1, 0)),
        )
    )
    plan = plan_batches(rows, lengths, 300, seed=1, epoch=0)
    assert sorted(plan.rows.tolist()) == sorted(rows.tolist())
    for index in range(len(plan)):
        batch = lengths[plan.batch(index)]
        assert plan.shapes[index].tolist() == [len(batch), batch.max()]
        assert plan.tokens[index] == batch.sum()
    assert plan.tokens.sum() == lengths[rows].sum()


def test_equal_arguments_give_equal_plans_and_epochs_differ():
    lengths = review_lengths(500)
    first, again, later, other = (
        plan_all(lengths, 512, seed=seed, epoch=epoch)
        for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0))
    )
    np.testing.assert_array_equal(first.rows, again.rows)
    np.testing.assert_array_equal(first.starts, again.starts)
    np.testing.assert_array_equal(first.shapes, again.shapes)
    assert (first.rows != later.rows).any()
    assert (first.rows != other.rows).any()


def test_rows_of_one_length_change_their_mates_too():
    plans = [plan_all(np.full(200, 8), 64, epoch=epoch) for epoch in (0, 1)]
    assert mates_kept(*plans) < 0.15


@pytest.mark.parametrize("rows", [3_000, 30_000])
@pytest.mark.parametrize("budget", [1024, 2048])
def test_padding_is_at_most_five_percent(rows, budget):
    plan = plan_all(review_lengths(rows), budget)
    assert plan.padding_share <= 0.05
    # Not bought with batches that are hardly filled.
    assert plan.cells.mean() >= 0.75 * budget


def test_batch_mates_and_batch_order_change_between_epochs():
    lengths = review_lengths(30_000)
    plans = [plan_all(lengths, 1024, epoch=epoch) for epoch in (0, 1)]
    first, second = (batch_of_each_row(plan) for plan in plans)
    _, pair, counts = np.unique(
        first * len(plans[1]) + second, return_inverse=True, return_counts=True
    )
    mates = np.bincount(first)[first] - 1
    still_mates = counts[pair] - 1
    share = still_mates / np.maximum(mates, 1)
    assert share.mean() < 0.15
    assert mates_kept(*plans) < 0.15
    # Sorted by the bare length, the rare long rows would always meet the same ones.
    assert share[lengths >= 80].mean() < 0.15
    # Short and long batches alternate: no trend from the first to the last.
    longest = plans[0].shapes[:, 1]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.1


def batch_of_each_row(plan):
    batch_of = np.empty(len(plan.rows), int)
    batch_of[plan.rows] = np.repeat(np.arange(len(plan)), np.diff(plan.starts))
    return batch_of


def counted_mates_kept(before, after):
    """The share, row by row; a row that is seen twice is in its last batch."""
    batch_of = [
        {row: i for i in range(len(plan)) for row in plan.batch(i).tolist()}
        for plan in (before, after)
    ]
    shared = batch_of[0].keys() & batch_of[1].keys()
    shares = []
    for one in shared:
        mates = [
            other for other in shared - {one} if batch_of[0][one] == batch_of[0][other]
        ]
        kept = [batch_of[1][one] == batch_of[1][other] for other in mates]
        if kept:
            shares.append(sum(kept) / len(kept))
    return sum(shares) / len(shares) if shares else 0.0


@hypothesis.given(st.data(), st.integers(0, 60), st.integers(8, 100))
@hypothesis.settings(deadline=None)
def test_mates_kept_is_what_counting_pairs_gives(data, count, budget):
    lengths = np.random.default_rng(count).integers(2, 12, max(count, 1))
    rows = hnp.arrays(np.int64, count, elements=st.integers(0, len(lengths) - 1))
    plans = [
        plan_batches(data.draw(rows), lengths, budget, seed=1, epoch=epoch)
        for epoch in (0, 1)
    ]
    expected = counted_mates_kept(*plans)
    assert mates_kept(*plans) == pytest.approx(expected, abs=1e-12)


def test_mates_kept_is_one_of_a_plan_and_itself():
    plan = plan_all(review_lengths(500), 512)
    assert mates_kept(plan, plan) == 1
    alone = plan_all(np.full(20, 9), 9)
    assert mates_kept(alone, alone) == 0  # no row has a mate


def test_a_row_above_the_budget_stands_alone():
    plan = plan_in_order_of_length(np.array([4, 50, 4, 4]), 12)
    assert [plan.batch(index).tolist() for index in range(len(plan))] == [
        [0, 2, 3],
        [1],
    ]
    assert plan.padding_share == 0


def test_padding_share_by_hand():
    plan = plan_in_order_of_length(np.array([2, 3, 7]), 14)
    assert plan.shapes.tolist() == [[2, 3], [1, 7]]
    assert plan.padding_share == pytest.approx(1 / 13)


@pytest.mark.parametrize("few_shapes", [False, True])
def test_no_rows_make_no_batches(few_shapes):
    plan = plan_all(np.zeros(0, int), 100, few_shapes=few_shapes)
    assert len(plan) == len(plan.shapes) == 0
