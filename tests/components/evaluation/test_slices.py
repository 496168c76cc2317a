import numpy as np
import pytest

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.evaluation.predictions import kept_names
from reviewbeam.components.evaluation.slices import check_slices, slice_rows
from tests.components.evaluation.rows import random_predictions


def _lists(found):
    return {value: rows.tolist() for value, rows in found.items()}


def _rows(count, **columns):
    return random_predictions("binary", 2, count, 0, **columns)


def test_lengths_have_fixed_bounds():
    tokens = np.array([3, 16, 17, 64, 65, 512, 513, 4000])
    assert _lists(slice_rows(_rows(8, tokens=tokens), "length")) == {
        "1-16 tokens": [0, 1],
        "17-32 tokens": [2],
        "33-64 tokens": [3],
        "65-128 tokens": [4],
        "257-512 tokens": [5],
        "513 tokens or more": [6, 7],
    }


def test_truncated_or_not():
    truncated = np.array([False, True, False])
    found = slice_rows(_rows(3, truncated=truncated), "truncated")
    assert _lists(found) == {"no": [0, 2], "yes": [1]}
    assert list(slice_rows(_rows(2), "truncated")) == ["no"]


def test_languages_are_shown_as_codes_only():
    languages = ["de", None, "pt-BR", "me@example.org", "", "de"]
    assert _lists(slice_rows(_rows(6, languages=languages), "language")) == {
        "(unknown)": [1, 4],
        "de": [0, 5],
        "other": [3],
        "pt-BR": [2],
    }


def test_values_of_a_column():
    kept = {"shop": ["b", None, "a", "b"]}
    assert _lists(slice_rows(_rows(4, kept=kept), "shop")) == {
        "(missing)": [1],
        "a": [2],
        "b": [0, 3],
    }


def test_an_unknown_slice_is_refused():
    check_slices(["language", "length", "truncated", "shop"], ["shop"])
    with pytest.raises(UserError, match=r"'shp' \(did you mean 'shop'\?\)"):
        check_slices(["shp"], ["shop"])


def test_kept_columns_never_hide_ours():
    assert kept_names(["shop", "score", "length", "keep.score"]) == {
        "shop": "shop",
        "score": "keep.score",
        "length": "keep.length",
        "keep.score": "keep.keep.score",
    }
