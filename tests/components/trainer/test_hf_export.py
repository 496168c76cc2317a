import json
import socket

import keras
import keras_hub
import numpy as np
import pytest
from safetensors.numpy import load_file

from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.common.train_config import ModelConfig
from reviewbeam.components.trainer.hf_export import export_hf, hf_obstacle
from tests.components.trainer.classifiers import make_classifier, make_metadata

HEAD = {"pooling": "cls", "hidden_units": 16}  # the tiny encoder's width
LABELS = {
    "binary": {"type": "binary", "names": ("bad", "good")},
    "multiclass": {"type": "multiclass", "names": ('<b>"a": 1', "b\n- c", "é")},
    "multilabel": {"type": "multilabel", "names": ("price", "size", "colour")},
    "ordinal": {"type": "ordinal", "names": ("1", "2", "3", "4")},
}
TOKEN_IDS = np.array([[0, 7, 8, 9, 2], [0, 300, 2, 1, 1]], np.int32)


def export(encoder, directory, kind, model=None):
    metadata = make_metadata(encoder, LABELS[kind], HEAD | (model or {}))
    classifier = make_classifier(encoder, metadata)
    vocabulary = str(encoder / "sentencepiece.bpe.model")
    assert export_hf(classifier, metadata, vocabulary, directory) is None
    return classifier


def probabilities(classifier):
    mask = (TOKEN_IDS != 1).astype(np.int32)
    return classifier({"token_ids": TOKEN_IDS, "padding_mask": mask}).numpy()


def softmax(logits):
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def multiclass(tiny_encoder, tmp_path_factory):
    """(classifier, directory) of three classes, exported without a network."""
    with pytest.MonkeyPatch.context() as patch:

        def fail(*_):
            raise AssertionError("no network at export")

        patch.setattr(socket.socket, "connect", fail)
        patch.setattr(socket, "getaddrinfo", fail)
        directory = tmp_path_factory.mktemp("exported") / "hf"
        return export(tiny_encoder, directory, "multiclass"), directory


def test_kerashub_reads_the_same_encoder_back(multiclass):
    classifier, directory = multiclass
    backbone = keras_hub.models.XLMRobertaBackbone.from_preset(str(directory))
    read = {weight.path.split("embeddings/")[-1]: weight for weight in backbone.weights}
    written = classifier.weights
    assert len(written) == len(backbone.weights) + 4  # and the head
    for weight in written:
        if weight.path.split("/")[0] in ("hidden", "logits"):
            continue
        (twin,) = (read[path] for path in read if weight.path.endswith(path))
        np.testing.assert_array_equal(weight.numpy(), twin.numpy(), weight.path)


def test_the_head_is_that_of_the_classifier(multiclass):
    classifier, directory = multiclass
    weights = load_file(directory / "model.safetensors")
    mask = (TOKEN_IDS != 1).astype(np.int32)
    first = classifier.get_layer("pooled_dropout").output
    pooled = keras.Model(classifier.input, first)(
        {"token_ids": TOKEN_IDS, "padding_mask": mask}
    ).numpy()
    hidden = np.tanh(
        pooled @ weights["classifier.dense.weight"].T + weights["classifier.dense.bias"]
    )
    logits = (
        hidden @ weights["classifier.out_proj.weight"].T
        + weights["classifier.out_proj.bias"]
    )
    np.testing.assert_allclose(softmax(logits), probabilities(classifier), atol=1e-6)


def test_two_logits_stand_for_the_one_of_a_binary_model(tiny_encoder, tmp_path):
    classifier = export(tiny_encoder, tmp_path / "hf", "binary")
    weights = load_file(tmp_path / "hf" / "model.safetensors")
    kernel, bias = (
        variable.numpy() for variable in classifier.get_layer("logits").weights
    )
    expected = np.stack([np.zeros(16), kernel[:, 0]])
    np.testing.assert_array_equal(weights["classifier.out_proj.weight"], expected)
    np.testing.assert_array_equal(weights["classifier.out_proj.bias"], [0, bias[0]])


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("multiclass", "single_label_classification"),
        ("multilabel", "multi_label_classification"),
        ("ordinal", "single_label_classification"),
    ],
)
def test_the_config_names_sizes_and_labels(tiny_encoder, tmp_path, kind, problem):
    export(tiny_encoder, tmp_path / "hf", kind, {"ordinal_head": "softmax"})
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    encoder = json.loads((tiny_encoder / "config.json").read_text())
    for key in set(encoder) - {"architectures"}:
        assert config[key] == encoder[key], key
    names = LABELS[kind]["names"]
    assert config["architectures"] == ["XLMRobertaForSequenceClassification"]
    assert config["problem_type"] == problem
    assert config["id2label"] == {str(i): name for i, name in enumerate(names)}
    assert config["label2id"] == {name: i for i, name in enumerate(names)}


def test_the_tokenizer_is_written_for_both_versions_of_transformers(
    multiclass, tiny_encoder
):
    from transformers import AutoTokenizer

    _, directory = multiclass
    assert {path.name for path in directory.iterdir()} == {
        "config.json",
        "model.safetensors",
        "sentencepiece.bpe.model",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    tokenizer = AutoTokenizer.from_pretrained(directory)
    assert tokenizer.model_max_length == 64
    ids = tokenizer("Die Qualität ist sehr gut.", truncation=True).input_ids
    assert (ids[0], ids[-1]) == (0, 2)
    assert tokenizer.mask_token_id == len(tokenizer) - 1
    # 4.57 takes a mapping there, and 5 writes a list.
    config = json.loads((directory / "tokenizer_config.json").read_text())
    assert "extra_special_tokens" not in config


@pytest.mark.parametrize(
    ("kind", "model", "reason"),
    [
        ("binary", {"pooling": "mean", "hidden_units": 16}, "pools by 'mean'"),
        ("binary", {"pooling": "cls"}, "has no hidden units"),
        ("multiclass", {"pooling": "cls", "hidden_units": 8}, "has 8 hidden units"),
        ("ordinal", HEAD, "no cumulative head"),
    ],
)
def test_says_why_transformers_has_no_such_model(kind, model, reason):
    labels = LabelRules.model_validate(LABELS[kind])
    found = hf_obstacle(labels, ModelConfig.model_validate(model), 16)
    assert reason in found and found.endswith(").")


def test_writes_nothing_where_transformers_has_no_such_model(tiny_encoder, tmp_path):
    metadata = make_metadata(tiny_encoder, LABELS["binary"], {"pooling": "mean"})
    classifier = make_classifier(tiny_encoder, metadata)
    reason = export_hf(classifier, metadata, "unused", tmp_path / "hf")
    assert "pools by 'mean'" in reason
    assert not (tmp_path / "hf").exists()


@pytest.mark.parametrize("kind", list(LABELS))
def test_pytorch_gives_the_same_probabilities(tiny_encoder, tmp_path, kind):
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForSequenceClassification

    classifier = export(
        tiny_encoder, tmp_path / "hf", kind, {"ordinal_head": "softmax"}
    )
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "hf").eval()
    with torch.no_grad():
        logits = model(
            input_ids=torch.tensor(TOKEN_IDS.astype(np.int64)),
            attention_mask=torch.tensor((TOKEN_IDS != 1).astype(np.int64)),
        ).logits
    found = logits.sigmoid() if kind == "multilabel" else logits.softmax(-1)
    np.testing.assert_allclose(found.numpy(), probabilities(classifier), atol=1e-5)
