import keras
import numpy as np
import pytest

from reviewbeam.components.common.encoder_directory import open_encoder
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.model_directory import ModelDirectory
from reviewbeam.components.trainer.initial import compared, take_over_weights
from reviewbeam.components.trainer.lora import is_factor
from reviewbeam.components.trainer.model import build_classifier, empty_backbone
from tests.components.trainer.classifiers import make_classifier, make_metadata
from tests.testdata.make_tiny_encoder import make_tiny_encoder

TOKEN_IDS = np.array([[0, 5, 6, 7, 2], [0, 8, 9, 2, 1]], np.int32)
INPUTS = {"token_ids": TOKEN_IDS, "padding_mask": (TOKEN_IDS != 1).astype(np.int32)}
HEAD = ("scale", "thresholds", "logits")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """An encoder of one layer."""
    return make_tiny_encoder(tmp_path_factory.mktemp("encoder") / "one", layers=1)


@pytest.fixture
def take_over(encoder, tmp_path):
    """Returns a function that saves a model and begins another one with it.

    It gives what `take_over_weights` gives, the old classifier, and the new one as it
    was and as it is.
    """

    def run(old_labels, new_labels, old_model=None, new_model=None):
        before = make_metadata(encoder, old_labels, old_model)
        old = make_classifier(encoder, before)
        for number, variable in enumerate(old.weights):
            drawn = keras.random.normal(variable.shape, 0, 0.3, seed=number)
            variable.assign(drawn)
        old.save(tmp_path / "model.keras")
        initial = ModelDirectory(tmp_path, before, "core", "content")
        after = make_metadata(encoder, new_labels, new_model)
        keras.utils.set_random_seed(2)
        model = after.config.model
        backbone = empty_backbone(open_encoder(str(encoder)).architecture, model)
        new = build_classifier(backbone, after.labels, model)
        fresh = {v.path: v.numpy() for v in new.weights}
        found = take_over_weights(new, after.labels, after.config, initial)
        return found, old, fresh, new

    return run


def labels(type_, *names):
    return {"type": type_, "names": names}


def layer_of(variable):
    return variable.path.split("/")[0]


def assert_encoder_taken_over(old, new):
    values = {v.path: v.numpy() for v in old.weights}
    taken = 0
    for variable in new.weights:
        if layer_of(variable) not in (*HEAD, "hidden") and not is_factor(variable):
            np.testing.assert_array_equal(variable.numpy(), values[variable.path])
            taken += 1
    assert taken >= 4 + 16  # of the embeddings and of the layer


def assert_head_fresh(fresh, new):
    for variable in new.weights:
        if layer_of(variable) in HEAD:
            np.testing.assert_array_equal(variable.numpy(), fresh[variable.path])


@pytest.mark.parametrize(
    "labels_",
    [
        labels("binary", "bad", "good"),
        labels("multiclass", "a", "b", "c"),
        labels("multilabel", "a", "b", "c"),
        labels("ordinal", "1", "2", "3", "4"),
    ],
    ids=lambda value: value["type"],
)
def test_with_the_same_labels_the_model_is_the_same(take_over, labels_):
    model = {"hidden_units": 5, "pooling": "max"}
    fresh, old, _, new = take_over(labels_, labels_, model, model)
    assert fresh == []
    for one, other in zip(old.weights, new.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    np.testing.assert_allclose(new(INPUTS), old(INPUTS), atol=1e-6)


@pytest.mark.parametrize("type_", ["multiclass", "multilabel"])
def test_outputs_go_by_the_names_of_their_labels(take_over, type_):
    found, old, fresh, new = take_over(
        labels(type_, "a", "gone", "b", "c"),
        labels(type_, "c", "new", "a", "b", "newer"),
    )
    assert found == [1, 4]
    assert_encoder_taken_over(old, new)
    for name in ("kernel", "bias"):
        before = getattr(old.get_layer("logits"), name).numpy()
        after = getattr(new.get_layer("logits"), name).numpy()
        for place, source in {0: 3, 2: 0, 3: 2}.items():
            np.testing.assert_array_equal(after[..., place], before[..., source])
        for place in found:
            drawn = fresh[f"logits/{name}"][..., place]
            np.testing.assert_array_equal(after[..., place], drawn)


def test_two_classes_that_change_places(take_over):
    found, old, _, new = take_over(
        labels("binary", "bad", "good"), labels("binary", "good", "bad")
    )
    assert found == []
    np.testing.assert_allclose(new(INPUTS), old(INPUTS)[:, ::-1], atol=1e-6)
    assert np.abs(new(INPUTS) - old(INPUTS)).max() > 1e-3


@pytest.mark.parametrize(
    ("old_labels", "new_labels"),
    [
        (labels("binary", "bad", "good"), labels("binary", "bad", "fine")),
        (labels("ordinal", "1", "2", "3"), labels("ordinal", "1", "2", "4")),
        (labels("ordinal", "1", "2", "3"), labels("ordinal", "3", "2", "1")),
        (labels("ordinal", "1", "2", "3"), labels("ordinal", "1", "2", "3", "4")),
        (labels("binary", "a", "b"), labels("multiclass", "a", "b")),
        (labels("multiclass", "a", "b", "c"), labels("multilabel", "a", "b", "c")),
        (labels("multiclass", "a", "b", "c"), labels("ordinal", "a", "b", "c")),
    ],
)
def test_a_head_of_another_kind_begins_anew(take_over, old_labels, new_labels):
    found, old, fresh, new = take_over(old_labels, new_labels)
    assert found is None
    assert_encoder_taken_over(old, new)
    assert_head_fresh(fresh, new)


def test_an_ordinal_head_with_softmax_is_one_of_classes(take_over):
    found, old, _, new = take_over(
        labels("multiclass", "1", "2", "3"),
        labels("ordinal", "3", "1", "5"),
        new_model={"ordinal_head": "softmax"},
    )
    assert found == [2]
    before, after = (m.get_layer("logits").kernel.numpy() for m in (old, new))
    np.testing.assert_array_equal(after[:, :2], before[:, [2, 0]])


@pytest.mark.parametrize(
    ("old_model", "new_model"),
    [
        ({}, {"hidden_units": 16}),  # as wide as the encoder
        ({"hidden_units": 16}, {}),
        ({"hidden_units": 5}, {"hidden_units": 7}),
        ({"pooling": "mean"}, {"pooling": "cls"}),
    ],
)
def test_a_head_that_reads_something_else_begins_anew(take_over, old_model, new_model):
    same = labels("multiclass", "a", "b", "c")
    found, old, fresh, new = take_over(same, same, old_model, new_model)
    assert found is None
    assert_encoder_taken_over(old, new)
    assert_head_fresh(fresh, new)


def test_factors_of_low_rank_adaptation_begin_anew(take_over):
    same = labels("multiclass", "a", "b", "c")
    found, old, fresh, new = take_over(same, same, new_model={"lora": {"rank": 2}})
    assert found == []
    factors = [v for v in new.weights if is_factor(v)]
    assert factors
    for variable in factors:
        np.testing.assert_array_equal(variable.numpy(), fresh[variable.path])
    np.testing.assert_allclose(new(INPUTS), old(INPUTS), atol=1e-6)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"hidden": 8}, "its encoder has no .* of the shape"),
        ({"layers": 1}, "its encoder has no .* of the shape"),
        ({"layers": 3}, "its encoder has transformer_layer_2/.* has not"),
    ],
)
def test_an_encoder_of_other_sizes_is_refused(tiny_encoder, tmp_path, sizes, message):
    architecture = open_encoder(str(tiny_encoder)).architecture
    other = make_tiny_encoder(tmp_path / "other", **sizes)
    metadata = make_metadata(other, labels("multiclass", "a", "b"))
    make_classifier(other, metadata).save(tmp_path / "model.keras")
    initial = ModelDirectory(tmp_path, metadata, "core", "content")
    model = metadata.config.model.model_copy(update={"freeze_layers": 0})
    new = build_classifier(empty_backbone(architecture, model), metadata.labels, model)
    with pytest.raises(UserError, match=message) as error:
        take_over_weights(new, metadata.labels, metadata.config, initial)
    assert str(tmp_path) in str(error.value)


def test_models_are_compared_language_by_language():
    before = {
        "en": {"rows": 30, "accuracy": 0.5, "macro_f1": 0.4, "error": None},
        None: {"rows": 4, "accuracy": 0.25, "macro_f1": 0.2, "error": None},
        "de": {"rows": 60, "accuracy": 0.75, "macro_f1": 0.7, "error": None},
    }
    after = {
        language: figures | {"accuracy": figures["accuracy"] + 0.125}
        for language, figures in before.items()
    }
    found = compared(before, after)
    assert [entry["language"] for entry in found] == ["de", "en", None]
    assert found[1] == {
        "language": "en",
        "rows": 30,
        "before": {"accuracy": 0.5, "macro_f1": 0.4, "error": None},
        "after": {"accuracy": 0.625, "macro_f1": 0.4, "error": None},
    }
