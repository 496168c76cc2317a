import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common.serving_statistics import (
    bins,
    chunk_statistics,
    count_predictions,
    count_texts,
    effective_rows,
    labels_by_language,
    merge,
)

NAMES = ("bad", "fair", "good")
TEXTS = ["größe 👍", "gut", "", "abcde 12345!", "ab"]
REVIEWS = pa.RecordBatch.from_pydict(
    {"text": TEXTS, "language": ["de", "de", None, "ann@example.org", "en"]}
)
TOKENIZED = {
    "tokens": pa.array([8, 3, 2, 70, 9000], pa.int32()),
    "unknown_tokens": pa.array([2, 0, 0, 7, 0], pa.int32()),
    "truncated": pa.array([False, False, False, True, True]),
}
PROBABILITIES = np.array(
    [
        [0.1, 0.2, 0.7],
        [0.0, 0.0, 1.0],
        [0.4, 0.3, 0.3],
        [0.95, 0.05, 0.0],
        [0.9, 0.1, 0.0],
    ],
    np.float32,
)
DECISIONS = PROBABILITIES.argmax(axis=1)


def _chunk(rows=slice(None)):
    reviews = REVIEWS.take(pa.array(np.arange(5)[rows]))
    tokenized = {n: c.take(pa.array(np.arange(5)[rows])) for n, c in TOKENIZED.items()}
    return chunk_statistics(
        reviews, tokenized, PROBABILITIES[rows], DECISIONS[rows], NAMES, "multiclass"
    )


EXPECTED = {
    "rows": 5,
    "squares": 5,
    "counts": {
        # 7, 3, 0, 12 and 2 characters
        "characters": {"8": 1, "3": 1, "1": 1, "16": 1, "2": 1},
        "tokens": {"8": 1, "3": 1, "2": 1, "91": 1, "more": 1},
        "unknown_token_share": {"0.3": 1, "0": 3, "0.1": 1},  # 2 of 8, 7 of 70
        "emoji_share": {"0.15": 1, "0": 4},  # 1 of 7
        "non_letter_share": {"0.15": 1, "0": 3, "0.5": 1},  # 6 of 12
        "truncated": {"no": 3, "yes": 2},
        "language": {"de": 2, "(none)": 1, "other": 1, "en": 1},
        "predicted_label": {"good": 2, "bad": 3},
        "label_by_language": {
            "de\tgood": 2,
            "(none)\tbad": 1,
            "other\tbad": 1,
            "en\tbad": 1,
        },
        "confidence": {"0.7": 1, "more": 1, "0.4": 1, "0.95": 1, "0.9": 1},
    },
}


def test_a_chunk_is_counted_by_all_features():
    found = _chunk()
    assert found == EXPECTED
    assert json.loads(json.dumps(found)) == found


def test_labels_are_counted_by_language():
    assert labels_by_language(EXPECTED) == {
        "de": {"good": 2},
        "(none)": {"bad": 1},
        "other": {"bad": 1},
        "en": {"bad": 1},
    }
    assert labels_by_language({"counts": {}}) == {}
    several = np.array([[1, 1, 0], [0, 0, 0]], bool)
    rows = slice(0, 2)
    reviews = REVIEWS.slice(0, 2)
    tokenized = {name: column.slice(0, 2) for name, column in TOKENIZED.items()}
    found = chunk_statistics(
        reviews, tokenized, PROBABILITIES[rows], several, NAMES, "multilabel"
    )
    assert labels_by_language(found) == {"de": {"bad": 1, "fair": 1}}


def test_a_chunk_without_rows():
    found = merge([_chunk(slice(0, 0)), _chunk()])
    assert found == EXPECTED
    assert _chunk(slice(0, 0))["rows"] == 0


@given(st.lists(st.integers(0, 5), max_size=4), st.permutations(range(5)))
def test_parts_add_up_to_the_whole_in_any_order(cuts, order):
    places = sorted({0, 5, *cuts})
    chunks = [
        _chunk(np.array(order)[a:b]) for a, b in zip(places, places[1:], strict=False)
    ]
    assert merge(chunks) == merge(reversed(chunks)) == EXPECTED
    assert merge([merge(chunks[:1]), merge(chunks[1:])]) == EXPECTED


def test_merging_nothing_and_statistics_of_other_features():
    nothing = merge([])
    assert nothing == {"rows": 0, "squares": 0, "counts": {}}
    assert merge([nothing, EXPECTED]) == EXPECTED


def test_bins_are_named_by_their_upper_bounds():
    assert bins("tokens")[:12] == "1 2 3 4 6 8 11 16 23 32 45 64".split()
    assert bins("characters")[-2:] == ["8192", "more"]
    assert bins("confidence")[-3:] == ["0.995", "0.999", "more"]
    assert bins("language") is bins("predicted_label") is None


@pytest.mark.parametrize(
    ("value", "name"), [(1, "1"), (5, "6"), (6, "6"), (7, "8"), (8192, "8192")]
)
def test_a_bin_holds_its_bound(value, name):
    columns = {"tokens": pa.array([value]), "language": pa.array(["de"])}
    assert count_texts(columns)["counts"]["tokens"] == {name: 1}


def test_examples_count_for_all_their_copies():
    columns = {
        "tokens": pa.array([3, 5, 5], pa.int64()),
        "truncated": pa.array([False, True, False]),
        "language": pa.array(["de", None, "de"]),
    }
    found = count_texts(columns, np.array([10, 1, 2]))
    assert found == {
        "rows": 13,
        "squares": 105,
        "counts": {
            "tokens": {"3": 10, "6": 3},
            "truncated": {"no": 12, "yes": 1},
            "language": {"de": 12, "(none)": 1},
        },
    }
    # As many as 13² / 105 different reviews would tell.
    assert effective_rows(found) == pytest.approx(1.6095, abs=1e-4)
    assert effective_rows(EXPECTED) == 5


def test_a_row_with_several_labels_is_in_all_of_their_bins():
    probabilities = np.array([[0.8, 0.6, 0.1], [0.2, 0.1, 0.3]], np.float32)
    found = count_predictions(
        probabilities, probabilities >= 0.5, NAMES, "multilabel", np.array([1, 4])
    )
    # (0.8 + 0.6 + 0.9) / 3 and (0.8 + 0.9 + 0.7) / 3
    assert found == {
        "rows": 5,
        "squares": 17,
        "counts": {
            "predicted_label": {"bad": 1, "fair": 1},
            "confidence": {"0.8": 5},
        },
    }
