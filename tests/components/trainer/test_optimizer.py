import contextlib

import keras
import numpy as np
import pytest

from reviewbeam.components.common.train_config import TrainingConfig
from reviewbeam.components.trainer.optimizer import (
    learning_rates,
    plain_optimizer,
    rate_factor,
    training_optimizer,
)


def config(**training):
    return TrainingConfig.model_validate({"learning_rate": 0.1} | training)


def rates(steps, peak, warmup, schedule="linear"):
    return learning_rates(
        steps, config(learning_rate=peak, warmup_fraction=warmup, schedule=schedule)
    )


def test_learning_rate_climbs_and_falls_in_equal_steps():
    np.testing.assert_allclose(
        rates(10, 1.0, 0.2),
        [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125],
    )
    np.testing.assert_allclose(rates(4, 2.0, 0.0), [2.0, 1.5, 1.0, 0.5])
    np.testing.assert_allclose(rates(4, 2.0, 1.0), [0.5, 1.0, 1.5, 2.0])
    assert rates(1, 3.0, 0.1).tolist() == [3.0]


def test_learning_rate_falls_along_half_a_cosine():
    half = np.sqrt(0.5)
    np.testing.assert_allclose(
        rates(6, 2.0, 0.34, "cosine"), [1.0, 2.0, 2.0, 1 + half, 1.0, 1 - half]
    )
    np.testing.assert_allclose(rates(3, 1.0, 0.0, "cosine"), [1.0, 0.75, 0.25])


def test_learning_rate_stays_where_it_climbed_to():
    np.testing.assert_allclose(rates(5, 3.0, 0.4, "constant"), [1.5, 3, 3, 3, 3])


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_no_step_is_without_a_rate(schedule):
    for steps in (1, 2, 7, 100):
        for warmup in (0.0, 0.1, 0.5, 1.0):
            found = rates(steps, 1.0, warmup, schedule)
            assert len(found) == steps
            assert (found > 0).all() and found.max() <= 1


def test_a_layer_s_rate_is_a_power_of_the_decay():
    factors = {
        "logits/kernel": 1.0,
        "hidden/bias": 1.0,
        "scale/kernel": 1.0,
        "thresholds/kernel": 1.0,
        "transformer_layer_11/self_attention_layer/query/kernel": 0.9,
        "transformer_layer_10/feedforward_output_dense/bias": 0.9**2,
        "transformer_layer_1/self_attention_layer_norm/gamma": 0.9**11,
        "transformer_layer_0/self_attention_layer/value/lora_kernel_a": 0.9**12,
        "embeddings_layer_norm/gamma": 0.9**13,
        "embeddings/token_embedding/embeddings": 0.9**13,
    }
    for path, factor in factors.items():
        assert rate_factor(path, 12, 0.9) == pytest.approx(factor)
        assert rate_factor(path, 12, 1.0) == 1


@pytest.fixture
def variables():
    shapes = {"kernel": (2, 2), "bias": (2,), "gamma": (2,), "beta": (2,)}
    return [
        keras.Variable(np.full(shape, 3, np.float32), name=name)
        for name, shape in shapes.items()
    ]


def test_biases_and_norms_are_spared_from_decay(variables):
    optimizer = training_optimizer(config(weight_decay=0.5), variables, 2)
    optimizer.apply([np.zeros(v.shape, np.float32) for v in variables], variables)
    kernel, *others = (v.numpy() for v in variables)
    np.testing.assert_allclose(kernel, 3 * (1 - 0.1 * 0.5), rtol=1e-6)
    for other in others:
        np.testing.assert_array_equal(other, 3)


def test_gradients_are_clipped_by_their_norm_over_all_variables(variables):
    optimizer = training_optimizer(
        config(clip_norm=0.5, weight_decay=0.0), variables, 2
    )
    gradients = [np.ones(v.shape, np.float32) for v in variables]  # norm: sqrt(10)
    optimizer.apply(gradients, variables)
    momentum = optimizer.variables[2].numpy()
    np.testing.assert_allclose(momentum, 0.1 * 0.5 / np.sqrt(10), rtol=1e-5)


def test_gradients_are_as_they_are_without_a_norm_to_clip_to(variables):
    optimizer = training_optimizer(config(clip_norm=None), variables, 2)
    gradients = [np.full(v.shape, 1e4, np.float32) for v in variables]
    optimizer.apply(gradients, variables)
    np.testing.assert_allclose(optimizer.variables[2].numpy(), 0.1 * 1e4, rtol=1e-5)
    pairs = [(keras.Variable(v.numpy(), name=v.name), v) for v in variables]
    assert plain_optimizer(optimizer, config(clip_norm=None), pairs).clipnorm is None


def test_a_step_is_adams(variables):
    optimizer = training_optimizer(
        config(clip_norm=100.0, weight_decay=0.01), variables, 2
    )
    gradient, value, momentum, velocity = 0.3, 3.0, 0.0, 0.0
    for step in (1, 2, 3):
        optimizer.apply(
            [np.full(v.shape, gradient, np.float32) for v in variables], variables
        )
        momentum = 0.9 * momentum + 0.1 * gradient
        velocity = 0.999 * velocity + 0.001 * gradient**2
        value -= 0.1 * 0.01 * value
        rate = 0.1 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        value -= rate * momentum / (np.sqrt(velocity) + 1e-6)
    np.testing.assert_allclose(variables[0].numpy(), value, rtol=1e-5)


def test_the_plain_copy_has_state_and_class_of_keras(variables):
    trained = training_optimizer(config(clip_norm=0.7), variables, 2)
    for _ in range(3):
        trained.apply([np.ones(v.shape, np.float32) for v in variables], variables)
    trained.learning_rate = 1e-9
    untrained = keras.Variable(np.ones(3, np.float32), name="kernel", trainable=False)
    copies = [keras.Variable(v.numpy(), name=v.name) for v in (untrained, *variables)]
    pairs = list(zip(copies, (untrained, *variables), strict=True))
    plain = plain_optimizer(trained, config(clip_norm=0.7), pairs)
    assert type(plain) is keras.optimizers.AdamW
    assert plain.global_clipnorm == pytest.approx(0.7)
    assert int(plain.iterations.numpy()) == 3
    assert float(plain.learning_rate.numpy()) == pytest.approx(0.1)
    # iterations, learning rate, then momentum and velocity of each variable
    state = [v.numpy() for v in plain.variables]
    np.testing.assert_array_equal(state[2], np.zeros(3))
    np.testing.assert_array_equal(state[3], np.zeros(3))
    for found, expected in zip(state[4:], trained.variables[2:], strict=True):
        np.testing.assert_array_equal(found, expected.numpy())
        assert found.any()


PATHS = (
    "embeddings/token_embedding/embeddings",
    "embeddings_layer_norm/gamma",
    "transformer_layer_0/query/kernel",
    "transformer_layer_0/query/bias",
    "transformer_layer_1/query/kernel",
    "transformer_layer_1/query/bias",
    "logits/kernel",
    "logits/bias",
)


def variables_of_layers():
    """Variables with the paths that those of a classifier have."""
    found = []
    for number, path in enumerate(PATHS):
        *scopes, name = path.split("/")
        with contextlib.ExitStack() as stack:
            for scope in scopes:
                stack.enter_context(keras.name_scope(scope))
            value = np.random.default_rng(number).normal(size=(3, 2))
            found.append(keras.Variable(value.astype(np.float32), name=name))
    assert [v.path for v in found] == list(PATHS)
    return found


def test_rates_of_layers_are_keras_s_adamw_with_a_rate_for_each_layer():
    settings = config(layer_decay=0.5, weight_decay=0.3, clip_norm=None)
    variables, expected = variables_of_layers(), variables_of_layers()
    trained = training_optimizer(settings, variables, 2)
    factors = [1 / 8, 1 / 8, 1 / 4, 1 / 4, 1 / 2, 1 / 2, 1, 1]
    alone = []
    for variable, factor in zip(expected, factors, strict=True):
        spared = variable.name != "kernel" and variable.name != "embeddings"
        alone.append(
            keras.optimizers.AdamW(
                0.1 * factor, weight_decay=0.0 if spared else 0.3, epsilon=1e-6
            )
        )
    random = np.random.default_rng(0)
    for step in range(4):
        rate = 0.1 / (step + 1)
        trained.learning_rate.assign(rate)
        gradients = [random.normal(size=(3, 2)).astype(np.float32) for _ in PATHS]
        trained.apply(gradients, variables)
        for optimizer, gradient, variable, factor in zip(
            alone, gradients, expected, factors, strict=True
        ):
            optimizer.learning_rate = rate * factor
            optimizer.apply([gradient], [variable])
    for one, other in zip(variables, expected, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-6)
