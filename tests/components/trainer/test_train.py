import dataclasses
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from reviewbeam.components.common.calibration import calibrated, decide
from reviewbeam.components.common.encoder_directory import open_encoder
from reviewbeam.components.common.errors import ReviewbeamError, UserError
from reviewbeam.components.common.model_directory import open_model
from reviewbeam.components.common.serving_statistics import count_predictions
from reviewbeam.components.common.train_config import LossConfig
from reviewbeam.components.trainer import export
from reviewbeam.components.trainer.calibrate import (
    calibration_report,
    fit_calibration,
)
from reviewbeam.components.trainer.checkpoint import Checkpoints
from reviewbeam.components.trainer.dataset import open_dataset
from reviewbeam.components.trainer.display import TrainingDisplay
from reviewbeam.components.trainer.fitting import fit_classifier
from reviewbeam.components.trainer.input import read_split
from reviewbeam.components.trainer.losses import row_losses
from reviewbeam.components.trainer.metrics import Task
from reviewbeam.components.trainer.model import weights_sha256
from reviewbeam.components.trainer.train import train
from tests.components.trainer.datasets import NAMES, make_rows, write_dataset

# What users run: nothing of this project is imported.
LOAD_KERAS_FILE = """
import json, sys, warnings
import keras, keras_hub
import numpy as np
with warnings.catch_warnings():
    warnings.simplefilter("error", UserWarning)  # as for optimizer state left out
    model = keras.models.load_model(sys.argv[1] + "/model.keras")
token_ids = np.array(json.loads(sys.argv[2]), np.int32)
inputs = {"token_ids": token_ids, "padding_mask": (token_ids != 1).astype(np.int32)}
before = model.predict(inputs, verbose=0)
watched = {name: model.get_layer(name).weights[0] for name in
           ("token_embedding", "transformer_layer_0")}
old = {name: variable.numpy() for name, variable in watched.items()}
iterations = int(model.optimizer.iterations.numpy())
momentum = float(abs(model.optimizer.variables[2].numpy()).sum())
model.fit(inputs, np.zeros(len(token_ids), int), verbose=0)
print(json.dumps({
    "probabilities": before.tolist(),
    "iterations": [iterations, int(model.optimizer.iterations.numpy())],
    "momentum": momentum,
    "moved": [name for name in old if (watched[name].numpy() != old[name]).any()],
    "reviewbeam": [name for name in sys.modules if name.startswith("reviewbeam")],
}))
"""
LOAD_SAVED_MODEL = """
import json, sys
import numpy as np
import tensorflow as tf
serve = tf.saved_model.load(sys.argv[1] + "/saved_model").signatures["serving_default"]
token_ids = np.array(json.loads(sys.argv[2]), np.int32)
outputs = serve(token_ids=tf.constant(token_ids),
                padding_mask=tf.constant((token_ids != 1).astype(np.int32)))
inputs = serve.structured_input_signature[1].items()
print(json.dumps({
    "probabilities": outputs["probabilities"].numpy().tolist(),
    "outputs": {name: output.dtype.name for name, output in outputs.items()},
    "inputs": {name: [spec.shape.as_list(), spec.dtype.name] for name, spec in inputs},
    "others": [name for name in ("keras_hub", "reviewbeam") if name in sys.modules],
}))
"""
TOKEN_IDS = [[0, 5, 6, 7, 2], [0, 8, 2, 1, 1], [0, 9, 10, 2, 1]]


def run_elsewhere(script, directory):
    result = subprocess.run(
        [sys.executable, "-c", script, str(directory), json.dumps(TOKEN_IDS)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=directory,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def serve(directory, token_ids):
    loaded = tf.saved_model.load(str(directory / "saved_model"))
    mask = (token_ids != 1).astype(np.int32)
    outputs = loaded.signatures["serving_default"](
        token_ids=tf.constant(token_ids), padding_mask=tf.constant(mask)
    )
    return outputs["probabilities"].numpy()


def served(model_directory, dataset):
    """Probabilities of the validation split by the published SavedModel, and it."""
    data = open_dataset(dataset)
    split = read_split(dataset, "validation", data.splits["validation"], data.labels)
    rows = [
        split.token_ids[start:end][None]
        for start, end in zip(split.row_splits, split.row_splits[1:], strict=False)
    ]
    longest = split.lengths.max()
    padded = [
        np.pad(row, ((0, 0), (0, longest - row.size)), constant_values=1)
        for row in rows
    ]
    return serve(model_directory, np.concatenate(padded)), split


def served_metrics(model_directory, dataset, weights):
    """Metrics of the validation split by the published SavedModel, row by row."""
    probabilities, split = served(model_directory, dataset)
    weights = np.array(weights, np.float32)
    losses = row_losses(LossConfig(), "softmax", weights)
    task = Task("multiclass", "softmax", probabilities.shape[1], losses)
    return task.metrics(np.log(probabilities), split.labels)


def test_a_model_is_published_whole(model, dataset):
    output, summary = model
    opened = open_model(str(output))  # checks every file against the manifest
    manifest = json.loads((output / "manifest.json").read_text())
    assert opened.core_fingerprint == summary["core_fingerprint"]
    assert manifest["core_fingerprint"] == summary["core_fingerprint"]
    assert manifest["files"].keys() == {
        "README.md",
        "history.json",
        "logs/events.out.tfevents.0",
        "model.json",
        "model.keras",
        "saved_model/fingerprint.pb",
        "saved_model/saved_model.pb",
        "saved_model/variables/variables.data-00000-of-00001",
        "saved_model/variables/variables.index",
        "tokenizer/sentencepiece.bpe.model",
        "training_texts.u64",
        "validation_texts.u64",
    }
    assert (output / "_SUCCESS").exists()
    metadata = opened.metadata
    assert metadata.labels.names == ("negative", "neutral", "positive")
    assert metadata.text.max_tokens == 64
    assert metadata.initial_model is None
    assert metadata.dataset_fingerprint == open_dataset(dataset).fingerprint
    assert metadata.training_statistics["train"]["examples"] == 400
    run = json.loads((output / "run.json").read_text())
    assert run["dataset"] == str(dataset)
    assert run["tokens_per_second"] > 0
    # Of the training only the model is left.
    assert sorted(path.name for path in output.parent.iterdir()) == [output.name]


def test_the_calibration_is_what_validation_says_of_the_published_model(model, dataset):
    output, _ = model
    probabilities, split = served(output, dataset)
    codes, names = split.language_codes()
    languages = [names[code] for code in codes]
    assert None in languages
    expected = fit_calibration(probabilities, split.labels, languages, "multiclass")
    metadata = open_model(str(output)).metadata
    found = metadata.calibration
    assert found.rows == 120
    assert found.temperature == pytest.approx(expected.temperature, rel=1e-3)
    assert found.temperature != 1
    assert found.languages.keys() == expected.languages.keys()
    predictions = metadata.training_statistics["predictions"]
    assert (
        predictions["calibration"]
        == calibration_report(
            probabilities, split.labels, languages, "multiclass", found
        )
        | predictions["calibration"]
    )
    probabilities = calibrated(probabilities, languages, "multiclass", found)
    decided = decide(probabilities, languages, "multiclass", found)
    expected = count_predictions(probabilities, decided, NAMES, "multiclass")
    shown = predictions["histograms"]
    assert (shown["rows"], shown["squares"]) == (120, 120)
    assert shown["counts"]["predicted_label"] == expected["counts"]["predicted_label"]


def test_history_and_summary_tell_what_the_published_model_does(model, dataset):
    output, summary = model
    history = json.loads((output / "history.json").read_text())
    assert [epoch["epoch"] for epoch in history["epochs"]] == [1, 2]
    best = max(history["epochs"], key=lambda epoch: epoch["validation"]["macro_f1"])
    assert history["best_epoch"] == best["epoch"] == summary["best_epoch"]
    assert history["validation"] == best["validation"] == summary["validation"]
    weights = open_model(str(output)).metadata.class_weights
    metrics = served_metrics(output, dataset, weights)
    assert metrics.accuracy == pytest.approx(summary["validation"]["accuracy"])
    assert metrics.macro_f1 == pytest.approx(summary["validation"]["macro_f1"])
    assert metrics.loss == pytest.approx(summary["validation"]["loss"], rel=1e-4)
    assert metrics.accuracy > 0.7  # it has learned: half are of the largest class
    assert history["seen"] == [
        {"language": language, "rows": rows, "seen": rows}
        for language, rows in [("en", 134), ("de", 133), (None, 133)]
    ]
    assert "against_initial" not in history
    rates = [epoch["learning_rate"] for epoch in history["epochs"]]
    steps = history["epochs"][-1]["steps"]
    assert rates[1] == pytest.approx(1e-2 / (steps - round(steps * 0.1)))
    ends = {point["step"]: point["learning_rate"] for point in history["curve"]}
    assert len(ends) == steps
    assert [ends[epoch["steps"]] for epoch in history["epochs"]] == rates


@pytest.mark.slow
def test_the_keras_file_opens_with_keras_alone_and_trains_on(model):
    output, _ = model
    found = run_elsewhere(LOAD_KERAS_FILE, output)
    assert found["reviewbeam"] == []
    np.testing.assert_allclose(
        found["probabilities"], serve(output, np.array(TOKEN_IDS, np.int32)), atol=1e-5
    )
    history = json.loads((output / "history.json").read_text())
    steps = history["epochs"][history["best_epoch"] - 1]["steps"]
    assert found["iterations"] == [steps, steps + 1]
    assert found["momentum"] > 0
    assert found["moved"] == ["transformer_layer_0"]  # the embeddings are frozen


def test_the_saved_model_opens_with_tensorflow_alone(binary_model):
    output, _ = binary_model
    found = run_elsewhere(LOAD_SAVED_MODEL, output)
    assert found["others"] == []
    assert found["inputs"] == {
        "token_ids": [[None, None], "int32"],
        "padding_mask": [[None, None], "int32"],
    }
    assert found["outputs"] == {"probabilities": "float32"}
    probabilities = np.array(found["probabilities"])
    assert probabilities.shape == (3, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    loaded = keras.models.load_model(output / "model.keras")
    token_ids = np.array(TOKEN_IDS, np.int32)
    inputs = {"token_ids": token_ids, "padding_mask": (token_ids != 1).astype(np.int32)}
    np.testing.assert_allclose(loaded(inputs), probabilities, atol=1e-5)


def test_the_saved_model_holds_each_weight_once(model):
    output, _ = model
    weights = sum(
        variable.numpy().nbytes
        for variable in keras.models.load_model(output / "model.keras").weights
    )
    written = (output / "saved_model/variables/variables.data-00000-of-00001").stat()
    index_bytes = 8192  # which doesn't grow with the weights
    assert written.st_size <= 1.05 * weights + index_bytes


def test_a_binary_model_says_the_positive_class_second(binary_model, binary_dataset):
    output, summary = binary_model
    metrics = served_metrics(output, binary_dataset, [1.0, 1.0])
    assert metrics.accuracy == pytest.approx(summary["validation"]["accuracy"])


def test_what_is_frozen_stays_and_the_rest_moves(model, tiny_encoder):
    output, _ = model
    from safetensors.numpy import load_file

    pretrained = load_file(tiny_encoder / "model.safetensors")
    trained = keras.models.load_model(output / "model.keras")
    table = trained.get_layer("token_embedding").weights[0]
    np.testing.assert_array_equal(
        table, pretrained["embeddings.word_embeddings.weight"]
    )
    norm = trained.get_layer("embeddings_layer_norm").weights[0]
    np.testing.assert_array_equal(norm, pretrained["embeddings.LayerNorm.weight"])
    query = trained.get_layer("transformer_layer_0").weights[0].numpy()
    before = pretrained["encoder.layer.0.attention.self.query.weight"].T
    assert (query.reshape(16, 16) != before).any()
    # Two slots for each weight that is trained, and none for the frozen ones.
    assert len(trained.optimizer.variables) == 2 + 2 * len(trained.trainable_weights)
    assert {v.path.split("/")[0] for v in trained.trainable_weights} == {
        "transformer_layer_0",
        "transformer_layer_1",
        "logits",
    }


def test_a_second_run_gives_the_same_weights(
    model, make_config, dataset, train_quietly, tmp_path
):
    output, summary = model
    again = train_quietly(make_config(), dataset, tmp_path / "again")
    assert again["core_fingerprint"] == summary["core_fingerprint"]
    assert again["fingerprint"] == summary["fingerprint"]
    left, right = (
        keras.models.load_model(directory / "model.keras")
        for directory in (output, tmp_path / "again")
    )
    pairs = zip(left.weights, right.weights, strict=True)
    assert all(np.array_equal(one.numpy(), two.numpy()) for one, two in pairs)
    histories = [
        (directory / "history.json").read_bytes()
        for directory in (output, tmp_path / "again")
    ]
    assert histories[0] == histories[1]


def test_a_finished_model_is_not_trained_again(
    model, make_config, dataset, train_quietly, monkeypatch
):
    output, summary = model
    before = (output / "run.json").read_bytes()
    again = train_quietly(make_config(), dataset, output)
    assert again["done_before"] and not summary["done_before"]
    assert again["validation"] == summary["validation"]
    assert (output / "run.json").read_bytes() == before
    with pytest.raises(UserError, match="--overwrite"):
        train_quietly(make_config(seed=2), dataset, output)


def test_the_best_epoch_wins_and_patience_ends_training(
    make_config, tiny_encoder, train_quietly, tmp_path
):
    # Labels that nothing tells: what is learned from them doesn't hold elsewhere.
    random = np.random.default_rng(0)
    rows = [(ids, int(random.integers(3))) for ids, _ in make_rows(60, seed=5)]
    dataset = write_dataset(
        tmp_path / "noise",
        tiny_encoder,
        {"train": rows[:40], "validation": rows[40:]},
    )
    config = make_config(
        model={"freeze_layers": 1, "encoder_dropout": 0},
        epochs=8,
        patience=2,
        learning_rate=2e-2,
        early_stopping_metric="loss",
        class_weights="none",
    )
    summary = train_quietly(config, dataset, tmp_path / "model")
    history = json.loads((tmp_path / "model" / "history.json").read_text())
    losses = [epoch["validation"]["loss"] for epoch in history["epochs"]]
    assert summary["best_epoch"] == int(np.argmin(losses)) + 1
    assert summary["epochs"] == summary["best_epoch"] + 2 < 8
    metrics = served_metrics(tmp_path / "model", dataset, [1.0, 1.0, 1.0])
    assert metrics.loss == pytest.approx(min(losses), rel=1e-4)


def test_a_loss_that_is_no_number_stops_and_names_the_examples(
    make_config, dataset, train_quietly, tmp_path
):
    config = make_config(learning_rate=1e30)
    with pytest.raises(ReviewbeamError, match=r"loss of step 2 is (nan|inf)") as error:
        train_quietly(config, dataset, tmp_path / "model")
    assert "'train-" in str(error.value)
    assert error.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []  # nothing by half


def test_files_that_disagree_are_not_published(
    make_config, binary_dataset, train_quietly, tmp_path, monkeypatch
):
    write = export.export_model

    def write_another_keras_file(classifier, directory):
        write(classifier, directory)
        bias = classifier.get_layer("logits").bias
        bias.assign(bias + 1e-3)
        classifier.save(directory / "model.keras")

    monkeypatch.setattr(
        "reviewbeam.components.trainer.writing.export_model", write_another_keras_file
    )
    config = make_config(model={"freeze_layers": 2}, epochs=1)
    with pytest.raises(ReviewbeamError, match="differ by up to 0.000"):
        train_quietly(config, binary_dataset, tmp_path / "model")
    # No model; the finished training is kept, and is not to be done again.
    assert [path.name for path in tmp_path.iterdir()] == ["model.training"]


def test_augmented_examples_are_trained_on_with_the_others(
    make_config, tiny_encoder, train_quietly, tmp_path
):
    # The same rows, once all in the train split, once some of them augmented.
    rows, validation = make_rows(90, seed=1), make_rows(20, seed=2)
    splits = {"train": rows[:60], "augmented": rows[60:], "validation": validation}
    model = {"freeze_layers": 1}
    config = make_config(model=model, epochs=1, class_weights="balanced")
    divided = write_dataset(tmp_path / "divided", tiny_encoder, splits, shards=2)
    train_quietly(config, divided, tmp_path / "model")
    found = open_model(str(tmp_path / "model")).metadata
    splits = {"train": rows, "validation": validation}
    whole = write_dataset(tmp_path / "whole", tiny_encoder, splits, shards=2)
    expected = fit_classifier(
        config,
        open_dataset(whole),
        open_encoder(str(tiny_encoder)),
        tf.distribute.get_strategy(),
        Checkpoints(tmp_path / "of-whole", "fingerprint"),
        TrainingDisplay(quiet=True),
    )
    # Both shards hold the rows in the same order, so batches and weights are equal.
    assert found.weights_sha256 == weights_sha256(expected.classifier)
    assert found.class_weights == tuple(expected.class_weights.tolist())
    statistics = found.training_statistics
    assert statistics["train"]["examples"] == 60
    assert statistics["augmented"]["examples"] == 30
    assert statistics["validation"]["examples"] == 20


def test_a_class_without_training_examples_is_told(
    make_config, tiny_encoder, tmp_path, capsys
):
    rows = [row for row in make_rows(40, seed=1) if row[1] != 1]
    splits = {"train": rows}
    dataset = write_dataset(tmp_path / "dataset", tiny_encoder, splits)
    model = {"freeze_layers": 2}
    config = make_config(model=model, epochs=1, early_stopping_metric="none")
    display = TrainingDisplay(Console(stderr=True))
    summary = train(config, dataset, tmp_path / "model", display=display)
    assert summary["validation"] is None
    lines = capsys.readouterr().err.splitlines()
    assert "no training example has the label 'neutral'" in lines[0]
    assert any(line.startswith("epoch 1/1: training loss ") for line in lines)


def test_training_begins_with_an_earlier_model(
    model, make_config, dataset, train_quietly, tmp_path
):
    earlier, before = model
    # Hardly a step is made, so that what was begun with is what comes out.
    config = make_config(epochs=1, learning_rate=1e-9)
    summary = train_quietly(config, dataset, tmp_path / "model", initial=earlier)
    assert summary["fingerprint"] != before["fingerprint"]
    metadata = open_model(str(tmp_path / "model")).metadata
    assert metadata.initial_model == before["core_fingerprint"]
    left, right = (
        keras.models.load_model(directory / "model.keras")
        for directory in (earlier, tmp_path / "model")
    )
    for one, other in zip(left.weights, right.weights, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-6)
    # The optimizer begins anew.
    history = json.loads((tmp_path / "model" / "history.json").read_text())
    steps = history["epochs"][0]["steps"]
    assert int(right.optimizer.iterations.numpy()) == steps
    for metric in ("accuracy", "macro_f1"):
        assert summary["validation"][metric] == before["validation"][metric]
    loss = before["validation"]["loss"]
    assert summary["validation"]["loss"] == pytest.approx(loss, rel=1e-4)

    compared = history["against_initial"]
    assert [entry["language"] for entry in compared] == ["en", "de", None]
    assert [entry["rows"] for entry in compared] == [40, 40, 40]
    for entry in compared:
        assert entry["before"] == entry["after"]
        assert entry["before"].keys() == {"accuracy", "macro_f1", "error"}
    correct = sum(e["rows"] * e["before"]["accuracy"] for e in compared)
    assert correct / 120 == pytest.approx(before["validation"]["accuracy"])


def test_a_model_of_another_vocabulary_can_t_be_begun_with(
    model, make_config, dataset, train_quietly, tmp_path, monkeypatch
):
    opened = open_model(str(model[0]))
    other = opened.metadata.model_copy(update={"vocabulary_sha256": "0" * 64})
    monkeypatch.setattr(
        "reviewbeam.components.trainer.train.open_model",
        lambda path: dataclasses.replace(opened, metadata=other),
    )
    with pytest.raises(UserError, match="another vocabulary than the dataset"):
        train_quietly(make_config(), dataset, tmp_path / "model", initial=model[0])
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_model_can_t_be_begun_with(
    make_config, dataset, train_quietly, tmp_path
):
    with pytest.raises(UserError, match="not a finished model"):
        train_quietly(
            make_config(), dataset, tmp_path / "model", initial=dataset.parent
        )
    with pytest.raises(UserError, match="'dataset'; 'model' was expected"):
        train_quietly(make_config(), dataset, tmp_path / "model", initial=dataset)
