import numpy as np
import pyarrow as pa
import pytest

from reviewbeam.components.examples.describe import describe

NAMES = ("bad", "good")


def _examples(**columns):
    rows = len(next(iter(columns.values())))
    defaults = {
        "split": ["train"] * rows,
        "label_index": pa.array([0] * rows, pa.int32()),
        "language": pa.array(["de"] * rows),
        "text": ["x"] * rows,
        "tokens": pa.array([3] * rows, pa.int32()),
        "unknown_tokens": pa.array([0] * rows, pa.int32()),
        "truncated": [False] * rows,
        "count": [1] * rows,
        "id": ["i"] * rows,
        "file": ["f"] * rows,
        "slice": pa.array([0] * rows, pa.int64()),
        "row": pa.array(range(1, rows + 1), pa.int64()),
    }
    return pa.RecordBatch.from_pydict(defaults | columns)


def _described(name, **columns):
    return describe(_examples(**columns), NAMES).to_pydict()[name]


def test_describes_examples_without_their_text():
    examples = _examples(
        split=["train", "test"],
        label_index=pa.array([1, 0], pa.int32()),
        language=["de", None],
        text=["größe 👍", ""],
        tokens=pa.array([8, 2], pa.int32()),
        unknown_tokens=pa.array([2, 0], pa.int32()),
        truncated=[True, False],
        count=[3, 1],
        slice=pa.array([0, 4], pa.int64()),
    )
    features = describe(examples, NAMES)

    found = features.to_pydict()
    assert found.pop("emoji_share") == [[pytest.approx(1 / 7)], [0.0]]
    assert found.pop("non_letter_share") == [[pytest.approx(1 / 7)], [0.0]]
    assert found == {
        "split": [[b"train"], [b"test"]],
        "label": [[b"good"], [b"bad"]],
        "language": [[b"de"], None],
        "characters": [[7], [0]],
        "tokens": [[8], [2]],
        "unknown_token_share": [[0.25], [0.0]],
        "truncated": [[1], [0]],
        "count": [[3], [1]],
        "file": ["f", "f"],
        "slice": [0, 4],
        "row": [1, 2],
    }
    for name in ("unknown_token_share", "emoji_share", "non_letter_share"):
        assert np.asarray(features.column(name).flatten()).dtype == "float32"


@pytest.mark.parametrize(
    "language", ["de", "EN", "pt-BR", "zh_Hant", "sr-Latn-RS", "unknown"]
)
def test_language_codes_are_shown(language):
    assert _described("language", language=[language]) == [[language.encode()]]


@pytest.mark.parametrize(
    "language",
    ["", "d", "ann@example.org", "de\n", "deutsche", "Ann Lee", "de-", "été"]
    + ["abcdefghi", "de-aaaaaaaa-bbbbbbbbb", "de-aaaaaaaa-bbbbbbbb-c", "49 170 1"],
)
def test_other_values_of_the_language_column_are_not(language):
    expected = b"deutsche" if language == "deutsche" else b"other"

    assert _described("language", language=[language]) == [[expected]]


def test_a_missing_language_stays_missing():
    languages = pa.array([None, "a b", "fr"], pa.string())

    assert _described("language", language=languages) == [None, [b"other"], [b"fr"]]
    nulls = pa.nulls(2, pa.string())
    assert _described("language", language=nulls) == [None, None]


def test_several_labels_a_row():
    indices = pa.array([[1, 0], [], [0], None], pa.list_(pa.int32()))

    expected = [[b"good", b"bad"], None, [b"bad"], None]
    assert _described("label", label_index=indices) == expected
    sliced = pa.array([[0], [1], [], [0, 1]], pa.list_(pa.int32())).slice(1)
    assert _described("label", label_index=sliced) == [
        [b"good"],
        None,
        [b"bad", b"good"],
    ]
