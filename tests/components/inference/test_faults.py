"""Poison rows and full memories, with models made of NumPy."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewbeam.components.common.batching import cut_batches
from reviewbeam.components.common.errors import ReviewbeamError, UserError
from reviewbeam.components.inference.faults import (
    PAD_ID,
    infer_rows,
    invalid_rows,
    is_out_of_memory,
    pad,
)

FAILS, SPOILS, OFF = 901, 902, 903  # ids that make a row poison
CLASSES = 3


class ResourceExhaustedError(Exception):
    """Has the name that TensorFlow's has."""


class Model:
    """A row's probabilities tell its own tokens; some ids make it fail."""

    def __init__(self, most_tokens=10**9):
        self.shapes = []
        self._most_tokens = most_tokens

    def __call__(self, token_ids, mask):
        self.shapes.append(token_ids.shape)
        if token_ids.size > self._most_tokens:
            raise ResourceExhaustedError("OOM when allocating tensor")
        if (token_ids == FAILS).any():
            raise ValueError("the text 'private' failed")
        values = alone(token_ids, mask)
        if (token_ids == SPOILS).any():  # the whole batch, and not by NaN alone
            values = values * 0.5
            values[0] = np.nan
        values[(token_ids == OFF).any(axis=1)] *= 0.99
        return values


def alone(token_ids, mask):
    """What a row's probabilities are: a formula of its real tokens."""
    total = (token_ids * mask).sum(1)
    powers = 2.0 ** np.stack([total % 5, total % 7, mask.sum(1) % 3], axis=1)
    return (powers / powers.sum(1, keepdims=True)).astype(np.float32)


def infer(rows, model, budget=64, max_faults=1000, kind="multiclass", **options):
    lengths = np.array([len(ids) for ids in rows], np.int64)
    ids = np.array([i for row in rows for i in row], np.int32)
    starts = np.append(0, lengths.cumsum())[:-1].astype(np.int64)
    return infer_rows(
        model,
        ids,
        starts,
        lengths,
        classes=CLASSES,
        kind=kind,
        budget=budget,
        max_faults=max_faults,
        **options,
    )


def expected(row):
    ids = np.array([row], np.int32)
    return alone(ids, np.ones_like(ids))[0].tolist()


IDS = st.one_of(
    st.integers(0, 50), st.integers(0, 50), st.sampled_from([901, 902, 903])
)
ROWS = st.lists(st.lists(IDS, min_size=1, max_size=12), max_size=40)


@settings(max_examples=300)
@given(rows=ROWS, budget=st.integers(8, 200), most=st.integers(1, 150))
def test_the_poison_rows_are_the_faults_and_no_others(rows, budget, most):
    model = Model(most_tokens=most)
    outcome = infer(rows, model, budget)

    for row, values, fault in zip(
        rows, outcome.probabilities.tolist(), outcome.faults, strict=True
    ):
        if len(row) > most:
            assert fault == "model_out_of_memory"
        elif FAILS in row:
            assert fault == "model_failed"
        elif SPOILS in row or OFF in row:
            assert fault == "model_output_invalid"
        else:
            assert fault is None
            assert values == expected(row)  # as if it were alone
            continue
        assert np.isnan(values).all()
    assert outcome.calls == len(model.shapes)
    assert outcome.padded_tokens == sum(r * length for r, length in model.shapes)

    again = Model(most_tokens=most)
    repeated = infer(rows, again, budget)
    assert again.shapes == model.shapes
    assert repeated.probabilities.tobytes() == outcome.probabilities.tobytes()
    assert repeated.faults == outcome.faults


@settings(max_examples=300, deadline=None)
@given(
    rows=ROWS,
    budget=st.integers(8, 200),
    most=st.integers(1, 150),
    concurrency=st.integers(2, 5),
)
def test_calls_at_once_give_what_they_give_one_after_the_other(
    rows, budget, most, concurrency
):
    single, several = Model(most_tokens=most), Model(most_tokens=most)
    told = [], []
    expected = infer(rows, single, budget, on_rows=told[0].append)
    outcome = infer(
        rows, several, budget, on_rows=told[1].append, concurrency=concurrency
    )

    assert outcome.probabilities.tobytes() == expected.probabilities.tobytes()
    assert dataclasses.replace(outcome, probabilities=None) == dataclasses.replace(
        expected, probabilities=None
    )
    assert told[0] == told[1]
    if all(fault is None for fault in expected.faults) and not expected.halved:
        assert sorted(several.shapes) == sorted(single.shapes)


@given(rows=ROWS, budget=st.integers(8, 200))
def test_a_sound_chunk_runs_in_the_batches_of_its_lengths(rows, budget):
    rows = [[i % 900 for i in row] for row in rows]
    model = Model()
    told = []
    outcome = infer(rows, model, budget, on_rows=told.append)

    lengths = np.array([len(row) for row in rows], np.int64)
    batches = cut_batches(lengths, budget)
    assert model.shapes == [(len(b), lengths[b].max()) for b in batches]
    assert told == [len(b) for b in batches]
    assert (outcome.calls, outcome.halved) == (len(batches), 0)
    assert outcome.tokens == lengths.sum()


def test_memory_that_is_full_makes_batches_smaller_for_the_rest_of_the_chunk():
    model = Model(most_tokens=25)
    outcome = infer([[5] * 4] * 40, model, budget=64)

    # 16 rows don't fit, 8 don't, 4 do.
    assert model.shapes == [(16, 4), (8, 4)] + [(4, 4)] * 10
    assert (outcome.halved, outcome.faults) == (2, [None] * 40)


def test_full_memory_ends_calls_at_once():
    single, several = Model(most_tokens=25), Model(most_tokens=25)
    infer([[5] * 4] * 200, single, budget=64)
    infer([[5] * 4] * 200, several, budget=64, concurrency=2)

    # The four that had begun; their rows then run as they do one call at a time.
    assert several.shapes == [(16, 4)] * 4 + single.shapes


def test_one_row_that_fills_the_memory_does_not_slow_down_the_others():
    model = Model(most_tokens=20)
    outcome = infer([[5] * 30] + [[5] * 4] * 10, model, budget=20)

    assert model.shapes == [(1, 30), (5, 4), (5, 4)]
    assert outcome.faults == ["model_out_of_memory"] + [None] * 10

    class Marked(Model):
        def __call__(self, token_ids, mask):
            if (token_ids == 99).any():
                raise MemoryError
            return super().__call__(token_ids, mask)

    model = Marked()
    rows = [[5] * 4] * 64
    rows[20] = [99] * 4
    outcome = infer(rows, model, budget=64)
    assert outcome.faults.count(None) == 63
    assert outcome.faults[20] == "model_out_of_memory"
    assert model.shapes[-1] == (16, 4)  # the budget is back


def test_a_poison_row_costs_few_calls():
    rows = [[i % 50, 3, 4] for i in range(1000)]
    rows[700][1] = FAILS
    outcome = infer(rows, Model(), budget=300)

    assert outcome.faults.count(None) == 999
    assert outcome.calls <= 10 + 2 * 7  # of 100 rows each, and to find one among 100


@pytest.mark.parametrize("poison", [FAILS, SPOILS])
def test_too_many_faults_stop_the_run_and_quote_nothing(poison):
    rows = [[poison, 3]] * 4 + [[1, 2]] * 50
    assert infer(rows, Model(), max_faults=4).faults.count(None) == 50
    with pytest.raises(ReviewbeamError) as raised:
        infer(rows, Model(), max_faults=3)
    assert raised.value.exit_code == 1
    message = str(raised.value)
    assert "4 texts of one chunk of 54" in message
    assert "inference.max_faults allows 3" in message
    reason = {FAILS: "model_failed (ValueError)", SPOILS: "not a number"}[poison]
    assert reason in message
    assert "private" not in message


def test_a_mistake_of_the_user_stays_one():
    def model(token_ids, mask):
        raise UserError("wrong shape")

    with pytest.raises(UserError, match="wrong shape"):
        infer([[1], [2]], model)


@pytest.mark.parametrize(
    ("row", "kind", "invalid"),
    [
        ([0.25, 0.75], "binary", False),
        ([0.25, 0.7505], "multiclass", False),
        ([0.25, 0.752], "multiclass", True),
        ([0.25, 0.752], "multilabel", False),
        ([-0.1, 1.1], "multiclass", True),
        ([0.5, 1.1], "multilabel", True),
        ([-0.1, 0.5], "multilabel", True),
        ([np.nan, 0.5], "multilabel", True),
        ([np.inf, -np.inf], "ordinal", True),
        ([0.0, 1.0], "ordinal", False),
    ],
)
def test_what_is_no_probability(row, kind, invalid):
    values = np.array([[0.5, 0.5], row], np.float32)
    assert invalid_rows(values, kind).tolist() == [False, invalid]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (ResourceExhaustedError(), True),
        (RuntimeError("Exception from src/x.cpp:1: std::bad_alloc"), True),
        (RuntimeError("could not execute: out_of_memory"), True),
        (RuntimeError("Shape inference failed"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_which_failures_are_for_want_of_memory(error, expected):
    assert is_out_of_memory(error) is expected


def test_padding():
    ids = np.array([10, 11, 12, 20, 30, 31], np.int32)
    token_ids, mask = pad(ids, np.array([3, 0, 4]), np.array([1, 3, 2]))

    assert PAD_ID == 1
    assert token_ids.tolist() == [[20, 1, 1], [10, 11, 12], [30, 31, 1]]
    assert mask.tolist() == [[1, 0, 0], [1, 1, 1], [1, 1, 0]]
    assert token_ids.dtype == mask.dtype == np.int32
