"""Labels of several kinds -> what a person is told of them."""

import pytest

from reviewbeam.components.ingestion.guess_labels import guess_labels
from reviewbeam.components.ingestion.guess_mixtures import (
    classes_apart,
    numbers_and_words,
)
from reviewbeam.components.ingestion.guess_profile import Profile
from reviewbeam.components.ingestion.sample import SampledFile
from reviewbeam.components.ingestion.sniff import Format

STARS = [1, 2, 3, 4, 5]


def labels_of(values):
    values = list(values) * 3
    return guess_labels(Profile("label", values, len(values)))


@pytest.mark.parametrize(
    "values, mixed",
    [
        ([*STARS, "bad"], (["1", "2", "3", "4", "5"], ["bad"])),
        (["5 stars", "1 star", "bad"], (["1 star", "5 stars"], ["bad"])),
        (STARS, None),
        (["bad", "good"], None),
        (["3D", "sound"], None),
        (["2023|sound", "2024"], None),
        (["1", "2", "n/a"], None),
    ],
)
def test_numbers_and_words(values, mixed):
    assert numbers_and_words(labels_of(values)) == mixed


@pytest.mark.parametrize(
    "files, apart",
    [
        ([STARS, ["bad", "good"]],
         (("0", ("1", "2", "3", "4", "5")), ("1", ("bad", "good")))),
        ([["bad"], [1, 2], ["bad"]], (("0", ("bad",)), ("1", ("1", "2")))),
        ([[1, 2], ["bad", "good"], [2, "bad"]], None),  # by way of the third
        ([["bad"], ["good"], ["bad"]], None),  # a file for each class
        ([["Bad", "good"], ["bad", "Good"]], None),
        ([["bad", "good"], [None], []], None),
        ([[["a"], ["b", "c"]], [["d"], []]], (("0", ("a", "b", "c")), ("1", ("d",)))),
    ],
)  # fmt: skip
def test_files_whose_classes_do_not_meet(files, apart):
    sampled = [
        SampledFile(f"{i}", Format(None, "jsonl", "none"), [{"y": v} for v in values])
        for i, values in enumerate(files)
    ]
    labels = labels_of(v for values in files for v in values if v is not None)
    assert classes_apart(sampled, "y", labels) == apart
