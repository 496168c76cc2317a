import json

import numpy as np
import pytest

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.trainer.batches import plan_batches
from reviewbeam.components.trainer.input import PAD, batches, concatenate, read_split
from tests.components.trainer.datasets import (
    NAMES,
    make_multilabel_rows,
    make_rows,
    write_dataset,
)

LABELS = LabelRules(type="multiclass", names=NAMES)
MANY = LabelRules(type="multilabel", names=NAMES)
ROWS = [([0, 5, 6, 2], 2), ([0, 7, 2], 0), ([0, 2], 1), ([0, 8, 9, 10, 2], 2)]


@pytest.fixture
def small(tiny_encoder, tmp_path):
    splits = {"train": ROWS}
    return write_dataset(tmp_path / "small", tiny_encoder, splits, counts=(1, 3, 7))


def read(dataset, change=None, *, name="train", labels=LABELS):
    manifest = json.loads((dataset / "manifest.json").read_text())
    described = (manifest["splits"] | {"augmented": manifest["augmented"]})[name]
    if change:
        change(described)
    return read_split(dataset, name, described, labels)


def test_a_split_is_read_as_it_was_written(small):
    split = read(small)
    # Rows 0 and 2 lie in the first shard, 1 and 3 in the second; the third is empty.
    assert split.token_ids.tolist() == [0, 5, 6, 2, 0, 2, 0, 7, 2, 0, 8, 9, 10, 2]
    assert split.token_ids.dtype == np.int32
    assert split.row_splits.tolist() == [0, 4, 6, 9, 14]
    assert split.lengths.tolist() == [4, 2, 3, 5]
    assert split.labels.tolist() == [2, 1, 0, 2]
    assert split.labels.dtype == np.int32
    assert split.example_ids(np.array([3, 0])) == ["train-3", "train-0"]
    assert split.languages.to_pylist() == ["en"] * 4
    assert split.counts.tolist() == [1, 3, 7, 1]


@pytest.mark.parametrize("labels", [LABELS, MANY])
def test_a_split_without_examples_is_empty(small, labels):
    split = read(small, name="test", labels=labels)
    assert len(split) == 0
    assert split.row_splits.tolist() == [0]
    assert split.labels.shape == ((0,) if labels is LABELS else (0, 3))
    codes, names = split.language_codes()
    assert (codes.tolist(), names) == ([], [])


def test_several_labels_of_a_row_are_a_row_of_a_matrix(tiny_encoder, tmp_path):
    rows = [([0, 5, 2], [0, 2]), ([0, 6, 2], []), ([0, 7, 8, 2], [1]), ([0, 2], [1])]
    splits = {"train": rows}
    path = write_dataset(
        tmp_path / "many", tiny_encoder, splits, label_type="multilabel"
    )
    split = read(path, labels=MANY)
    # Rows 0 and 2 lie in the first shard, 1 and 3 in the second.
    assert split.labels.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0], [0, 1, 0]]
    assert split.labels.dtype == np.float32
    assert len(split) == 4
    plan = plan_batches(np.arange(4), split.lengths, 8, seed=1, epoch=0)
    for index, batch in enumerate(batches(split, plan)):
        np.testing.assert_array_equal(batch.labels, split.labels[plan.batch(index)])

    def two_more(described):
        described["labels"]["neutral"] += 2

    message = "2 examples of 'neutral'; its manifest says 4"
    with pytest.raises(UserError, match=message):
        read(path, two_more, labels=MANY)


def test_languages_of_rows(tiny_encoder, tmp_path):
    languages = ("en", "", "pt-BR", "me@mail.org")
    splits = {"train": make_rows(8, seed=1)}
    path = write_dataset(tmp_path / "l", tiny_encoder, splits, languages=languages)
    split = read(path)
    # What is no code is shown as `other`.
    expected = ["en", None, "pt-BR", "other"] * 2
    assert split.languages.to_pylist() == expected
    codes, names = split.language_codes()
    assert [names[code] for code in codes] == expected
    assert sorted(map(str, names)) == ["None", "en", "other", "pt-BR"]


def test_rows_of_several_parts_keep_their_order(tiny_encoder, tmp_path):
    more = [([0, 11, 2], 1), ([0, 12, 13, 2], 0)]
    splits = {"train": ROWS, "augmented": more}
    path = write_dataset(
        tmp_path / "both", tiny_encoder, splits, languages=("en", "", "de", "de")
    )
    train, extra = read(path), read(path, name="augmented")
    both = concatenate([train, extra])
    assert both.token_ids.tolist() == [*train.token_ids, 0, 11, 2, 0, 12, 13, 2]
    assert (both.token_ids.dtype, both.row_splits.dtype) == (np.int32, np.int64)
    assert both.labels.dtype == np.int32
    assert both.lengths.tolist() == [4, 2, 3, 5, 3, 4]
    assert both.labels.tolist() == [2, 1, 0, 2, 1, 0]
    assert both.example_ids(np.arange(3, 6)) == [
        "train-3",
        "augmented-0",
        "augmented-1",
    ]
    languages = ["en", None, "de", "de", "en", None]
    assert both.languages.to_pylist() == languages
    # One number for a language, whatever part a row comes from.
    codes, names = both.language_codes()
    assert [names[code] for code in codes] == languages
    assert len(set(names)) == len(names) == 3
    empty = read(path, name="test")
    same = concatenate([train, empty])
    assert same.row_splits.tolist() == train.row_splits.tolist()
    assert same.languages.to_pylist() == train.languages.to_pylist()


def test_batches_are_the_rows_of_the_plan_padded(dataset):
    split = read(dataset)
    plan = plan_batches(np.arange(len(split)), split.lengths, 128, seed=1, epoch=0)
    feed = batches(split, plan)
    assert int(feed.cardinality()) == len(plan)
    for index, (token_ids, labels, real_rows) in enumerate(feed):
        rows = plan.batch(index)
        assert int(real_rows) == len(rows)
        assert token_ids.shape == (len(rows), split.lengths[rows].max())
        for row, padded, label in zip(rows, token_ids.numpy(), labels, strict=True):
            assert_padded(split, row, padded)
            assert int(label) == split.labels[row]
    assert index == len(plan) - 1


def assert_padded(split, row, padded):
    real = split.token_ids[split.row_splits[row] : split.row_splits[row + 1]]
    assert padded[: len(real)].tolist() == real.tolist()
    assert (padded[len(real) :] == PAD).all()


@pytest.mark.parametrize("label_type", ["multiclass", "multilabel"])
def test_batches_fill_the_shapes_of_the_plan(tiny_encoder, tmp_path, label_type):
    make = make_multilabel_rows if label_type == "multilabel" else make_rows
    splits = {"train": make(90, seed=1, longest=60)}
    path = write_dataset(tmp_path / "d", tiny_encoder, splits, label_type=label_type)
    split = read(path, labels=MANY if label_type == "multilabel" else LABELS)
    random = np.random.default_rng(3)
    plan = plan_batches(
        random.integers(0, 90, 90),
        split.lengths,
        256,
        seed=1,
        epoch=0,
        few_shapes=True,
    )
    filled = 0
    for index, batch in enumerate(batches(split, plan)):
        rows = plan.batch(index)
        assert batch.token_ids.shape == tuple(plan.shapes[index])
        assert batch.labels.shape[0] == plan.shapes[index][0]
        assert int(batch.rows) == len(rows)
        for row, padded in zip(rows, batch.token_ids.numpy(), strict=False):
            assert_padded(split, row, padded)
        np.testing.assert_array_equal(batch.labels[: len(rows)], split.labels[rows])
        # What fills up is a text too, since a mean over no token is no number.
        assert (batch.token_ids.numpy()[:, 0] != PAD).all()
        filled += len(batch.token_ids) - len(rows)
    assert filled > 0


@pytest.mark.parametrize("first", [1, 5])
def test_batches_go_on_where_a_run_was_stopped(dataset, first):
    split = read(dataset)
    plan = plan_batches(np.arange(len(split)), split.lengths, 128, seed=1, epoch=0)
    whole, rest = list(batches(split, plan)), batches(split, plan, first=first)
    assert int(rest.cardinality()) == len(plan) - first
    for found, expected in zip(rest, whole[first:], strict=True):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_nothing_is_left_behind_the_last_batch(dataset):
    split = read(dataset)
    plan = plan_batches(np.arange(len(split)), split.lengths, 128, seed=1, epoch=0)
    assert list(batches(split, plan, first=len(plan))) == []


def test_a_missing_shard_is_named(small):
    (small / "train-00001-of-00003.tfrecord.gz").unlink()
    with pytest.raises(UserError, match="lists the shard 'train-00001-of-00003"):
        read(small)


def test_a_shard_cut_short_is_named(tiny_encoder, tmp_path):
    splits = {"train": make_rows(300, seed=1)}
    dataset = write_dataset(tmp_path / "cut", tiny_encoder, splits)
    shard = dataset / "train-00000-of-00003.tfrecord.gz"
    shard.write_bytes(shard.read_bytes()[:-800])
    with pytest.raises(UserError, match="train-00000-of-00003.tfrecord.gz'"):
        read(dataset)


def test_a_shard_that_is_no_tfrecord_is_named(small):
    (small / "train-00000-of-00003.tfrecord.gz").write_text("hello")
    with pytest.raises(UserError, match="can't be read"):
        read(small)


def test_counts_must_be_the_manifests(small):
    def one_more(described):
        described["shards"][0]["examples"] = 3

    with pytest.raises(UserError, match="holds 2 examples; the manifest says 3"):
        read(small, one_more)
    with pytest.raises(UserError, match="holds 14 tokens; its manifest says 15"):
        read(small, lambda described: described.update(tokens=15))
    labels = {"neutral": 2, "negative": 1, "positive": 1}
    with pytest.raises(UserError, match="1 examples of 'neutral'; its manifest says 2"):
        read(small, lambda described: described.update(labels=labels))
