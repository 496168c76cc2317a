import dataclasses
import math

import numpy as np
import pyarrow as pa
import pytest

from reviewbeam.components.common.serving_drift import (
    ServingDrift,
    compare,
    drift_lines,
)
from reviewbeam.components.common.serving_drift_config import (
    FEATURES,
    ServingDriftRules,
)
from reviewbeam.components.common.serving_statistics import (
    count_predictions,
    count_texts,
)

LANGUAGES = np.array(["de", "en", "es", "fr", "ja", None], object)
NAMES = ("bad", "fair", "good")


def _sample(
    rows,
    seed,
    longer=1.0,
    languages=(0.4, 0.3, 0.13, 0.1, 0.05, 0.02),
    labels=(0.0, 0.0, 1.0),
    sure=2.0,
    copies=0.9,
):
    """Statistics as of reviews: long tails, and shares that are mostly 0."""
    rng = np.random.default_rng(seed)
    characters = np.maximum(3, rng.lognormal(4.5, 0.8, rows) * longer).astype(np.int64)
    shares = rng.random((3, rows)) * (rng.random((3, rows)) < [[0.05], [0.2], [0.9]])
    tokens = characters // 4 + 2
    texts = {
        "characters": pa.array(characters),
        "tokens": pa.array(tokens),
        "unknown_token_share": pa.array(shares[0] * 0.3),
        "emoji_share": pa.array(shares[1] ** 2),
        "non_letter_share": pa.array(shares[2] ** 2),
        "truncated": pa.array(tokens > 256),
        "language": pa.array(rng.choice(LANGUAGES, rows, p=languages), pa.string()),
    }
    logits = sure * rng.normal(size=(rows, 3)) + labels
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    decisions = probabilities.argmax(axis=1)
    counts = rng.geometric(copies, rows)
    found = count_texts(texts, counts)
    predicted = count_predictions(probabilities, decisions, NAMES, "multiclass", counts)
    return found | {"counts": found["counts"] | predicted["counts"]}


def _training(rows=8000, validation=1000, seed=1):
    return {
        "train": {"examples": rows, "histograms": _sample(rows, seed)},
        "predictions": {"histograms": _sample(validation, seed + 1)},
    }


def _exceeded(training, found, **rules):
    drifts = compare(training, found, ServingDriftRules(**rules))
    assert [drift.feature for drift in drifts] == list(FEATURES)
    return {drift.feature for drift in drifts if drift.exceeded}


def _statistics(rows, **counts):
    return {"rows": rows, "squares": rows, "counts": counts}


def _one(feature, training, found, **rules):
    split = "train" if feature in ("language", "tokens") else "predictions"
    drifts = compare(
        {split: {"histograms": training}}, found, ServingDriftRules(**rules)
    )
    (drift,) = (drift for drift in drifts if drift.feature == feature)
    return drift


STRICT = {"numbers": 0.02, "confidence": 0.02, "categories": 0.06, "predictions": 0.06}


@pytest.mark.parametrize("rules", [{}, STRICT], ids=["default", "strict"])
@pytest.mark.parametrize(("rows", "draws"), [(300, 200), (3000, 100), (30_000, 30)])
def test_samples_of_one_corpus_raise_no_alarm(rows, draws, rules):
    alarms = []
    for seed in range(draws):
        training = _training(validation=400, seed=3 * seed)
        alarms += _exceeded(training, _sample(rows, 3 * seed + 2), **rules)
    assert len(alarms) <= 0.01 * draws, alarms


@pytest.mark.parametrize("rows", [300, 3000, 30_000])
@pytest.mark.parametrize(
    ("shift", "features"),
    [
        ({"languages": (0.05, 0.3, 0.13, 0.1, 0.4, 0.02)}, {"language"}),
        ({"languages": (0, 0, 0, 0, 0, 1)}, {"language"}),
        ({"longer": 4.0}, {"characters", "tokens", "truncated"}),
        ({"labels": (4.0, 0.0, 0.0)}, {"predicted_label"}),
        ({"sure": 0.2, "labels": (0, 0, 0.1)}, {"confidence"}),
    ],
    ids=["languages", "no language", "longer", "labels", "unsure"],
)
def test_a_shifted_corpus_raises_an_alarm_that_names_it(rows, shift, features):
    found = _exceeded(_training(), _sample(rows, 9, **shift))
    allowed = {"predicted_label", "confidence"} if "sure" in shift else set()
    if "labels" in shift:
        allowed |= {"confidence"}  # of clearer or weaker logits
    if "longer" in shift:
        allowed |= {"truncated"}
    assert features - allowed <= found <= features | allowed


def test_the_distance_of_a_category():
    training = _statistics(2000, language={"de": 1000, "en": 1000})
    found = _statistics(1000, language={"de": 700, "en": 200, "(none)": 100})
    assert _one("language", training, found, categories=0.15) == ServingDrift(
        feature="language",
        measure="L_INFTY",
        threshold=round(0.15 + math.sqrt(1 / 1000 + 1 / 2000), 4),
        figure=0.3,
        exceeded=True,
        value="en",
        share=0.2,
        training_share=0.5,
    )


def test_the_distance_of_a_number():
    training = _statistics(1000, tokens={"8": 500, "16": 500})
    found = _statistics(500, tokens={"16": 500})
    chance = (2 - 1) * (1 / 1000 + 1 / 500) / (8 * math.log(2))
    expected = (1 + math.log2(2 / 3)) / 4 + math.log2(4 / 3) / 2
    assert _one("tokens", training, found, features={"tokens": 0.3}) == ServingDrift(
        feature="tokens",
        measure="JENSEN_SHANNON_DIVERGENCE",
        threshold=round(0.3 + chance, 4),
        figure=round(expected, 4),
        exceeded=True,
        value="above 6 up to 8",
        share=0.0,
        training_share=0.5,
    )


def test_ends_of_a_range():
    training = _statistics(1000, tokens={"8": 1000})
    for name, value in (("1", "up to 1"), ("more", "above 8192")):
        found = _statistics(1000, tokens={"8": 400, name: 600})
        assert _one("tokens", _statistics(1000, tokens={"8": 900, name: 100}), found)
        drift = _one("tokens", training, found)
        assert drift.exceeded
        assert (drift.value, drift.share) in (
            (value, 0.6),
            ("above 6 up to 8", 0.4),
        )


def test_labels_of_multilabel_are_shares_of_the_rows():
    training = _statistics(1000, predicted_label={"price": 500, "taste": 600})
    found = _statistics(200, predicted_label={"price": 180, "taste": 120})
    drift = _one("predicted_label", training, found)
    assert (drift.figure, drift.value) == (0.4, "price")
    assert (drift.share, drift.training_share) == (0.9, 0.5)


def test_copies_of_few_texts_count_as_few_reviews():
    training = _statistics(1000, language={"de": 1000}) | {"squares": 1000 * 50}
    found = _statistics(1000, language={"de": 800, "en": 200})
    drift = _one("language", training, found)
    # As 20 reviews that are all different.
    assert drift.threshold == pytest.approx(
        0.1 + math.sqrt(1 / 20 + 1 / 1000), abs=1e-4
    )
    assert not drift.exceeded


def test_what_is_fatal_is_exceeded_and_named():
    training, found = _training(), _sample(3000, 5, longer=4.0)
    for fatal, expected in (
        (False, set()),
        (True, _exceeded(training, found)),
        (["tokens", "language"], {"tokens"}),
    ):
        drifts = compare(training, found, ServingDriftRules(fatal=fatal))
        assert {drift.feature for drift in drifts if drift.fatal} == expected


def test_nothing_is_compared_where_it_is_off():
    assert compare(_training(), _sample(300, 5), ServingDriftRules(enabled=False)) == []
    assert drift_lines([]) == []


@pytest.mark.parametrize(
    "training",
    [
        {},
        {"train": {"examples": 5, "labels": {}}, "predictions": None},
        {"train": {"histograms": None}, "predictions": {"rows": 9, "labels": {}}},
    ],
)
def test_a_model_that_knows_nothing_of_its_training(training):
    drifts = compare(training, _sample(300, 5), ServingDriftRules(fatal=True))
    assert all(drift.figure is None and not drift.fatal for drift in drifts)
    assert drift_lines(drifts) == [
        "drift not known: the model has no statistics of its training that fit"
    ]


def test_bins_of_another_release_are_not_compared():
    training = _statistics(1000, tokens={"7": 1000})
    drift = _one("tokens", training, _statistics(1000, tokens={"8": 1000}))
    assert (drift.figure, drift.exceeded) == (None, False)
    assert "no statistics of its training that fit" in drift.not_measured


def test_too_few_rows():
    drifts = compare(_training(), _sample(60, 5, copies=1.0), ServingDriftRules())
    assert drift_lines(drifts) == [
        "drift not known: 60 reviews are too few; it takes 100"
    ]
    training = _training() | {"predictions": {"histograms": _sample(70, 3, copies=1.0)}}
    drifts = compare(training, _sample(300, 5), ServingDriftRules())
    lines = drift_lines(drifts)
    assert lines[0].startswith("no drift from training in 7 features; nearest to its ")
    assert lines[1:] == [
        "drift of predicted_label, confidence not known: the model was trained with "
        "70 reviews to compare with; it takes 100"
    ]


def test_lines_say_what_is_too_far():
    drifts = compare(
        {"train": {"histograms": _statistics(9000, language={"de": 9000})}},
        _statistics(1000, language={"de": 640, "ko": 360}),
        ServingDriftRules(),
    )
    assert drift_lines(drifts)[0] == (
        "drift of language from training: 0.360 (allowed 0.133), most of all de: "
        "64.0% of these reviews, 100.0% in training"
    )


def test_a_report_is_plain_data():
    drifts = compare(_training(), _sample(300, 5), ServingDriftRules())
    for drift in map(dataclasses.asdict, drifts):
        assert {type(value) for value in drift.values()} <= {
            str,
            float,
            bool,
            type(None),
        }
