import keras
import numpy as np
import pytest

from reviewbeam.components.common.train_config import TrainingConfig
from reviewbeam.components.trainer.optimizer import (
    learning_rates,
    plain_optimizer,
    training_optimizer,
)


def test_learning_rate_climbs_and_falls_in_equal_steps():
    np.testing.assert_allclose(
        learning_rates(10, 1.0, 0.2),
        [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125],
    )
    np.testing.assert_allclose(learning_rates(4, 2.0, 0.0), [2.0, 1.5, 1.0, 0.5])
    np.testing.assert_allclose(learning_rates(4, 2.0, 1.0), [0.5, 1.0, 1.5, 2.0])
    assert learning_rates(1, 3.0, 0.1).tolist() == [3.0]


@pytest.fixture
def variables():
    return [
        keras.Variable(np.full((2, 2), 3.0), name="kernel"),
        keras.Variable(np.full(2, 3.0), name="bias"),
        keras.Variable(np.full(2, 3.0), name="gamma"),
        keras.Variable(np.full(2, 3.0), name="beta"),
    ]


def config(**training):
    return TrainingConfig.model_validate({"learning_rate": 0.1} | training)


def test_biases_and_norms_are_spared_from_decay(variables):
    optimizer = training_optimizer(config(weight_decay=0.5), variables)
    optimizer.apply([np.zeros(v.shape, np.float32) for v in variables], variables)
    kernel, *others = (v.numpy() for v in variables)
    np.testing.assert_allclose(kernel, 3 * (1 - 0.1 * 0.5), rtol=1e-6)
    for other in others:
        np.testing.assert_array_equal(other, 3)


def test_gradients_are_clipped_by_their_norm_over_all_variables(variables):
    optimizer = training_optimizer(config(clip_norm=0.5, weight_decay=0.0), variables)
    gradients = [np.ones(v.shape, np.float32) for v in variables]  # norm: sqrt(10)
    optimizer.apply(gradients, variables)
    momentum = optimizer.variables[2].numpy()
    np.testing.assert_allclose(momentum, 0.1 * 0.5 / np.sqrt(10), rtol=1e-5)


def test_a_step_is_adams(variables):
    optimizer = training_optimizer(
        config(clip_norm=100.0, weight_decay=0.01), variables
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
    trained = training_optimizer(config(clip_norm=0.7), variables)
    for _ in range(3):
        trained.apply([np.ones(v.shape, np.float32) for v in variables], variables)
    trained.learning_rate = 1e-9
    untrained = keras.Variable(np.ones(3), name="kernel", trainable=False)
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
