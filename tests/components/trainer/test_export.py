import importlib.util

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from reviewbeam.components.common.errors import ReviewbeamError
from reviewbeam.components.trainer import export
from reviewbeam.components.trainer.hf_export import export_hf
from tests.components.trainer.classifiers import make_classifier, make_metadata

MULTILABEL = {"type": "multilabel", "names": ("price", "size", "colour")}
HAS_TORCH = importlib.util.find_spec("torch") is not None


class Rows:
    """As much of a split as a comparison needs: texts of 3 to 12 tokens."""

    def __init__(self, count, longest=12):
        random = np.random.default_rng(0)
        self.lengths = random.integers(3, longest + 1, count)
        self.row_splits = np.concatenate([[0], np.cumsum(self.lengths)])
        self.token_ids = random.integers(3, 400, self.row_splits[-1]).astype(np.int32)

    def __len__(self):
        return len(self.lengths)


@pytest.fixture(scope="module")
def multilabel(tiny_encoder, tmp_path_factory):
    """(classifier, directory with all three forms) of a multilabel model."""
    directory = tmp_path_factory.mktemp("model")
    model = {"pooling": "cls", "hidden_units": 16}
    metadata = make_metadata(tiny_encoder, MULTILABEL, model)
    classifier = make_classifier(tiny_encoder, metadata)
    export.export_model(classifier, directory)
    vocabulary = str(tiny_encoder / "sentencepiece.bpe.model")
    assert export_hf(classifier, metadata, vocabulary, directory / "hf") is None
    return classifier, directory


def test_500_reviews_of_a_split_are_compared(multilabel):
    _, directory = multilabel
    found = export.compare_exports(directory, Rows(600), 1, single_label=False)
    assert found["compared_reviews"] == 500
    assert 0 <= found["largest_export_difference"] <= 1e-6
    assert found["hf_compared"] == HAS_TORCH
    assert (found["largest_hf_difference"] is not None) == HAS_TORCH
    few = export.compare_exports(directory, Rows(7), 1, single_label=False)
    assert few["compared_reviews"] == 7


def test_long_texts_are_fewer_and_chosen_without_regard_to_length():
    rows = Rows(2000, longest=512)
    sample = export._sample(rows, seed=3)
    lengths = [int((ids != 1).sum()) for batch in sample for ids in batch]
    assert 60_000 < sum(lengths) <= 65_536
    assert abs(np.mean(lengths) - rows.lengths.mean()) < 40
    texts = {tuple(ids[ids != 1]) for batch in sample for ids in batch}
    starts = zip(rows.row_splits, rows.row_splits[1:], strict=False)
    assert texts <= {tuple(rows.token_ids[start:end]) for start, end in starts}


def test_probabilities_of_one_label_sum_to_1(multilabel):
    _, directory = multilabel
    with pytest.raises(ReviewbeamError, match="they are no probabilities"):
        export.compare_exports(directory, Rows(5), 1)


@pytest.mark.parametrize("value", [np.nan, -0.1, 1.1])
def test_other_numbers_are_no_probabilities(value):
    with pytest.raises(ReviewbeamError, match="they are no probabilities"):
        export._check_probabilities(np.array([[0.5, value]]), single_label=False)


def test_a_number_that_is_none_differs():
    with pytest.raises(ReviewbeamError, match="differ by up to nan"):
        export._check_equal(np.array([[0.5]]), np.array([[np.nan]]), "hf/")


@pytest.mark.skipif(not HAS_TORCH, reason="needs PyTorch")
def test_a_hugging_face_directory_that_disagrees_is_found(multilabel, tmp_path):
    classifier, _ = multilabel
    export.export_model(classifier, tmp_path)
    (tmp_path / "hf").mkdir()
    for path in (multilabel[1] / "hf").iterdir():
        (tmp_path / "hf" / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "hf" / "model.safetensors")
    weights["classifier.out_proj.bias"][0] += 1e-3
    save_file(weights, tmp_path / "hf" / "model.safetensors", {"format": "pt"})
    with pytest.raises(ReviewbeamError, match=r"SavedModel and hf/ .* differ by"):
        export.compare_exports(tmp_path, Rows(20), 1, single_label=False)
