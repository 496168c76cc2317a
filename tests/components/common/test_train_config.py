import pytest

from reviewbeam.components.common.config import check_config
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.train_config import TrainConfig


def config(**sections):
    return check_config(TrainConfig, {"encoder": "e"} | sections, "train.yaml")


@pytest.mark.parametrize(
    "loss",
    [
        {"label_smoothing": 0.1},
        {"name": "focal"},
        {"name": "focal", "focal_gamma": 1.5},
        {"name": "mine:loss", "focal_gamma": 2.0},
    ],
)
def test_losses_that_can_be(loss):
    assert config(loss=loss).loss.model_dump(exclude_unset=True) == loss


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        (
            {"loss": {"name": "focal", "label_smoothing": 0.1}},
            "label_smoothing is of cross_entropy, not of focal",
        ),
        ({"loss": {"focal_gamma": 1.5}}, "focal_gamma is of focal, not of cross_entr"),
        (
            {"model": {"freeze_embeddings": False}},
            "freeze_embeddings is false and freeze_layers 'half'",
        ),
        (
            {
                "model": {
                    "freeze_embeddings": False,
                    "freeze_layers": 0,
                    "lora": {"rank": 4},
                }
            },
            "lora needs freeze_embeddings: true",
        ),
    ],
)
def test_what_contradicts_itself(sections, problem):
    with pytest.raises(UserError, match=problem):
        config(**sections)


@pytest.mark.parametrize(("given", "frozen"), [("half", 6), (0, 0), (3, 3)])
def test_frozen_layers_of_twelve(given, frozen):
    model = {"freeze_layers": given}
    assert config(model=model).model.frozen_layers(12) == frozen


def test_half_of_an_odd_number_is_rounded_down():
    assert config().model.frozen_layers(5) == 2


def test_all_may_be_trained():
    model = config(model={"freeze_embeddings": False, "freeze_layers": 0}).model
    assert model.frozen_layers(12) == 0
