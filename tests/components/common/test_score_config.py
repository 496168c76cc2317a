import pytest

from reviewbeam.components.common.config import check_config
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.score_config import ScoreConfig
from reviewbeam.components.common.train_config import ModelConfig, TrainingConfig


@pytest.mark.parametrize("name", ["label", "score", "id", "model_version"])
def test_scores_keep_no_column_under_a_name_of_their_own(name):
    with pytest.raises(UserError, match="columns.keep"):
        check_config(ScoreConfig, {"columns": {"text": "t", "keep": [name]}}, "score")


def test_score_reads_no_labels():
    with pytest.raises(UserError, match="columns.label has no use here"):
        check_config(ScoreConfig, {"columns": {"text": "t", "label": "l"}}, "score")


def test_a_list_of_languages_needs_no_column_where_the_model_may_detect_them():
    data = {"columns": {"text": "t"}, "rules": {"languages": ["de", "fr"]}}
    assert check_config(ScoreConfig, data, "score").rules.languages == ("de", "fr")


def test_what_becomes_of_a_damaged_file():
    columns = {"columns": {"text": "t"}}
    assert check_config(ScoreConfig, columns, "score").on_damaged_file == "skip"
    with pytest.raises(UserError) as error:
        check_config(ScoreConfig, columns | {"on_damaged_file": "ignore"}, "score")

    assert str(error.value).split("\n")[1:] == [
        "  - on_damaged_file: Input should be 'skip', 'salvage' or 'fail'; "
        "found 'ignore'"
    ]


def test_embeddings_below_frozen_layers_cannot_be_trained():
    with pytest.raises(UserError, match="freeze_layers 'half'.*set freeze_layers: 0"):
        check_config(ModelConfig, {"freeze_embeddings": False}, "model")

    free = check_config(ModelConfig, dict(freeze_embeddings=False, freeze_layers=0), "")
    assert free.frozen_layers(12) == 0
    assert ModelConfig().frozen_layers(12) == 6
    assert ModelConfig(freeze_layers=5).frozen_layers(12) == 5


@pytest.mark.parametrize(
    ("config_type", "data"),
    [
        (TrainingConfig, {"epochs": 0}),
        (TrainingConfig, {"learning_rate": 0}),
        (TrainingConfig, {"logical_cpus": 0}),
        (TrainingConfig, {"class_weights": 1.1}),
        (ModelConfig, {"dropout": 1}),
    ],
)
def test_values_out_of_bounds(config_type, data):
    with pytest.raises(UserError):
        check_config(config_type, data, "here")
