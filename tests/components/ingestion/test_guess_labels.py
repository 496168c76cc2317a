"""Values of a column -> what its labels are: a table of what corpora hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common.config import check_config
from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.ingestion.guess_labels import guess_labels
from reviewbeam.components.ingestion.guess_profile import Profile

THREE = ("negative", "neutral", "positive")
TWO = ("negative", "positive")


def labels_of(values, column="label"):
    return guess_labels(Profile(column, list(values), len(values)))


@pytest.mark.parametrize(
    "column, values, kind, names, mapping",
    [
        ("stars", [1, 2, 3, 4, 5], "multiclass", THREE,
         {"1": "negative", "2": "negative", "3": "neutral", "4": "positive",
          "5": "positive"}),
        ("stars", ["1.0", "3.0", "5.0"], "multiclass", THREE,
         {"1.0": "negative", "3.0": "neutral", "5.0": "positive"}),
        ("stars", [1.0, 5.0, 3.0], "multiclass", THREE,
         {"1": "negative", "2": "negative", "3": "neutral", "4": "positive",
          "5": "positive"}),
        ("note", ["4,5", "1,0", "3,0"], "multiclass", THREE,
         {"4,5": "positive", "1,0": "negative", "3,0": "neutral"}),
        ("rating", ["1 star", "3 stars", "5 stars"], "multiclass", THREE,
         {"1 star": "negative", "3 stars": "neutral", "5 stars": "positive"}),
        ("rating", ["Rated 1 out of 5", "Rated 5 out of 5", "Rated 3 out of 5"],
         "multiclass", THREE,
         {"Rated 1 out of 5": "negative", "Rated 5 out of 5": "positive",
          "Rated 3 out of 5": "neutral"}),
        ("rating", ["★", "★★★☆☆", "★★★★★"], "multiclass", THREE,
         {"★": "negative", "★★★☆☆": "neutral", "★★★★★": "positive"}),
        ("stars", [1, 2, 4, 5], "binary", TWO,
         {"1": "negative", "2": "negative", "4": "positive", "5": "positive"}),
        ("sentiment", [-1, 0, 1], "multiclass", THREE,
         {"-1": "negative", "0": "neutral", "1": "positive"}),
        ("sentiment", [0, 4], "binary", TWO, {"0": "negative", "4": "positive"}),
        ("label", [0, 1], "binary", TWO, {"0": "negative", "1": "positive"}),
        ("label", [0, 1, 2, 3], "multiclass", ("0", "1", "2", "3"), {}),
        ("label", ["10", "9", "2"], "multiclass", ("2", "9", "10"), {}),
        ("is_spam", [0, 1], "binary", ("not_spam", "spam"),
         {"0": "not_spam", "1": "spam"}),
        ("isSpam", [True, False], "binary", ("not_spam", "spam"),
         {"false": "not_spam", "true": "spam"}),
        ("recommended", ["Yes", "no", "yes"], "binary",
         ("not_recommended", "recommended"),
         {"no": "not_recommended", "yes": "recommended", "Yes": "recommended"}),
        ("label", ["positive", "negative"], "binary", TWO, {}),
        ("label", ["pos", "neg", "neu"], "multiclass", ("neg", "neu", "pos"), {}),
        ("x", ["부정", "긍정"], "binary", ("부정", "긍정"), {}),
        ("label", ["Positive", "positive", "positive", "neg"], "binary",
         ("neg", "positive"),
         {"neg": "neg", "Positive": "positive", "positive": "positive"}),
        ("topic", ["sport", "news"], "multiclass", ("news", "sport"), {}),
        ("topics", [["a", "b"], ["b"], []], "multilabel", ("a", "b"), {}),
        ("topics", ["a|b", "b", "c"], "multilabel", ("a", "b", "c"), {}),
        ("tags", ["a, b", "b", "c"], "multilabel", ("a", "b", "c"), {}),
    ],
)  # fmt: skip
def test_what_values_mean(column, values, kind, names, mapping):
    found = labels_of(values * 10, column)
    assert (found.type, found.names, found.mapping) == (kind, names, mapping)
    data = {"type": kind, "names": list(names), "mapping": mapping}
    rules = check_config(LabelRules, data, "labels")
    assert all(map(found.is_labelled, values))
    assert sum(found.classes.values()) >= 10 or kind == "multilabel"
    for value in found.values:
        assert (found.class_of(value) is None) == (value not in rules.class_index())


@pytest.mark.parametrize(
    "values",
    [
        [],
        [5] * 40,  # one class
        [f"user {i}" for i in range(300)],  # too many
        list("abcdefghij"),  # each once
        [0.1234 * i for i in range(60)] * 3,  # measured
        [{"a": 1}] * 10,
    ],
)
def test_what_is_no_label(values):
    assert labels_of(values) is None


def test_values_without_a_class_are_told():
    found = labels_of(["good", "bad"] * 20 + ["n/a"] * 3)
    assert found.names == ("bad", "good")
    assert found.values == {"bad": 20, "good": 20, "n/a": 3}
    assert not found.is_labelled("n/a") and not found.is_labelled(None)


def test_a_stray_number_does_not_stretch_the_scale():
    found = labels_of([1, 2, 3, 4, 5] * 200 + [99], "stars")
    assert found.names == THREE
    assert found.class_of("99") is None and found.values["99"] == 1


def test_a_scale_is_told_from_low_to_high():
    assert labels_of([10, 9, 1, 5] * 9, "rating").scale == tuple(
        str(n) for n in range(1, 11)
    )


SCALARS = st.one_of(
    st.text(max_size=6), st.integers(-9, 9), st.booleans(), st.floats(-2, 2)
)


@given(
    st.lists(st.one_of(SCALARS, st.lists(SCALARS, max_size=3)), max_size=12),
    st.sampled_from(["label", "stars", "is_x", ""]),
)
def test_a_guess_is_always_one_that_prepare_takes(values, column):
    found = labels_of(values * 3, column)
    if found is None:
        return
    data = {"type": found.type, "names": list(found.names), "mapping": found.mapping}
    if found.delimiter:
        data["delimiter"] = found.delimiter
    check_config(LabelRules, data, "labels")
    assert set(found.classes) == set(found.names)
