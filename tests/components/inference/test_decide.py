import numpy as np
import pyarrow as pa
import pytest

from reviewbeam.components.common.model_directory import ModelMetadata
from reviewbeam.components.inference.decide import probability_matrix, with_labels


def _model(kind, names, **calibration):
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
            "calibration": calibration,
            "training_statistics": {},
            "versions": {},
        }
    )


def _batch(probabilities, languages=None):
    rows = len(probabilities)
    return pa.RecordBatch.from_arrays(
        [
            pa.array([f"r{i}" for i in range(rows)], pa.string()),
            pa.array(languages or [None] * rows, pa.string()),
            pa.array(probabilities, pa.list_(pa.float32())),
        ],
        names=["id", "language", "probabilities"],
    )


def _decide(probabilities, model, languages=None):
    """(label, score) of each row."""
    batch = _batch(probabilities, languages)
    decided = with_labels(batch, model)
    assert decided.schema.names == [*batch.schema.names, "label", "score", "margin"]
    assert decided.column("id").equals(batch.column("id"))
    kinds = pa.string(), pa.float32()
    if model.labels.type == "multilabel":
        kinds = tuple(pa.list_(kind) for kind in kinds)
    assert (decided.schema.field("label").type, decided.schema.field("score").type) == (
        kinds
    )
    if model.calibration.temperature == 1 and not model.calibration.languages:
        assert decided.column("probabilities").equals(batch.column("probabilities"))
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
        [[1 - p, p] for p in positive],
        _model("binary", ["bad", "good"], thresholds=[threshold]),
    )

    # The score is the probability of the label that was given.
    assert found == [
        (label, p if label == "good" else 1 - p)
        for label, p in zip(labels, positive, strict=True)
    ]


def test_a_threshold_that_is_no_float32():
    (found,) = _decide(
        [[0.7, 0.3]], _model("binary", ["bad", "good"], thresholds=[0.3])
    )

    assert found[0] == "good"


def test_of_several_classes_the_most_probable_is_taken():
    names = ["a", "b", "c"]
    found = _decide(
        [[0.5, 0.25, 0.25], [0.0, 0.25, 0.75], [0.25, 0.5, 0.25]],
        _model("multiclass", names),
    )

    assert found == [("a", 0.5), ("c", 0.75), ("b", 0.5)]


def test_of_equals_the_first_class_is_taken():
    model = _model("multiclass", ["a", "b", "c"])

    assert _decide([[0.25, 0.375, 0.375], [1 / 3] * 3], model) == [
        ("b", 0.375),
        ("a", pytest.approx(1 / 3)),
    ]


def test_of_a_scale_the_median_is_taken():
    model = _model("ordinal", ["low", "middle", "high"])

    found = _decide([[0.375, 0.25, 0.375], [0.5, 0.0, 0.5], [0.0, 0.25, 0.75]], model)
    assert found == [("middle", 0.25), ("low", 0.5), ("high", 0.75)]


def test_several_labels_in_the_order_of_the_names():
    model = _model("multilabel", ["price", "battery", "x"], thresholds=[0.5, 0.25, 1])
    rows = [[0.5, 0.25, 0.5], [0.125, 0.125, 1.0], [0.0, 0.0, 0.0], [0.75, 0.125, 0.5]]

    assert _decide(rows, model) == [
        (["price", "battery"], [0.5, 0.25]),
        (["x"], [1.0]),
        ([], []),
        (["price"], [0.75]),
    ]


def test_probabilities_are_the_calibrated_ones():
    french = {"temperature": 0.5, "thresholds": [0.5]}
    model = _model(
        "binary",
        ["bad", "good"],
        temperature=2.0,
        thresholds=[0.3],
        languages={"fr": french},
    )
    rows, languages = [[0.8, 0.2], [0.8, 0.2], [0.8, 0.2]], ["de", "fr", None]

    decided = with_labels(_batch(rows, languages), model)
    expected = [[2 / 3, 1 / 3], [16 / 17, 1 / 17], [2 / 3, 1 / 3]]
    found = np.array(decided.column("probabilities").to_pylist())
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert decided.column("label").to_pylist() == ["good", "bad", "good"]
    assert decided.column("score").to_pylist() == [
        found[0, 1],
        found[1, 0],
        found[2, 1],
    ]


def test_labels_of_languages_with_thresholds_of_their_own():
    german = {"thresholds": [0.1, 0.9]}
    model = _model(
        "multilabel", ["a", "b"], thresholds=[0.5, 0.5], languages={"de": german}
    )

    found = _decide([[0.25, 0.75]] * 2, model, ["de", "fr"])
    assert found == [(["a"], [0.25]), (["b"], [0.75])]


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "ordinal"])
def test_no_rows(kind):
    names = ["a", "b"] if kind == "binary" else ["a", "b", "c"]
    count = {"binary": 1, "multilabel": 3}.get(kind, 0)
    model = _model(kind, names, temperature=2.0, thresholds=[0.5] * count)

    nothing = with_labels(_batch([]), model)
    assert nothing.num_rows == 0
    row = [1 / len(names)] * len(names)
    assert nothing.schema == with_labels(_batch([row]), model).schema


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_a_slice_of_a_batch(kind):
    thresholds = [0.4, 0.5, 0.6] if kind == "multilabel" else []
    model = _model(kind, ["a", "b", "c"], temperature=2.0, thresholds=thresholds)
    rows = np.random.default_rng(1).dirichlet([0.5] * 3, 20).tolist()
    whole = with_labels(_batch(rows, ["de"] * 20), model)

    part = with_labels(_batch(rows, ["de"] * 20).slice(5, 8), model)
    assert part.to_pylist() == whole.slice(5, 8).to_pylist()


def test_probabilities_as_a_matrix():
    batch = _batch([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])

    matrix = probability_matrix(batch, 3)
    assert matrix.dtype == np.float32
    assert matrix.tolist() == batch.column("probabilities").to_pylist()
    assert probability_matrix(batch.slice(1, 1), 3).tolist() == [[0.0, 1.0, 0.0]]
    assert probability_matrix(batch.slice(0, 0), 3).shape == (0, 3)


def _margins(kind, probabilities, names, of_rows=None, **calibration):
    model = _model(kind, names, **calibration)
    decided = with_labels(_batch(probabilities, of_rows), model)
    return decided.column("margin")


def test_the_margin_of_a_binary_label_is_its_distance_from_the_threshold():
    margins = _margins(
        "binary",
        [[0.25, 0.75], [0.75, 0.25], [0.25, 0.75]],
        ["bad", "good"],
        ["de", "de", "fr"],
        thresholds=[0.5],
        languages={"fr": {"thresholds": [0.875]}},
    )
    assert margins.type == pa.float32()
    assert margins.to_pylist() == [0.25, 0.25, 0.125]


def test_the_margin_of_a_class_is_what_it_has_before_the_best_other():
    rows = [[0.5, 0.375, 0.125], [0.25, 0.125, 0.625], [0.375, 0.25, 0.375]]
    names = ["low", "middle", "high"]

    assert _margins("multiclass", rows, names).to_pylist() == [0.125, 0.375, 0.0]
    # Of the third row the median is the middle, which is not the most probable.
    assert _margins("ordinal", rows, names).to_pylist() == [0.125, 0.375, -0.125]


def test_the_margins_of_several_labels():
    rows = [[0.5, 0.375], [0.25, 0.125], [0.75, 0.5]]
    margins = _margins("multilabel", rows, ["x", "y"], thresholds=[0.5, 0.25])

    assert margins.type == pa.list_(pa.float32())
    assert margins.to_pylist() == [[0.0, 0.125], [], [0.25, 0.25]]
