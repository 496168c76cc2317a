"""Each option of the config changes what it says it changes: a test per option.

Most fits run without graphs: tracing would cost more than a few small steps.
"""

import functools
import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.config import (
    disable_op_determinism,
    is_op_determinism_enabled,
)

from reviewbeam.components.common import processor, train_config
from reviewbeam.components.common.encoder_directory import open_encoder
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.train_config import TrainConfig
from reviewbeam.components.trainer import fitting
from reviewbeam.components.trainer.checkpoint import Checkpoints
from reviewbeam.components.trainer.dataset import check_trainable, open_dataset
from reviewbeam.components.trainer.devices import training_strategy
from reviewbeam.components.trainer.display import TrainingDisplay
from reviewbeam.components.trainer.input import _no_rows
from reviewbeam.components.trainer.metrics import Task, ValidationMetrics
from tests.components.trainer.datasets import make_rows, write_dataset

SECTIONS = {
    "model": train_config.ModelConfig,
    "model.lora": train_config.LoraConfig,
    "loss": train_config.LossConfig,
    "sampling": train_config.SamplingConfig,
    "training": train_config.TrainingConfig,
}
PLAIN = {  # what makes a step easy to foretell
    "model": {
        "freeze_layers": 0,
        "embedding_dropout": 0,
        "encoder_dropout": 0,
        "dropout": 0,
        "hidden_dropout": 0,
    },
    "training": {
        "epochs": 1,
        "batch_tokens": 100_000,  # one step
        "learning_rate": 1e-3,
        "warmup_fraction": 0,
        "schedule": "constant",
        "weight_decay": 0,
        "clip_norm": None,
        "class_weights": "none",
        "early_stopping_metric": "none",
    },
}
STILL = {"learning_rate": 1e-12}
HEAD = {"freeze_layers": 2}  # trains the head alone, where all would tell no more
TESTED = set()


def option(*keys):
    """Notes which options a test is of."""
    TESTED.update(keys)
    return lambda test: test


def test_every_option_has_a_test():
    options = {
        f"{section}.{key}"
        for section, model in SECTIONS.items()
        for key in model.model_fields
    }
    assert TESTED == options
    nested = {key for key in TrainConfig.model_fields if key != "encoder"}
    assert nested == {section for section in SECTIONS if "." not in section}


class RecordingTrainer(fitting.Trainer):
    """Notes what is trained, step by step."""

    last = None

    def __init__(self, strategy, classifier, optimizer, *args, **kwargs):
        super().__init__(strategy, classifier, optimizer, *args, **kwargs)
        RecordingTrainer.last = self
        self.classifier, self.optimizer = classifier, optimizer
        self.trained = [v.path for v in classifier.trainable_variables]
        self.before = self.weights()
        self.rates, self.losses, self.rows, self.shapes = [], [], [], []
        self.epochs = []

    def weights(self):
        return {v.path: v.numpy().copy() for v in self.classifier.weights}

    def _checked_step(self, train, group, rows):
        loss = super()._checked_step(train, group, rows)
        self.rates.append(float(self.optimizer.learning_rate.numpy()))
        self.losses.append(loss)
        self.rows.append(rows)
        self.shapes += [tuple(batch.token_ids.shape) for batch in group]
        self.split = train
        return loss

    def _end_epoch(self, *args):
        super()._end_epoch(*args)
        self.epochs.append(self.weights())

    def fit(self, train, validation):
        progress = super().fit(train, validation)
        self.after = self.weights()
        slots = self.optimizer._momentums
        self.momentums = [slot.numpy().copy() for slot in slots]
        return progress


@pytest.fixture(scope="module")
def datasets(tiny_encoder, tmp_path_factory):
    """Function of a name to a dataset; train and validation have the same rows."""
    folder = tmp_path_factory.mktemp("options")
    rows = make_rows(60, seed=1)
    long = [([0, *ids[1:-1], *[9] * (32 - len(ids)), 2], n) for ids, n in rows]
    made = {
        "plain": {"rows": rows},
        "ordinal": {"rows": rows, "label_type": "ordinal"},
        "one length": {"rows": long},
        "languages": {"rows": rows, "languages": ["en"] * 8 + ["de", "fr"]},
    }

    @functools.cache
    def dataset(name):
        described = dict(made[name])
        rows = described.pop("rows")
        splits = {"train": rows, "validation": rows}
        path = write_dataset(folder / name, tiny_encoder, splits, **described)
        return open_dataset(path)

    return dataset


@pytest.fixture(scope="module")
def fit(tiny_encoder, datasets, tmp_path_factory):
    """Returns a function that fits plainly but for some options: (Fitted, record).

    What costs time and is not looked at is left out unless `whole` is set: the
    validation split, and the copy of the classifier that leaves the devices.
    """
    fits = {}

    @functools.cache
    def splits(name, whole):
        read = fitting.read_splits(datasets(name))
        return read if whole else read | {"validation": _no_rows(datasets(name).labels)}

    def fit(data="plain", *, whole=False, graphs=False, again=False, **changes):
        key = json.dumps([data, whole, graphs, changes], sort_keys=True)
        if key in fits and not again:
            return fits[key]
        sections = {
            section: PLAIN.get(section, {}) | changes.get(section, {})
            for section in PLAIN.keys() | changes.keys()
        }
        config = TrainConfig.model_validate({"encoder": str(tiny_encoder)} | sections)
        encoder = open_encoder(config.encoder)
        check_trainable(datasets(data), encoder, config)
        output = tmp_path_factory.mktemp("fit") / "model"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fitting, "Trainer", RecordingTrainer)
            if not whole:
                patch.setattr(fitting, "plain_copy", lambda classifier, *_: classifier)
            tf.config.run_functions_eagerly(not graphs)
            try:
                fitted = fitting.fit_classifier(
                    config,
                    datasets(data),
                    encoder,
                    training_strategy(),
                    Checkpoints(output, "options"),
                    TrainingDisplay(quiet=True),
                    splits=splits(data, whole),
                )
            finally:
                tf.config.run_functions_eagerly(False)
        fits[key] = fitted, RecordingTrainer.last
        return fits[key]

    return fit


def moved(record):
    """Names of the variables that training changed."""
    return {
        path
        for path, before in record.before.items()
        if (record.after[path] != before).any()
    }


def largest_move(record, part):
    """The largest change of a weight among variables whose path begins so."""
    changes = [
        np.abs(record.after[path] - before).max()
        for path, before in record.before.items()
        if path.startswith(part)
    ]
    return float(max(changes))


def softmax(logits):
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


# === model ===


@option("model.pooling")
@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_pooling(fit, pooling):
    model = fit(whole=True, model={"pooling": pooling})[0].classifier
    token_ids = np.array([[0, 5, 6, 7, 2], [0, 8, 2, 1, 1]], np.int32)
    mask = (token_ids != 1).astype(np.int32)
    inputs = {"token_ids": token_ids, "padding_mask": mask}
    # Its first node is in the backbone.
    (last,) = model.get_layer("transformer_layer_1")._inbound_nodes[-1].output_tensors
    hidden = keras.Model(model.input, last)(inputs).numpy()
    pooled = {
        "mean": [row[:n].mean(axis=0) for row, n in zip(hidden, (5, 3), strict=True)],
        "max": [row[:n].max(axis=0) for row, n in zip(hidden, (5, 3), strict=True)],
        "cls": hidden[:, 0],
    }[pooling]
    layer = model.get_layer("logits")
    expected = softmax(np.array(pooled) @ layer.kernel.numpy() + layer.bias.numpy())
    np.testing.assert_allclose(model(inputs), expected, atol=1e-5)


@option("model.hidden_units")
def test_hidden_units(fit):
    fitted, record = fit(model={"hidden_units": 5})
    assert fitted.classifier.get_layer("hidden").kernel.shape == (16, 5)
    assert {"hidden/kernel", "hidden/bias"} <= moved(record)
    assert "hidden/kernel" not in fit()[1].before


@option(
    "model.embedding_dropout",
    "model.encoder_dropout",
    "model.dropout",
    "model.hidden_dropout",
)
@pytest.mark.parametrize(
    "key", ["embedding_dropout", "encoder_dropout", "dropout", "hidden_dropout"]
)
def test_dropout(fit, key):
    layers = {
        "embedding_dropout": "embeddings_dropout",
        "dropout": "pooled_dropout",
        "hidden_dropout": "hidden_dropout",
    }
    hidden = {"hidden_units": 5}
    plain = fit(whole=True, model=hidden, training=STILL)[0]
    fitted, record = fit(whole=True, model=hidden | {key: 0.5}, training=STILL)
    rates = {
        name: record.classifier.get_layer(layer).rate for name, layer in layers.items()
    }
    encoder = record.classifier.get_layer("transformer_layer_1").dropout
    assert rates | {"encoder_dropout": encoder} == {
        name: 0.5 if name == key else 0 for name in [*layers, "encoder_dropout"]
    }
    # The rows are the same, and the weights don't move.
    differences = [
        abs(epoch["training"]["loss"] - epoch["validation"]["loss"])
        for epoch in (plain.progress.history[0], fitted.progress.history[0])
    ]
    assert differences[0] < 1e-6
    assert differences[1] > 1e-5


@option("model.ordinal_head")
def test_ordinal_head(fit):
    cumulative = fit("ordinal", whole=True)[0]
    assert cumulative.logits.shape == (60, 2)
    assert (np.diff(cumulative.logits) < 0).all()  # P(above) falls
    softmax_head = fit("ordinal", whole=True, model={"ordinal_head": "softmax"})[0]
    assert softmax_head.logits.shape == (60, 3)


@option("model.freeze_embeddings", "model.freeze_layers")
def test_freezing(fit):
    def parts(**model):
        names = {path.split("/")[0] for path in moved(fit(model=model)[1])}
        return {name.removeprefix("transformer_") for name in names}

    embeddings = {"token_embedding", "position_embedding", "embeddings_layer_norm"}
    assert parts(freeze_layers=0) == {"layer_0", "layer_1", "logits"}
    assert parts(freeze_layers=1) == parts(freeze_layers="half")
    assert parts(freeze_layers="half") == {"layer_1", "logits"}
    assert parts(freeze_layers=2) == {"logits"}
    found = parts(freeze_layers=0, freeze_embeddings=False)
    assert len(found & embeddings) >= 1
    assert found >= {"layer_0", "layer_1", "logits"}
    table = next(p for p in fit()[1].before if "embedding" in p)
    assert table in moved(fit(model={"freeze_embeddings": False})[1])


@option("model.lora", "model.lora.rank", "model.lora.alpha", "model.lora.targets")
@pytest.mark.parametrize("targets", ["attention", "all"])
def test_lora(fit, targets):
    lora = {"rank": 3, "alpha": 6.0, "targets": targets}
    fitted, record = fit(
        whole=True,
        model={"lora": lora, "freeze_layers": 1},
        training={"learning_rate": 1e-2, "epochs": 2},  # in the first, half stay
    )
    factors = [path for path in record.trained if "lora_kernel" in path]
    assert {*record.trained} - {*factors} == {"logits/kernel", "logits/bias"}
    assert moved(record) == {*factors, "logits/kernel", "logits/bias"}
    adapted = {path.rsplit("/", 1)[0] for path in factors}
    assert all(path.startswith("transformer_layer_1/") for path in adapted)
    ends = {path.rsplit("/", 1)[1] for path in adapted}
    if targets == "attention":
        assert ends == {"query", "value"}
    else:
        assert ends > {"query", "key", "value"} and len(adapted) == 6
    merged = {v.path: v.numpy() for v in fitted.classifier.weights}
    assert not any("lora" in path for path in merged)
    for path in adapted:
        a, b = (record.after[f"{path}/lora_kernel_{name}"] for name in "ab")
        assert a.shape[-1] == b.shape[0] == 3
        before = record.before[f"{path}/kernel"]
        change = 6 / 3 * np.tensordot(a, b, 1)
        assert np.abs(change).max() > 1e-4
        np.testing.assert_allclose(
            merged[f"{path}/kernel"], before + change.reshape(before.shape), atol=1e-6
        )


# === loss ===


@option("loss.name", "loss.label_smoothing", "loss.focal_gamma")
@pytest.mark.parametrize(
    "loss",
    [
        {},
        {"label_smoothing": 0.2},
        {"name": "focal"},
        {"name": "focal", "focal_gamma": 0.5},
    ],
)
def test_loss(fit, loss):
    fitted, _ = fit(whole=True, loss=loss, training=STILL)
    probabilities = softmax(fitted.logits.astype(np.float64))
    labels = fitted.splits["validation"].labels
    own = probabilities[np.arange(60), labels]
    expected = -np.log(own)
    if loss.get("name") == "focal":
        expected = expected * (1 - own) ** loss.get("focal_gamma", 2.0)
    if "label_smoothing" in loss:
        expected = 0.8 * expected - 0.2 * np.log(probabilities).mean(axis=1)
    (epoch,) = fitted.progress.history
    assert epoch["training"]["loss"] == pytest.approx(expected.mean(), rel=1e-4)
    assert epoch["validation"]["loss"] == pytest.approx(expected.mean(), rel=1e-4)


# === sampling ===


@option("sampling.by", "sampling.alpha")
def test_sampling(fit):
    def seen(sampling):
        changes = {} if sampling is None else {"sampling": sampling}
        fitted, record = fit("languages", model=HEAD, **changes)
        codes, names = record.split.language_codes()
        found = np.bincount(codes[np.concatenate(record.rows)], minlength=3)
        found = dict(zip(names, found.tolist(), strict=True))
        assert found == {entry["language"]: entry["seen"] for entry in fitted.mix}
        return found

    assert seen(None) == seen({"alpha": 1}) == {"en": 48, "de": 6, "fr": 6}
    assert seen({"by": "language", "alpha": 0}) == {"en": 20, "de": 20, "fr": 20}
    # 0.8 ** 0.3 = 0.935 and twice 0.1 ** 0.3 = 0.501
    assert seen({"alpha": 0.3}) == seen({}) == {"en": 29, "de": 16, "fr": 15}


# === training ===


@option("training.epochs")
def test_epochs(fit):
    fitted, record = fit(model=HEAD, training={"epochs": 3})
    assert [epoch["epoch"] for epoch in fitted.progress.history] == [1, 2, 3]
    assert sorted(np.concatenate(record.rows)) == sorted([*range(60)] * 3)


@option("training.batch_tokens")
def test_batch_tokens(fit):
    small = fit(model=HEAD, training={"batch_tokens": 100})[1]
    large = fit(model=HEAD, training={"batch_tokens": 400})[1]
    assert max(rows * length for rows, length in small.shapes) <= 100
    assert 100 < max(rows * length for rows, length in large.shapes) <= 400
    assert len(small.rates) > 2 * len(large.rates)


@option("training.accumulation")
def test_accumulation(fit):
    # Two steps an epoch, of 30 rows each as far as may be.
    large = fit("one length", training={"batch_tokens": 64 * 32, "epochs": 2})
    small = fit(
        "one length",
        training={"batch_tokens": 8 * 32, "accumulation": 8, "epochs": 2},
    )
    plain = fit("one length", model=HEAD, training={"batch_tokens": 8 * 32})
    assert [r.optimizer.iterations.numpy() for _, r in (large, small)] == [2, 2]
    assert len(plain[1].rates) == 8
    for path, weight in large[1].after.items():
        np.testing.assert_allclose(small[1].after[path], weight, atol=1e-5)
    np.testing.assert_allclose(small[1].losses, large[1].losses, rtol=1e-5)
    assert len(moved(large[1])) > 20


@option("training.learning_rate")
def test_learning_rate(fit):
    for rate in (1e-3, 1e-2):
        record = fit(model=HEAD, training={"learning_rate": rate})[1]
        # Adam's first step is as long as the rate.
        assert largest_move(record, "logits/bias") == pytest.approx(rate, rel=1e-2)


@option("training.layer_decay")
def test_layer_decay(fit):
    record = fit(model={"freeze_embeddings": False}, training={"layer_decay": 0.5})[1]
    table = next(path for path in record.before if "token_embedding" in path)
    parts = ("logits", "transformer_layer_1", "transformer_layer_0", table)
    rates = [largest_move(record, part) for part in parts]
    np.testing.assert_allclose(rates, [1e-3, 5e-4, 2.5e-4, 1.25e-4], rtol=0.05)
    plain = fit()[1]
    rates = [largest_move(plain, part) for part in parts[:3]]
    np.testing.assert_allclose(rates, [1e-3] * 3, rtol=0.05)


@option("training.schedule", "training.warmup_fraction")
@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_schedule(fit, schedule):
    changes = {"schedule": schedule, "warmup_fraction": 0.25, "batch_tokens": 100}
    rates = np.array(fit(model=HEAD, training=changes)[1].rates)
    total = len(rates)
    warm = round(total / 4)
    assert warm >= 2
    done = np.arange(total - warm) / (total - warm)
    falling = {
        "linear": 1 - done,
        "cosine": (1 + np.cos(np.pi * done)) / 2,
        "constant": np.ones(total - warm),
    }[schedule]
    expected = np.concatenate([np.arange(1, warm + 1) / warm, falling])
    np.testing.assert_allclose(rates, 1e-3 * expected, rtol=1e-5)


@option("training.weight_decay")
def test_weight_decay(fit):
    without = fit()[1]
    with_decay = fit(training={"weight_decay": 10.0})[1]
    decayed = set()
    for path in without.trained:
        change = with_decay.after[path] - without.after[path]
        if path.endswith(("/bias", "/gamma", "/beta")):
            assert not change.any()
        else:
            decayed.add(path.split("/")[-1])
            expected = -10.0 * 1e-3 * without.before[path]
            np.testing.assert_allclose(change, expected, atol=1e-6)
    assert decayed == {"kernel"}


@option("training.clip_norm")
def test_clip_norm(fit):
    def norm(clip_norm):
        record = fit(training={"clip_norm": clip_norm})[1]
        squares = sum(float((m.astype(float) ** 2).sum()) for m in record.momentums)
        return np.sqrt(squares) / 0.1  # Adam's momentum after one step

    free = norm(None)
    assert norm(free / 4) == pytest.approx(free / 4, rel=1e-4)
    assert norm(free * 4) == pytest.approx(free, rel=1e-4)


@option("training.class_weights")
def test_class_weights(fit):
    def share(scheme):
        changes = {"batch_tokens": 256, "learning_rate": 1e-2, "class_weights": scheme}
        fitted = fit(whole=True, model=HEAD, training=changes)[0]
        return fitted.class_weights, softmax(fitted.logits)[:, 0].mean()

    counts = np.bincount(make_labels(), minlength=3)
    assert counts[0] > counts[1:].max()
    shares = {}
    for scheme, power in {"none": 0, "sqrt": 0.5, 0.75: 0.75, "balanced": 1}.items():
        weights, shares[scheme] = share(scheme)
        expected = counts ** -float(power)
        expected *= 60 / (expected @ counts)
        np.testing.assert_allclose(weights, expected, rtol=1e-5)
    # The frequent class is said ever less.
    assert shares["none"] > shares["sqrt"] > shares[0.75] > shares["balanced"]


def make_labels():
    return [label for _, label in make_rows(60, seed=1)]


@option("training.precision")
@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16", "float16"])
def test_precision(fit, precision):
    fitted, record = fit(whole=True, training={"precision": precision})
    expected = "float32" if precision == "auto" else precision
    assert fitted.precision == expected
    layer = record.classifier.get_layer("transformer_layer_1")
    assert layer.compute_dtype == expected
    assert record.classifier.get_layer("logits").compute_dtype == "float32"
    dtypes = {
        v.dtype for v in [*record.classifier.weights, *record.optimizer.variables]
    }
    assert dtypes <= {"float32", "int32", "int64"}
    copied = fitted.classifier.get_layer("transformer_layer_1")
    assert copied.compute_dtype == "float32"
    plain = fit()[1]
    difference = np.abs(np.array(record.losses) - plain.losses).max()
    assert (difference > 0) == (expected != "float32")
    assert difference < {"float32": 1e-6, "bfloat16": 0.1, "float16": 0.01}[expected]
    assert moved(record) == moved(plain)


@option("training.xla")
def test_xla(fit):
    rows = {"batch_tokens": 16 * 32, "epochs": 2}
    plain = fit("one length", graphs=True, training=rows)[1]
    compiled = fit("one length", graphs=True, training=rows | {"xla": True})[1]
    assert compiled._step._gradients._jit_compile
    assert not hasattr(plain._step._gradients, "_jit_compile")
    np.testing.assert_allclose(compiled.losses, plain.losses, atol=1e-4)
    for path, weight in plain.after.items():
        np.testing.assert_allclose(compiled.after[path], weight, atol=1e-4)
    # Each shape is compiled: the last batch of an epoch is filled up.
    assert set(compiled.shapes) == {(16, 32)} < set(plain.shapes)


@option("training.early_stopping_metric", "training.patience")
@pytest.mark.parametrize(
    ("metric", "patience", "epochs", "best"),
    [
        ("macro_f1", 2, 4, 2),
        ("macro_f1", 1, 3, 2),
        ("accuracy", 1, 2, 1),
        ("loss", 1, 5, 4),
        ("error", 1, 4, 3),
        ("none", 1, 5, 5),
    ],
)
def test_early_stopping(fit, monkeypatch, metric, patience, epochs, best):
    script = iter(
        zip(
            [5.0, 4.0, 3.0, 2.0, 2.0],  # loss
            [0.5, 0.4, 0.6, 0.3, 0.2],  # accuracy
            [0.1, 0.3, 0.3, 0.2, 0.9],  # macro F1
            [0.9, 0.8, 0.7, 0.8, 0.9],  # error
            strict=True,
        )
    )
    monkeypatch.setattr(Task, "metrics", lambda *_: ValidationMetrics(*next(script)))
    fitted, record = fit(
        "ordinal",
        whole=True,
        model=HEAD,
        training={"early_stopping_metric": metric, "patience": patience, "epochs": 5},
    )
    progress = fitted.progress
    assert (len(progress.history), progress.best_epoch) == (epochs, best)
    for path, weight in record.epochs[best - 1].items():
        np.testing.assert_array_equal(record.after[path], weight)


@option("training.checkpoint_steps")
def test_checkpoint_steps(fit, monkeypatch):
    saved = []
    monkeypatch.setattr(
        Checkpoints, "save", lambda self, state, _: saved.append(state["step"])
    )
    changes = {"checkpoint_steps": 4, "epochs": 2, "batch_tokens": 100}
    fitted, _ = fit(model=HEAD, training=changes)
    ends = [epoch["steps"] for epoch in fitted.progress.history]
    assert saved == sorted({*range(4, ends[-1] + 1, 4), *ends})
    assert len(saved) > 4


@option("training.seed")
def test_seed(fit):
    first, same, other = (
        fit(
            again=again,
            model={"dropout": 0.1},
            training={"batch_tokens": 256, "seed": seed},
        )[1]
        for again, seed in ((False, 1), (True, 1), (False, 2))
    )
    for path, weight in first.after.items():
        np.testing.assert_array_equal(same.after[path], weight)
    assert (other.before["logits/kernel"] != first.before["logits/kernel"]).any()
    assert [set(rows) for rows in other.rows] != [set(rows) for rows in first.rows]


@option("training.deterministic")
def test_deterministic(fit):
    disable_op_determinism()
    fit(again=True, model=HEAD, training={"deterministic": False})
    assert not is_op_determinism_enabled()
    fit(again=True, model=HEAD, training={"deterministic": True})
    assert is_op_determinism_enabled()


@option("training.logical_cpus")
def test_logical_cpus(make_config, dataset, train_quietly, tmp_path):
    """See also test_replicas: the CPU is divided before TensorFlow starts."""
    tf.config.list_logical_devices("CPU")
    with pytest.raises(UserError, match="logical_cpus asks for 2 devices"):
        train_quietly(make_config(logical_cpus=2), dataset, tmp_path / "model")
    assert training_strategy(1).num_replicas_in_sync == 1


def test_the_processor_guard_stands_before_tensorflow_is_imported():
    """Where AMX is only announced, 16-bit kernels would end this process."""
    broken = processor.amx_is_broken(Path("/proc/cpuinfo").read_text())
    assert not broken or processor.VARIABLE in os.environ
