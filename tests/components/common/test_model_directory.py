import hashlib
import json

import pytest

from reviewbeam.components.common.config import check_config
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.model_directory import (
    METADATA,
    VOCABULARY,
    ModelMetadata,
    model_fingerprints,
    model_name,
    open_model,
    write_model_manifest,
)


def metadata(kind, names, calibration):
    data = {
        "labels": {"type": kind, "names": names},
        "text": {},
        "split": {},
        "config": {"encoder": "e"},
        "language_detector": None,
        "vocabulary_sha256": "v",
        "weights_sha256": "w",
        "encoder_fingerprint": "e",
        "dataset_fingerprint": "d",
        "class_weights": [1.0] * len(names),
        "initial_model": None,
        "calibration": calibration,
        "training_statistics": {},
        "versions": {},
    }
    return check_config(ModelMetadata, data, "model.json")


@pytest.mark.parametrize(
    ("kind", "names", "count"),
    [
        ("binary", "ab", 1),
        ("multilabel", "abc", 3),
        ("multiclass", "abc", 0),
        ("ordinal", "abc", 0),
    ],
)
def test_thresholds_are_as_many_as_the_labels_take(kind, names, count):
    right = {"thresholds": [0.5] * count}
    model = metadata(kind, list(names), right | {"languages": {"de": right}})
    assert model.calibration.languages["de"].thresholds == (0.5,) * count
    for wrong in {0, 1, 2, 3, 4} - {count}:
        other = {"thresholds": [0.5] * wrong}
        told = f"has {wrong} thresholds; {len(names)} {kind} labels take {count}"
        with pytest.raises(UserError, match=f"model.json.*\n.* of all rows {told}"):
            metadata(kind, list(names), other)
        with pytest.raises(UserError, match=f"calibration of de {told}"):
            metadata(kind, list(names), right | {"languages": {"de": other}})


@pytest.fixture
def model(tmp_path):
    """A model directory whose files hold nothing that could be run."""
    folder = tmp_path / "model"
    (folder / "saved_model").mkdir(parents=True)
    (folder / "saved_model" / "saved_model.pb").write_bytes(b"graph")
    (folder / VOCABULARY).parent.mkdir()
    (folder / VOCABULARY).write_bytes(b"pieces")
    _write_metadata(folder)
    return folder


def _write_metadata(folder, names=("a", "b", "c"), vocabulary=b"pieces", core=None):
    told = metadata("multiclass", list(names), {})
    sha256 = hashlib.sha256(vocabulary).hexdigest()
    told = told.model_copy(update={"vocabulary_sha256": sha256})
    (folder / METADATA).write_text(told.model_dump_json())
    (folder / "manifest.json").unlink(missing_ok=True)
    write_model_manifest(folder, "m", core or told.core_fingerprint())
    return told.core_fingerprint()


def test_opens_what_was_written(model):
    opened = open_model(str(model))
    core, content = model_fingerprints(model)
    assert opened.path == model
    assert opened.metadata.labels.names == ("a", "b", "c")
    assert opened.core_fingerprint == core == opened.metadata.core_fingerprint()
    assert opened.content_fingerprint == content != core
    assert opened.saved_model == str(model / "saved_model")
    assert opened.vocabulary == str(model / VOCABULARY)


def test_refuses_metadata_that_the_core_is_not_of(model):
    core = open_model(str(model)).core_fingerprint
    assert _write_metadata(model, names=("a", "c", "b"), core=core) != core
    with pytest.raises(UserError, match="no sound model: labels, text rules, weights"):
        open_model(str(model))


def test_refuses_another_vocabulary(model):
    _write_metadata(model, vocabulary=b"others")
    with pytest.raises(UserError, match="is not the vocabulary that model.json names"):
        open_model(str(model))


def test_refuses_a_changed_manifest(model):
    path = model / "manifest.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"core_fingerprint": "c"})
    )
    with pytest.raises(UserError, match="its manifest was changed after the model was"):
        model_fingerprints(model)


def test_refuses_a_folder_named_by_other_content(model):
    name = model_name(model_fingerprints(model)[1])
    right = model.rename(model.with_name(name))
    assert open_model(str(right)).path == right
    wrong = right.rename(model.with_name("m-0123456789abcdef"))
    with pytest.raises(UserError, match=f"it holds {name}"):
        open_model(str(wrong))


def test_refuses_what_is_missing_or_no_part_of_a_model(model):
    (model / "saved_model" / "code.py").write_text("")
    core = _write_metadata(model)
    with pytest.raises(UserError, match="'code.py' is no part of a SavedModel"):
        open_model(str(model))
    (model / "saved_model" / "code.py").unlink()
    (model / VOCABULARY).unlink()
    (model / "manifest.json").unlink()
    write_model_manifest(model, "m", core)
    with pytest.raises(UserError, match="its manifest doesn't describe 'tokenizer/"):
        open_model(str(model))
