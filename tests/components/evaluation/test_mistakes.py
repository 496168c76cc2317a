import numpy as np

from reviewbeam.components.evaluation.mistakes import confident_mistakes
from tests.components.evaluation.rows import predictions_of, random_predictions

NAMES = ("bad", "so-so", "good")


def test_the_surest_come_first():
    probabilities = [[0.9, 0.1, 0], [0.2, 0.8, 0], [0, 0.1, 0.9], [0.1, 0, 0.9]]
    languages = ["de", None, "me@example.org", "fr"]
    predictions = predictions_of([0, 0, 1, 0], [0, 1, 2, 2], languages, probabilities)
    found = confident_mistakes(predictions, NAMES, "multiclass", 2)

    assert [mistake.row for mistake in found] == [2, 3]  # equally sure: by id
    assert found[0].described == {
        "id": "r002",
        "language": "other",
        "tokens": 10,
        "true_label": "so-so",
        "label": "good",
        "confidence": float(np.float32(0.9)),
    }
    assert len(confident_mistakes(predictions, NAMES, "multiclass", 20)) == 3
    assert confident_mistakes(predictions, NAMES, "multiclass", 0) == []


def test_a_wrong_label_among_several():
    """Wrongly given, or wrongly left out: what the model was surest of."""
    probabilities = [[0.6, 0.9, 0.05], [0.9, 0.9, 0.9]]
    predictions = predictions_of(
        [[0, 1, 1], [1, 1, 1]], [[1, 1, 0], [1, 1, 1]], ["de", "de"], probabilities
    )
    (found,) = confident_mistakes(predictions, NAMES, "multilabel", 5)

    assert found.described["label"] == "good"
    assert abs(found.described["confidence"] - 0.95) < 1e-6
    assert found.described["true_label"] == ["so-so", "good"]
    assert found.described["predicted_label"] == ["bad", "so-so"]


def test_only_mistakes():
    predictions = random_predictions("ordinal", 3, 200, 1)
    found = confident_mistakes(predictions, NAMES, "ordinal", 200)

    rows = {mistake.row for mistake in found}
    wrong = np.flatnonzero(predictions.true != predictions.predicted)
    assert rows == set(wrong.tolist())
    confidence = [mistake.described["confidence"] for mistake in found]
    assert confidence == sorted(confidence, reverse=True)
