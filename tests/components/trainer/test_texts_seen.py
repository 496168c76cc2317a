"""A model tells which texts it was trained on, the earlier model's among them."""

import numpy as np
import pytest

from reviewbeam.components.common.artifacts import read_manifest
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.model_directory import open_model
from reviewbeam.components.common.text_hashes import known_texts, text_hashes
from reviewbeam.components.trainer.dataset import open_dataset
from reviewbeam.components.trainer.texts_seen import write_texts_seen
from tests.components.trainer.datasets import make_rows, write_dataset


def of_texts(split, count):
    """What datasets.py wrote as texts."""
    return np.sort(text_hashes(f"review {split}-{i}" for i in range(count))).tolist()


def test_train_writes_the_hashes_of_both_splits(model):
    trained, validated = known_texts(model[0])
    assert trained.tolist() == of_texts("train", 400)
    assert validated.tolist() == of_texts("validation", 120)
    described = read_manifest(model[0], "model")["files"]
    assert described["training_texts.u64"]["bytes"] == 400 * 8
    assert described["validation_texts.u64"]["bytes"] == 120 * 8


def test_the_texts_of_the_earlier_model_count_too(model, tiny_encoder, tmp_path):
    rows = make_rows(410, seed=5)
    path = write_dataset(
        tmp_path / "data", tiny_encoder, {"train": rows, "augmented": rows[:3]}
    )
    (tmp_path / "new").mkdir()
    write_texts_seen(tmp_path / "new", open_dataset(path), open_model(str(model[0])))
    trained, validated = known_texts(tmp_path / "new")
    expected = of_texts("train", 410) + of_texts("augmented", 3)
    assert trained.tolist() == sorted(expected)
    assert validated.tolist() == of_texts("validation", 120)


def test_an_example_without_its_text_is_refused(tiny_encoder, tmp_path, monkeypatch):
    path = write_dataset(
        tmp_path / "data", tiny_encoder, {"train": make_rows(4, seed=5)}
    )
    monkeypatch.setattr(
        "reviewbeam.components.trainer.texts_seen._TEXT",
        {"no such feature": __import__("tensorflow").io.FixedLenFeature([], "string")},
    )
    with pytest.raises(UserError, match="has an example without its text"):
        write_texts_seen(tmp_path, open_dataset(path), None)
