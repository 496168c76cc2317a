"""A model directory from elsewhere is refused by a message and runs nothing.

The attacker has hashed the changed files anew.
"""

import contextlib
import json
import os
import pickle
import re
import shutil
import sys
import zipfile

import pytest

from reviewbeam.components.common.artifacts import (
    describe_files,
    files_below,
    fingerprint,
)
from reviewbeam.components.common.config import check_config
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.model_directory import VOCABULARY, ModelMetadata
from tests.components.inference.test_safe_saved_model import save


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (os.abort, ())


def rehash(directory):
    """Writes every hash anew, as one does who knows what is checked."""
    path = directory / "manifest.json"
    manifest = json.loads(path.read_text())
    names = [
        name
        for name in files_below(directory)
        if name not in ("manifest.json", "run.json", "_SUCCESS")
    ]
    manifest["files"] = describe_files(directory, names)
    del manifest["content_fingerprint"]
    with contextlib.suppress(UserError, ValueError, RecursionError):
        data = json.loads((directory / "model.json").read_text())
        data["vocabulary_sha256"] = manifest["files"][VOCABULARY]["sha256"]
        metadata = check_config(ModelMetadata, data, "model.json")
        (directory / "model.json").write_text(json.dumps(data))
        manifest["files"] = describe_files(directory, names)
        manifest["core_fingerprint"] = metadata.core_fingerprint()
    manifest["content_fingerprint"] = fingerprint(manifest)
    path.write_text(json.dumps(manifest))


def change_json(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def _python(directory):
    import tensorflow as tf

    shutil.rmtree(directory / "saved_model")
    save(
        directory / "saved_model",
        lambda ids: tf.numpy_function(lambda _: os.abort(), [ids], tf.int32),
    )


def _labels(directory):
    change_json(directory / "model.json", lambda data: data["labels"]["names"].pop())


def _truncated_program(directory):
    path = directory / "saved_model" / "saved_model.pb"
    path.write_bytes(path.read_bytes()[:-2000])


def _pickled_variables(directory):
    path = directory / "saved_model/variables/variables.data-00000-of-00001"
    path.write_bytes(pickle.dumps(Bomb()))


def _pickled_index(directory):
    path = directory / "saved_model/variables/variables.index"
    path.write_bytes(pickle.dumps(Bomb()))


def _pickled_vocabulary(directory):
    path = directory / "tokenizer/sentencepiece.bpe.model"
    path.write_bytes(pickle.dumps(Bomb()))


def _more_files(directory):
    (directory / "saved_model" / "assets").mkdir(exist_ok=True)
    (directory / "saved_model" / "assets" / "hook.py").write_text("1")


def _text_program(directory):
    (directory / "saved_model" / "saved_model.pbtxt").write_text("")


def _no_json(directory):
    (directory / "model.json").write_text("[" * 100_000)


@pytest.mark.parametrize(
    ("poison", "message"),
    [
        (_python, "it holds '(Eager)?PyFunc', which is not among the operations"),
        (_labels, "gives 3 probabilities for a text, and .* names 2 labels"),
        (_truncated_program, "saved_model.pb was not opened"),
        (_pickled_variables, "can't open .*Copy the model again"),
        (_pickled_index, "can't open .*Copy the model again"),
        (_pickled_vocabulary, "no SentencePiece model"),
        (_more_files, "'assets/hook.py' is no part of a SavedModel"),
        (_text_program, "'saved_model.pbtxt' is no part of a SavedModel"),
        (_no_json, "model.json is no JSON text"),
    ],
)
def test_a_poisoned_file_is_refused(command, model, tmp_path, poison, message):
    directory = shutil.copytree(model, tmp_path / "model")
    poison(directory)
    rehash(directory)
    code, out, err = command("predict", "--model", directory, "a text")
    assert code == 2 and not out
    assert re.search(message, " ".join(err.split())), err


def _symlink(directory, name):
    secret = directory.with_name("secret")
    shutil.move(directory / name, secret)
    (directory / name).symlink_to(secret)


@pytest.mark.parametrize(
    "name", ["saved_model", "saved_model/saved_model.pb", "model.json", "tokenizer"]
)
def test_a_link_that_leaves_the_directory_is_refused(command, model, tmp_path, name):
    directory = shutil.copytree(model, tmp_path / "model")
    _symlink(directory, name)
    code, _, err = command("predict", "--model", directory, "a text")
    assert code == 2 and "leads out of it" in err


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a\0b"])
def test_a_name_that_leaves_the_directory_is_refused(command, model, tmp_path, name):
    directory = shutil.copytree(model, tmp_path / "model")
    change_json(
        directory / "manifest.json",
        lambda data: data["files"].update({name: {"bytes": 1, "sha256": "0"}}),
    )
    code, _, err = command("predict", "--model", directory, "a text")
    assert code == 2 and "leads out of it" in err


@pytest.mark.parametrize("files", [None, [], {"x": 1}, {"x": {}}, {}])
def test_a_manifest_that_describes_nothing_is_refused(command, model, tmp_path, files):
    directory = shutil.copytree(model, tmp_path / "model")
    change_json(directory / "manifest.json", lambda data: data.update(files=files))
    code, _, err = command("predict", "--model", directory, "a text")
    assert code == 2
    expected = "doesn't describe" if files == {} else "manifest that reviewbeam wrote"
    assert expected in err


def test_a_truncated_file_is_refused(command, model, tmp_path):
    directory = shutil.copytree(model, tmp_path / "model")
    path = directory / "model.keras"
    path.write_bytes(path.read_bytes()[:-1])
    code, _, err = command("predict", "--model", directory, "a text")
    assert code == 2 and "'model.keras' is not the file" in err


@pytest.mark.parametrize("job", ["score", "evaluate"])
def test_the_other_jobs_refuse_before_they_start(
    command, model, dataset, tmp_path, write_config, configs, job
):
    directory = shutil.copytree(model, tmp_path / "model")
    _labels(directory)
    rehash(directory)
    reviews = tmp_path / "reviews.jsonl"
    reviews.write_text('{"text": "x", "id": "1", "language": "en"}\n')
    given = ["--input", reviews] if job == "score" else ["--dataset", dataset]
    code, _, err = command(
        job,
        "--config",
        write_config(configs[job]),
        "--model",
        directory,
        *given,
        "--output",
        tmp_path / "out",
    )
    assert code == 2 and "names 2 labels" in err
    assert not (tmp_path / "out").exists()


def _lambda_layer(directory):
    import keras

    inputs = keras.Input((2,))
    outputs = keras.layers.Lambda(lambda x: x)(inputs)
    keras.Model(inputs, outputs).save(directory / "model.keras")


def _pickled_weights(directory):
    path = directory / "model.keras"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["model.weights.h5"] = pickle.dumps(Bomb())
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.fixture
def train_on(dataset, tmp_path, configs):
    """Returns a function that begins training with a model directory."""
    from reviewbeam.components.common.train_config import TrainConfig
    from reviewbeam.components.trainer.display import TrainingDisplay
    from reviewbeam.components.trainer.train import train

    def run(directory):
        config = TrainConfig.model_validate(configs["train"])
        display = TrainingDisplay(quiet=True)
        output = tmp_path / "out"
        return train(config, dataset, output, initial=directory, display=display)

    return run


@pytest.mark.parametrize(
    ("poison", "message"),
    [
        (_lambda_layer, "names 'keras.layers.Lambda'"),
        (_pickled_weights, "its weights are not HDF5"),
    ],
)
def test_training_on_refuses_a_poisoned_keras_file(
    train_on, model, tmp_path, poison, message
):
    directory = shutil.copytree(model, tmp_path / "model")
    poison(directory)
    rehash(directory)
    with pytest.raises(UserError, match=message):
        train_on(directory)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_training_on_imports_nothing_that_a_model_names(
    train_on, model, tmp_path, monkeypatch
):
    (tmp_path / "hostile_module.py").write_text("import os\nos.abort()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    directory = shutil.copytree(model, tmp_path / "model")
    change_json(
        directory / "model.json",
        lambda data: data["config"]["model"].update(pooling="hostile_module:Pool"),
    )
    rehash(directory)
    summary = train_on(directory)  # its Keras file holds another pooling
    assert not summary["done_before"]
    assert "hostile_module" not in sys.modules
