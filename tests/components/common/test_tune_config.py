import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common.config import check_config
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.tune_config import Range, TuneConfig, is_whole


def config(space, method="random", trials=3, train=None, **search):
    data = {
        "train": {"encoder": "e"} | (train or {}),
        "search": {"method": method, "trials": trials} | search,
        "space": space,
    }
    return check_config(TuneConfig, data, "tune.yaml")


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (
            {"training.learning_rat": [1e-3]},
            "'training.learning_rat' is no key of train "
            r"\(did you mean 'training.learning_rate'\?\)",
        ),
        ({"training": {"epochs": [1, 2]}}, "section; give training.epochs as one key"),
        ({"training.epochs": 3}, "training.epochs: a list of choices, or .* found 3"),
        ({"training.epochs": []}, "a list of choices"),
        ({"training.epochs": [2, 2]}, "a choice stands twice"),
        ({"training.epochs": [2, 0]}, "space.training.epochs: .* found 0"),
        ({"model.dropout": {"min": 0, "max": 1}}, "space.model.dropout: .* found 1"),
        ({"model.pooling": ["men"]}, "did you mean 'mean'.*; found 'men'"),
        ({"model.lora": [{"rank": 0}]}, "space.model.lora: .*found {'rank': 0}"),
        ({"model.lora": [None], "model.lora.rank": [4]}, "lies within model.lora"),
        ({"model.dropout": {"min": 0.1, "mx": 0.2}}, "'mx'.*did you mean 'max'"),
        ({"model.dropout": {"min": 0.2, "max": 0.1}}, "min 0.2 is not below max 0.1"),
        ({"model.dropout": {"min": 0, "max": 0.1, "log": True}}, "min above 0"),
        ({"training.epochs": {"min": 1, "max": 3, "step": 0.5}}, "no whole number"),
        ({"training.epochs": {"min": 1, "max": 3.5}}, "valid integer.*found 3.5"),
        ({}, "at least 1 item"),
    ],
)
def test_a_space_that_can_not_be_searched(space, words):
    with pytest.raises(UserError, match=words):
        config(space)


@pytest.mark.parametrize("seed", [0, 2**31])
def test_a_seed_that_random_numbers_can_not_start_from(seed):
    rates = {"training.learning_rate": [1e-3]}
    assert config(rates, seed=2**31 - 1).search.seed == 2**31 - 1
    with pytest.raises(UserError, match="search.seed"):
        config(rates, seed=seed)


def test_all_problems_of_a_space_are_told():
    with pytest.raises(UserError) as error:
        config({"trainin.epochs": [1], "model.drop": [0.1]})
    assert "'trainin.epochs'" in str(error.value)
    assert "'model.drop'" in str(error.value)


def test_a_grid_needs_an_end_and_other_searches_a_number():
    rates = {"training.learning_rate": {"min": 1e-5, "max": 1e-3, "log": True}}
    assert config(rates).choices("training.learning_rate") is None
    with pytest.raises(UserError, match="a grid needs a step"):
        config(rates, "grid", None)
    with pytest.raises(UserError, match="search.trials is missing"):
        config(rates, "bayesian", None)
    whole = config({"training.epochs": {"min": 1, "max": 3}}, "grid", None)
    assert whole.choices("training.epochs") == (1, 2, 3)


@pytest.mark.parametrize(
    "key", ["loss.name", "training.class_weights", "model.ordinal_head"]
)
def test_losses_of_different_losses_are_not_compared(key):
    values = {
        "loss.name": ["cross_entropy", "focal"],
        "training.class_weights": ["none", 0.5],
        "model.ordinal_head": ["cumulative", "softmax"],
    }
    with pytest.raises(UserError, match=f"objective is loss, which {key}"):
        config({key: values[key]}, objective="loss")
    assert config({key: values[key]}, objective="accuracy").space[key]


def test_values_of_each_trial_stand_over_those_of_train():
    space = {
        "training.learning_rate": [1e-3],
        "model.lora.rank": [4],
        "sampling.alpha": [0.5],
        "training.class_weights": ["none", 0.5],
    }
    tuned = config(space, train={"training": {"epochs": 7, "learning_rate": 1e-4}})
    trial = tuned.trial(
        {
            "training.learning_rate": 1e-3,
            "model.lora.rank": 4,
            "sampling.alpha": 0.5,
            "training.class_weights": 0.5,
        }
    )
    assert trial.training.learning_rate == 1e-3
    assert trial.training.epochs == 7
    assert trial.model.lora.rank == 4 and trial.sampling.alpha == 0.5
    assert trial.training.class_weights == 0.5
    assert tuned.train.training.learning_rate == 1e-4  # unchanged


def test_what_only_a_combination_refuses_may_be_in_the_space():
    space = {"model.freeze_embeddings": [True, False], "model.freeze_layers": [0, 1]}
    tuned = config(space, "grid", None)
    with pytest.raises(UserError, match="set freeze_layers: 0"):
        tuned.trial({"model.freeze_embeddings": False, "model.freeze_layers": 1})
    open_model = {"model.freeze_embeddings": False, "model.freeze_layers": 0}
    assert not tuned.trial(open_model).model.freeze_embeddings


def test_which_keys_take_whole_numbers_only():
    assert is_whole("training.batch_tokens") and is_whole("model.hidden_units")
    assert is_whole("model.freeze_layers")
    assert not is_whole("training.clip_norm")
    assert not is_whole("training.class_weights")


def test_steps_end_where_they_should():
    assert Range(min=0, max=0.3, step=0.1).steps() == (0, 0.1, 0.2, 0.3)
    assert Range(min=1024, max=5000, step=2, log=True).steps() == (1024, 2048, 4096)
    assert Range(min=1e-5, max=1e-2, step=10, log=True).steps() == (
        1e-5, 1e-4, 1e-3, 1e-2,
    )  # fmt: skip


@given(st.integers(0, 50), st.integers(1, 40), st.integers(1, 9), st.floats(0.01, 9))
def test_steps_are_even_and_reach_the_last_one(start, steps, over, step):
    first = start * step
    found = Range(min=first, max=first + steps * step, step=step).steps()
    assert len(found) == steps + 1
    assert math.isclose(found[-1], first + steps * step, rel_tol=1e-9)
    beyond = Range(min=first, max=first + (steps + over / 10) * step, step=step)
    assert beyond.steps() == found
