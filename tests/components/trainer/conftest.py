"""A small dataset and models trained on it, shared by the trainer's tests."""

import pytest

LEARNING_RATE = 1e-2  # the tiny encoder's weights are random: it needs a high one


@pytest.fixture(scope="session")
def make_config(tiny_encoder):
    """Returns a function that makes a TrainConfig for the tiny encoder."""
    from reviewbeam.components.common.train_config import TrainConfig

    def make(model=None, **training):
        defaults = {"learning_rate": LEARNING_RATE, "batch_tokens": 256, "epochs": 2}
        return TrainConfig.model_validate(
            {
                "encoder": str(tiny_encoder),
                "model": {"freeze_layers": 0} | (model or {}),
                "training": defaults | training,
            }
        )

    return make


@pytest.fixture(scope="session")
def dataset(tiny_encoder, tmp_path_factory):
    """Path of a dataset of three classes: 400 training and 120 validation examples."""
    from tests.components.trainer.datasets import make_rows, write_dataset

    return write_dataset(
        tmp_path_factory.mktemp("dataset") / "three",
        tiny_encoder,
        {"train": make_rows(400, seed=1), "validation": make_rows(120, seed=2)},
        languages=("en", "de", ""),
    )


@pytest.fixture(scope="session")
def binary_dataset(tiny_encoder, tmp_path_factory):
    """Path of a dataset of two classes."""
    from tests.components.trainer.datasets import make_rows, write_dataset

    return write_dataset(
        tmp_path_factory.mktemp("dataset") / "two",
        tiny_encoder,
        {
            "train": make_rows(200, seed=3, classes=2),
            "validation": make_rows(40, seed=4, classes=2),
        },
        names=("bad", "good"),
    )


@pytest.fixture(scope="session")
def train_quietly():
    """Returns `train` without its display."""
    from reviewbeam.components.trainer.display import TrainingDisplay
    from reviewbeam.components.trainer.train import train

    def run(config, dataset, output, **options):
        display = TrainingDisplay(quiet=True)
        return train(config, dataset, output, display=display, **options)

    return run


@pytest.fixture(scope="session")
def model(make_config, dataset, train_quietly, tmp_path_factory):
    """(directory, summary) of a model of three classes."""
    output = tmp_path_factory.mktemp("model") / "three"
    return output, train_quietly(make_config(), dataset, output)


@pytest.fixture(scope="session")
def binary_model(make_config, binary_dataset, train_quietly, tmp_path_factory):
    """(directory, summary) of a binary model that pools by CLS."""
    output = tmp_path_factory.mktemp("model") / "two"
    config = make_config(model={"pooling": "cls"}, epochs=1)
    return output, train_quietly(config, binary_dataset, output)


@pytest.fixture
def eager():
    """Lets a training run without graphs, whose making takes most of a short one."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
