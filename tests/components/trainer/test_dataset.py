import json

import pytest

from reviewbeam.components.common.encoder_directory import open_encoder
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.trainer.dataset import check_trainable, open_dataset
from tests.components.trainer.datasets import make_rows, write_dataset

ROWS = {"train": make_rows(20, seed=1), "validation": make_rows(5, seed=2)}


@pytest.fixture
def check(tiny_encoder, make_config, tmp_path):
    """Returns a function that writes a dataset and checks it."""

    def run(splits=ROWS, config=None, name="dataset", **manifest):
        path = write_dataset(tmp_path / name, tiny_encoder, splits, **manifest)
        config = config or make_config()
        check_trainable(open_dataset(path), open_encoder(config.encoder), config)

    return run


def test_a_sound_dataset_passes(check):
    check()


def test_statistics_are_those_of_the_manifest(tiny_encoder, tmp_path):
    dataset = open_dataset(write_dataset(tmp_path / "dataset", tiny_encoder, ROWS))
    statistics = dataset.statistics()
    assert statistics["validation"]["examples"] == 5
    assert statistics["train"]["languages"] == {"en": 20}
    assert sum(statistics["train"]["labels"].values()) == 20
    assert "shards" not in statistics["train"]


def test_augmented_examples_stand_beside_the_splits(tiny_encoder, tmp_path):
    rows = [([0, 5, 2], 1), ([0, 6, 7, 2], 1), ([0, 8, 2], 2)]
    splits = ROWS | {"augmented": rows}
    dataset = open_dataset(write_dataset(tmp_path / "dataset", tiny_encoder, splits))
    assert set(dataset.splits) == {"train", "validation", "test"}
    assert dataset.augmented["examples"] == 3
    statistics = dataset.statistics()
    assert statistics["augmented"] == {
        "examples": 3,
        "tokens": 10,
        "labels": {"neutral": 2, "positive": 1},
        "languages": {"en": 3},
    }
    assert statistics["train"]["examples"] == 20
    train = dataset.splits["train"]["labels"]
    assert dataset.training_labels() == {
        "negative": train["negative"],
        "neutral": train["neutral"] + 2,
        "positive": train["positive"] + 1,
    }
    assert dataset.training_examples() == 23


def test_no_augmented_examples(tiny_encoder, tmp_path):
    path = write_dataset(tmp_path / "dataset", tiny_encoder, ROWS)
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["augmented"] is None
    before = open_dataset(path)
    assert "augmented" not in before.statistics()
    assert before.training_labels() == before.splits["train"]["labels"]
    assert before.training_examples() == 20
    del manifest["augmented"]  # as in a dataset of an earlier release
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert open_dataset(path) == before


def test_another_vocabulary(check):
    with pytest.raises(UserError, match="tokenized with another vocabulary"):
        check(vocabulary_sha256="0" * 64)


def test_texts_as_long_as_the_encoder_takes(check):
    check(text={"max_tokens": 512})  # <s> and </s> are among them


def test_texts_one_token_too_long(make_config, tiny_encoder, tmp_path):
    short = tmp_path / "short"
    short.mkdir()
    for file in tiny_encoder.iterdir():
        (short / file.name).write_bytes(file.read_bytes())
    config = json.loads((short / "config.json").read_text())
    config["max_position_embeddings"] = 65  # positions count from 2
    (short / "config.json").write_text(json.dumps(config))
    path = write_dataset(tmp_path / "dataset", tiny_encoder, ROWS)
    with pytest.raises(UserError, match="up to 64 tokens; the encoder .* takes 63"):
        check_trainable(open_dataset(path), open_encoder(str(short)), make_config())


def test_no_training_examples(check):
    with pytest.raises(UserError, match="no training examples"):
        check({"validation": ROWS["validation"]})


def test_one_class_only(check):
    rows = [([0, 5, 2], 2)] * 4
    with pytest.raises(UserError, match="have the label .positive.; at least two"):
        check({"train": rows, "validation": rows})


def test_no_validation_examples(check, make_config):
    with pytest.raises(UserError, match="early_stopping_metric=none"):
        check({"train": ROWS["train"]})


def test_without_early_stopping_no_validation_examples_are_needed(check, make_config):
    check({"train": ROWS["train"]}, make_config(early_stopping_metric="none"))


def test_more_frozen_layers_than_there_are(check, make_config):
    config = make_config(model={"freeze_layers": 3})
    with pytest.raises(UserError, match="freeze_layers is 3, .* has 2 layers"):
        check(config=config)


def test_all_layers_may_be_frozen(check, make_config):
    check(config=make_config(model={"freeze_layers": 2}))


def test_frozen_layers_are_not_adapted(check, make_config):
    config = make_config(model={"freeze_layers": 2, "lora": {"rank": 2}})
    with pytest.raises(UserError, match="lora adapts the layers that aren't frozen"):
        check(config=config)


def test_labels_that_don_t_fit_their_type(check):
    labels = {"type": "binary", "names": ["a", "b", "c"], "mapping": {}}
    with pytest.raises(UserError, match="binary takes exactly two names"):
        check(labels=labels)


NAMES = ["negative", "neutral", "positive"]
MULTILABEL = [([0, 5, 2], [0, 2]), ([0, 6, 2], []), ([0, 7, 2], [1])]


def test_labels_in_an_order_are_trained_by_their_error(check, make_config):
    labels = {"type": "ordinal", "names": NAMES}
    check(labels=labels)
    check(
        ROWS, make_config(early_stopping_metric="error"), labels=labels, name="by-error"
    )


@pytest.mark.parametrize("metric", ["macro_f1", "accuracy", "loss", "none"])
def test_rows_of_several_labels(check, make_config, metric):
    splits = {"train": MULTILABEL, "validation": MULTILABEL}
    config = make_config(early_stopping_metric=metric)
    check(splits, config, label_type="multilabel")


@pytest.mark.parametrize("label_type", ["multiclass", "multilabel"])
def test_only_ordinal_labels_have_an_error(check, make_config, label_type):
    rows = MULTILABEL if label_type == "multilabel" else ROWS["train"]
    config = make_config(early_stopping_metric="error")
    with pytest.raises(UserError) as error:
        check({"train": rows, "validation": rows}, config, label_type=label_type)
    assert f"are {label_type}. Set macro_f1, accuracy, loss or none" in str(error.value)
    assert "'error', which ordinal labels have" in str(error.value)


def test_a_label_that_some_rows_have_can_be_learned(check):
    rows = [([0, 5, 2], [2]), ([0, 6, 2], [])]
    check({"train": rows, "validation": rows}, label_type="multilabel")


@pytest.mark.parametrize(("labels", "named"), [([], "none"), ([0, 2], "'negative'")])
def test_rows_that_all_have_the_same_labels(check, labels, named):
    rows = [([0, 5, 2], labels), ([0, 6, 2], labels)]
    with pytest.raises(UserError, match=f"has the same labels: {named}"):
        check({"train": rows, "validation": rows}, label_type="multilabel")


def test_counts_of_augmented_labels_that_are_not_among_the_names(check):
    rows = [([0, 5, 2], 0), ([0, 5, 2], 2)]
    labels = {"type": "binary", "names": ["negative", "positive"], "mapping": {}}
    splits = {"train": rows, "validation": rows, "augmented": [([0, 5, 2], 1)]}
    with pytest.raises(UserError, match="in the augmented split .*: 'neutral'"):
        check(splits, labels=labels)


def test_counts_of_labels_that_are_not_among_the_names(check):
    labels = {"type": "multiclass", "names": ["negative", "positive"], "mapping": {}}
    with pytest.raises(UserError, match="not among its names .*: 'neutral'"):
        check(labels=labels)


def test_a_manifest_without_a_split(tiny_encoder, tmp_path):
    dataset = write_dataset(tmp_path / "dataset", tiny_encoder, ROWS)
    manifest = json.loads((dataset / "manifest.json").read_text())
    del manifest["splits"]["validation"]
    (dataset / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="has no 'validation'. Run prepare again"):
        open_dataset(dataset)


def test_no_dataset(tmp_path):
    with pytest.raises(UserError, match="not a finished dataset"):
        open_dataset(tmp_path)


def test_a_gold_set_is_never_trained_on(check):
    with pytest.raises(UserError, match="is a gold set .* no training may use"):
        check(gold=True)
