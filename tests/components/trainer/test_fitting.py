import json

import keras
import numpy as np
import pytest

from reviewbeam.components.common.model_directory import open_model
from reviewbeam.components.trainer.safe_keras import load_keras_model
from tests.components.trainer.poolings import AttentionPool

POOLING = "tests.components.trainer.poolings:AttentionPool"


def pooling_weights(directory):
    model = load_keras_model(
        directory / "model.keras", custom_objects={"tests>AttentionPool": AttentionPool}
    )
    layer = next(x for x in model.layers if isinstance(x, AttentionPool))
    return [weight.numpy() for weight in layer.weights]


@pytest.fixture(scope="module")
def first(make_config, dataset, train_quietly, tmp_path_factory):
    """A model whose pooling was trained; how many layers were built before varies."""
    output = tmp_path_factory.mktemp("pooling") / "model"
    AttentionPool()
    config = make_config(model={"pooling": POOLING, "freeze_layers": 1}, epochs=1)
    train_quietly(config, dataset, output)
    return config, output


def test_a_pooling_with_weights_is_trained_and_saved(first):
    _, output = first
    kernel, _ = pooling_weights(output)
    fresh = AttentionPool()
    fresh.build((None, None, len(kernel)))
    assert np.abs(kernel).max() > 0
    history = json.loads((output / "history.json").read_text())
    assert history["validation"]["accuracy"] > 0.4  # of three, the most frequent half


@pytest.mark.slow
def test_equal_trainings_have_equal_hashes_whatever_was_built_before(
    first, dataset, train_quietly, tmp_path
):
    config, output = first
    keras.layers.Dense(1)
    AttentionPool()
    train_quietly(config, dataset, tmp_path / "again")
    found, expected = (
        open_model(str(path)).metadata.weights_sha256
        for path in (tmp_path / "again", output)
    )
    assert found == expected


@pytest.mark.slow
def test_a_pooling_with_weights_is_begun_with(first, make_config, dataset, tmp_path):
    from reviewbeam.components.trainer.display import TrainingDisplay
    from reviewbeam.components.trainer.train import train

    _, output = first
    config = make_config(
        model={"pooling": POOLING, "freeze_layers": 1}, epochs=1, learning_rate=1e-9
    )
    train(
        config,
        dataset,
        tmp_path / "next",
        initial=output,
        display=TrainingDisplay(quiet=True),
    )
    for found, expected in zip(
        pooling_weights(tmp_path / "next"), pooling_weights(output), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-6)
