"""The mistakes that a model was surest of: wrong labels in the data, or blind spots."""

import dataclasses
from typing import Any

import numpy as np

from reviewbeam.components.common.language_codes import shown_language
from reviewbeam.components.evaluation.predictions import Predictions


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A wrong decision; of a multilabel row, the one that the model was surest of."""

    row: int  # index among the predictions
    confidence: float  # probability of what was decided
    described: dict[str, Any]


def confident_mistakes(
    predictions: Predictions, names: tuple[str, ...], kind: str, most: int
) -> list[Mistake]:
    """Returns the wrong rows with the most confident decisions, the surest first.

    Args:
      predictions: all rows.
      names: of the classes.
      kind: the type of the labels.
      most: how many at most.

    Returns:
      Each described by `id`, `language`, `tokens`, `true_label`, `label` and
      `confidence`, the probability of the label; for multilabel `label` is the one
      that was wrongly given or left out, `true_label` and `predicted_label` are lists,
      and confidence is that in this decision. Rows of equal confidence are ordered by
      id.
    """
    true, predicted = predictions.true, predictions.predicted
    probabilities = predictions.probabilities.astype(np.float64)
    if kind == "multilabel":
        decided = np.where(predicted == 1, probabilities, 1 - probabilities)
        decided = np.where(true == predicted, -1.0, decided)
        label = decided.argmax(axis=1)
        confidence = decided.max(axis=1, initial=-1.0)
        wrong = np.flatnonzero((true != predicted).any(axis=1))
    else:
        label = predicted
        confidence = probabilities[np.arange(len(predicted)), predicted]
        wrong = np.flatnonzero(true != predicted)
    ranked = sorted(wrong, key=lambda row: (-confidence[row], predictions.ids[row]))
    mistakes = []
    for row in ranked[:most]:
        described = {
            "id": predictions.ids[row],
            "language": shown_language(predictions.languages[row]),
            "tokens": int(predictions.tokens[row]),
            "true_label": _named(true[row], names, kind),
            "label": names[label[row]],
            "confidence": float(confidence[row]),
        }
        if kind == "multilabel":
            described["predicted_label"] = _named(predicted[row], names, kind)
        mistakes.append(Mistake(int(row), float(confidence[row]), described))
    return mistakes


def _named(decision: Any, names: tuple[str, ...], kind: str) -> Any:
    if kind == "multilabel":
        return [name for name, given in zip(names, decision, strict=True) if given]
    return names[decision]
