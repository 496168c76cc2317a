import numpy as np
import pyarrow as pa
import pytest

from reviewbeam.components.common.model_directory import ModelMetadata
from reviewbeam.components.inference.decide import probability_matrix, with_labels


def _model(kind, names, threshold=0.5):
    return ModelMetadata.model_validate(
        {
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
            "calibration": {"thresholds": [threshold]},
            "training_statistics": {},
            "versions": {},
        }
    )


def _batch(probabilities):
    return pa.RecordBatch.from_arrays(
        [
            pa.array([f"r{i}" for i in range(len(probabilities))], pa.string()),
            pa.array(probabilities, pa.list_(pa.float32())),
        ],
        names=["id", "probabilities"],
    )


def _decide(probabilities, model):
    """(label, score) of each row."""
    decided = with_labels(_batch(probabilities), model)
    assert decided.schema.names == ["id", "probabilities", "label", "score"]
    assert decided.schema.field("score").type == pa.float32()
    return list(
        zip(
            decided.column("label").to_pylist(),
            decided.column("score").to_pylist(),
            strict=True,
        )
    )


@pytest.mark.parametrize(
    ("threshold", "labels"),
    [
        (0.5, ["bad", "good", "good", "bad"]),  # from the threshold on
        (0.75, ["bad", "bad", "good", "bad"]),
        (0.25, ["good", "good", "good", "bad"]),
        (0.0, ["good"] * 4),
        (1.0, ["bad"] * 4),
    ],
)
def test_a_binary_label_depends_on_the_threshold(threshold, labels):
    positive = [0.25, 0.5, 0.875, 0.125]
    found = _decide(
        [[1 - p, p] for p in positive], _model("binary", ["bad", "good"], threshold)
    )

    # The score is the probability of the label that was given.
    assert found == [
        (label, p if label == "good" else 1 - p)
        for label, p in zip(labels, positive, strict=True)
    ]


def test_a_threshold_that_is_no_float32():
    (found,) = _decide([[0.7, 0.3]], _model("binary", ["bad", "good"], 0.3))

    assert found[0] == "good"


def test_of_several_classes_the_most_probable_is_taken():
    names = ["a", "b", "c"]
    found = _decide(
        [[0.5, 0.25, 0.25], [0.0, 0.25, 0.75], [0.25, 0.5, 0.25]],
        _model("multiclass", names, threshold=0.99),  # of no meaning here
    )

    assert found == [("a", 0.5), ("c", 0.75), ("b", 0.5)]


def test_of_equals_the_first_class_is_taken():
    model = _model("multiclass", ["a", "b", "c"])

    assert _decide([[0.25, 0.375, 0.375], [1 / 3] * 3], model) == [
        ("b", 0.375),
        ("a", pytest.approx(1 / 3)),
    ]


def test_no_rows():
    assert _decide([], _model("multiclass", ["a", "b", "c"])) == []


def test_probabilities_as_a_matrix():
    batch = _batch([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])

    matrix = probability_matrix(batch, 3)
    assert matrix.dtype == np.float32
    assert matrix.tolist() == batch.column("probabilities").to_pylist()
    assert probability_matrix(batch.slice(1, 1), 3).tolist() == [[0.0, 1.0, 0.0]]
    assert probability_matrix(batch.slice(0, 0), 3).shape == (0, 3)
