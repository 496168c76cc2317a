import pyarrow as pa
import pytest

from reviewbeam.components.common.corpus_config import RecordRules
from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.ingestion.values import labels_value
from reviewbeam.components.validation.labels import (
    class_indices,
    count_labels,
    out_of_range,
    unknown_values,
)
from reviewbeam.components.validation.rules import ReviewRules
from tests.components.validation.rows import GOOD, as_read, broken_rule

LABELS = LabelRules(
    type="multiclass",
    names=("negative", "neutral", "positive"),
    mapping={"1": "negative", "3": "neutral", "5": "positive"},
)
TOPICS = LabelRules(
    type="multilabel",
    names=("price", "quality", "delivery"),
    mapping={
        "cost": "price",
        "price": "price",
        "quality": "quality",
        "post": "delivery",
    },
)
STARS = LabelRules(type="ordinal", names=("1", "2", "3", "4", "5"))


def _several(*labels):
    """Labels of one review as the reader gives them."""
    text, rule = labels_value(list(labels), ",")
    assert rule is None
    return text


def _count(rows, labels=LABELS, keep_raw=True):
    rules = ReviewRules(RecordRules(min_characters=3), labels, keep_raw=keep_raw)
    checked = rules.apply(as_read(rows))
    return count_labels(checked.reviews, checked.rejects)


# === One label ===


def test_class_indices():
    labels = pa.array(["5", None, "1", "", "3", "5 "])

    indices = class_indices(labels, LABELS)
    assert indices.type == pa.int32()
    assert indices.to_pylist() == [2, None, 0, None, 1, None]
    plain = LabelRules(type="binary", names=("no", "yes"))
    assert class_indices(pa.array(["yes", "no", "1"]), plain).to_pylist() == [
        1,
        0,
        None,
    ]


@pytest.mark.parametrize("kind", ["ordinal", "multiclass"])
def test_numbers_beyond_the_classes_are_out_of_range(kind):
    rules = LabelRules(type=kind, names=("1", "2", "3", "4", "5"))
    labels = ["0", "-1", "6", "5.01", "1e3", "3", "2.5", "?", "", None]
    labels += ["nan", "inf", "-Infinity"]  # words, as pandas writes them

    told = out_of_range(pa.array(labels), rules).to_pylist()
    assert told == [True] * 5 + [False] * 8


def test_out_of_range_is_measured_on_the_values_of_the_mapping():
    rules = LABELS.model_copy(update={"mapping": {"-5": "negative", "5": "positive"}})
    labels = pa.array(["-6", "-1", "7"])

    assert out_of_range(labels, rules).to_pylist() == [True, False, True]


def test_among_names_nothing_is_out_of_range():
    labels = pa.array(["9", "-1", None])

    for rules in (
        LabelRules(type="binary", names=("1", "good")),
        LabelRules(type="multilabel", names=("1", "2")),
        LabelRules(type="binary", names=("1", "nan")),
    ):
        assert out_of_range(labels, rules).to_pylist() == [False] * 3


@pytest.mark.parametrize(
    ("label", "rule"),
    [
        ("1", None),
        ("5", None),
        ("0", "label_out_of_range"),
        ("5.5", "label_out_of_range"),
        ("4.5", "label_unknown"),
        ("five", "label_unknown"),
        ("nan", "label_unknown"),
        ("", "label_missing"),
        (None, "label_missing"),
    ],
)
def test_ordinal_labels(label, rule):
    assert broken_rule(ReviewRules(RecordRules(), STARS), label=label) == rule


def test_an_ordinal_class_is_its_place_in_the_names():
    names = ("poor", "fair", "good")
    rules = LabelRules(type="ordinal", names=names)

    assert class_indices(pa.array(["good", "poor"]), rules).to_pylist() == [2, 0]


# === Several labels ===


@pytest.mark.parametrize(
    ("labels", "indices"),
    [
        (("price",), [0]),
        (("quality", "price"), [0, 1]),  # in the order of the classes
        (("post", "price", "quality"), [0, 1, 2]),
        (("price", "price", "cost"), [0]),  # once each
        ((), []),  # no class fits: that is a label
        (("price", "?"), None),
        (("?",), None),
        (("Price",), None),
    ],
)
def test_classes_of_several_labels(labels, indices):
    for rows in (1, 3):
        column = pa.array([_several(*labels), None, _several("post")] * rows)
        found = class_indices(column, TOPICS)
        assert found.type == pa.list_(pa.int32())
        assert found.to_pylist() == [indices, None, [2]] * rows
        assert class_indices(column.slice(2), TOPICS).to_pylist()[0] == [2]


def test_several_labels_in_a_batch():
    labels = [_several("quality", "cost"), _several(), None, _several("price", "?")]
    rules = ReviewRules(RecordRules(), TOPICS)
    checked = rules.apply(as_read([GOOD | {"label": label} for label in labels]))

    assert checked.reviews.column("label_index").to_pylist() == [[0, 1], []]
    assert checked.reviews.schema.names[-1] == "label_index"
    assert checked.rejects.column("rule").to_pylist() == [
        "label_missing",
        "label_unknown",
    ]
    assert checked.rejects.column("value").to_pylist() == [None, "?"]


def test_only_unknown_ones_of_several_labels_are_told():
    labels = pa.array(
        [_several("price", "?", "post", "!"), _several("?"), _several("post"), None]
    )

    assert unknown_values(labels, TOPICS).to_pylist() == ["?\x1f!", "?", None, None]
    assert unknown_values(labels, LABELS).equals(labels)


def test_labels_of_rejects_do_not_count_as_usable():
    several = [("cost", "post"), ("post",), ("post", "?"), ("cost", "?", "!"), ()]
    rows = [GOOD | {"label": _several(*labels)} for labels in several]

    assert _count(rows, TOPICS) == {"cost": 1, "post": 2, "?": 2, "!": 1}


# === Counts ===


def test_label_values_are_counted():
    labels = ["5", "1", "5", "2", "2", "", None, "great", "7"]
    rows = [GOOD | {"label": label} for label in labels]
    rows += [GOOD | {"label": "5", "text": None}]  # another rule is broken first

    assert _count(rows) == {"5": 2, "1": 1, "2": 2, "great": 1, "7": 1}


def test_without_raw_records_unknown_labels_are_not_told():
    rows = [GOOD | {"label": label} for label in ("5", "my name is Jo")]

    assert _count(rows, keep_raw=False) == {"5": 1}


def test_free_text_in_the_label_column_does_not_flood_the_counts():
    rows = [GOOD | {"label": f"review {i}"} for i in range(100)]
    rows += [GOOD | {"label": "4"}] * 2
    counts = _count(rows)

    assert len(counts) == 30
    assert counts["4"] == 2  # the commonest are among them


def test_without_label_rules_labels_are_counted_too():
    rows = [GOOD, GOOD | {"label": None}, GOOD | {"label": "?"}]

    assert _count(rows, labels=None) == {"5": 1, "?": 1}
