"""Figures by scikit-learn itself, under the names that ours have."""

import warnings

import numpy as np
from sklearn import metrics

AVERAGED = {
    "precision": metrics.precision_score,
    "recall": metrics.recall_score,
    "f1": metrics.f1_score,
}
AREAS = {"roc_auc": metrics.roc_auc_score, "pr_auc": metrics.average_precision_score}


def by_scikit_learn(true, predicted, probabilities, kind, names, weights=None):
    """Returns the figures that have a denominator; arguments as those of `figures`."""
    probabilities = np.asarray(probabilities, np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = (_decided, _probable)
        arguments = (true, predicted, probabilities, kind, names, weights)
        found = {k: v for part in parts for k, v in part(*arguments).items()}
    return {name: float(value) for name, value in found.items() if not np.isnan(value)}


def _decided(true, predicted, probabilities, kind, names, weights):
    w = {"sample_weight": weights}
    many = kind == "multilabel"
    found = {"accuracy": metrics.accuracy_score(true, predicted, **w)}
    labels = None if many else range(len(names))
    for name, score in AVERAGED.items():
        for average in ("macro", "weighted", *(["micro"] if many else [])):
            found[f"{average}_{name}"] = score(
                true, predicted, average=average, zero_division=0, **w
            )
        each = score(true, predicted, labels=labels, average=None, zero_division=0, **w)
        found |= {f"{name}.{n}": v for n, v in zip(names, each, strict=True)}
    pairs = [(true, predicted)]
    if many:
        pairs = list(zip(true.T, predicted.T, strict=True))
        found["hamming_loss"] = metrics.hamming_loss(true, predicted, **w)
    found["balanced_accuracy"] = np.mean(
        [metrics.balanced_accuracy_score(*pair, **w) for pair in pairs]
    )
    found["mcc"] = np.mean(
        [
            metrics.matthews_corrcoef(*pair, **w)
            if all(len(set(one.tolist())) > 1 for one in pair)
            else np.nan  # where scikit-learn gives 0
            for pair in pairs
        ]
    )
    if kind == "ordinal":
        found["mean_absolute_error"] = metrics.mean_absolute_error(true, predicted, **w)
        near = np.abs(true - predicted) <= 1
        found["within_one"] = np.average(near, weights=weights)
        found["quadratic_weighted_kappa"] = metrics.cohen_kappa_score(
            true, predicted, labels=labels, weights="quadratic", **w
        )
    return found


def _probable(true, predicted, probabilities, kind, names, weights):
    del predicted
    w = {"sample_weight": weights}
    if kind == "multilabel":
        each = list(zip(true.T, probabilities.T, strict=True))
        loss = [metrics.log_loss(t, p, labels=[0, 1], **w) for t, p in each]
        brier = [metrics.brier_score_loss(t, p, labels=[0, 1], **w) for t, p in each]
        given, scores = true, probabilities
    else:
        labels = {"labels": range(len(names))}
        loss = metrics.log_loss(true, probabilities, **labels, **w)
        brier = metrics.brier_score_loss(true, probabilities, **labels, **w)
        given, scores = np.eye(len(names), dtype=int)[true], probabilities
    found = {"log_loss": np.mean(loss), "brier": np.mean(brier)}
    held, rows = given.sum(axis=0), len(given)
    if kind == "binary":
        for name, area in AREAS.items():
            if held[1] and (held[1] < rows or name == "pr_auc"):
                found[name] = area(true, probabilities[:, 1], **w)
        return found
    for name, area in AREAS.items():
        for column, label in enumerate(names):
            if held[column] and (held[column] < rows or name == "pr_auc"):
                pair = given[:, column], scores[:, column]
                found[f"{name}.{label}"] = area(*pair, **w)
        if all(f"{name}.{label}" in found for label in names):
            found[name] = area(given, scores, average="macro", **w)
            found[f"weighted_{name}"] = area(given, scores, average="weighted", **w)
        if kind == "multilabel" and 0 < held.sum():
            if held.sum() < given.size or name == "pr_auc":
                found[f"micro_{name}"] = area(given, scores, average="micro", **w)
    return found
