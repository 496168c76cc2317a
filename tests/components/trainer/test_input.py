import json

import numpy as np
import pytest

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.trainer.batches import plan_batches
from reviewbeam.components.trainer.input import PAD, batches, join, read_split
from tests.components.trainer.datasets import NAMES, make_rows, write_dataset

ROWS = [([0, 5, 6, 2], 2), ([0, 7, 2], 0), ([0, 2], 1), ([0, 8, 9, 10, 2], 2)]


@pytest.fixture
def small(tiny_encoder, tmp_path):
    return write_dataset(tmp_path / "small", tiny_encoder, {"train": ROWS})


def read(dataset, change=None):
    described = json.loads((dataset / "manifest.json").read_text())["splits"]["train"]
    if change:
        change(described)
    return read_split(dataset, "train", described, NAMES)


def test_a_split_is_read_as_it_was_written(small):
    split = read(small)
    # Rows 0 and 2 lie in the first shard, 1 and 3 in the second; the third is empty.
    assert split.token_ids.tolist() == [0, 5, 6, 2, 0, 2, 0, 7, 2, 0, 8, 9, 10, 2]
    assert split.token_ids.dtype == np.int32
    assert split.row_splits.tolist() == [0, 4, 6, 9, 14]
    assert split.lengths.tolist() == [4, 2, 3, 5]
    assert split.labels.tolist() == [2, 1, 0, 2]
    assert split.example_ids(np.array([3, 0])) == ["train-3", "train-0"]


def test_a_split_without_examples_is_empty(small):
    described = json.loads((small / "manifest.json").read_text())["splits"]["test"]
    split = read_split(small, "test", described, NAMES)
    assert len(split) == 0
    assert split.row_splits.tolist() == [0]


def test_joined_rows_keep_their_order(tiny_encoder, tmp_path):
    more = [([0, 11, 2], 1), ([0, 12, 13, 2], 0)]
    splits = {"train": ROWS, "augmented": more}
    path = write_dataset(tmp_path / "both", tiny_encoder, splits)
    manifest = json.loads((path / "manifest.json").read_text())
    train = read_split(path, "train", manifest["splits"]["train"], NAMES)
    extra = read_split(path, "augmented", manifest["augmented"], NAMES)
    both = join(train, extra)
    assert both.token_ids.tolist() == [*train.token_ids, 0, 11, 2, 0, 12, 13, 2]
    assert (both.token_ids.dtype, both.row_splits.dtype) == (np.int32, np.int64)
    assert both.lengths.tolist() == [4, 2, 3, 5, 3, 4]
    assert both.labels.tolist() == [2, 1, 0, 2, 1, 0]
    assert both.example_ids(np.arange(3, 6)) == [
        "train-3",
        "augmented-0",
        "augmented-1",
    ]
    empty = read_split(path, "test", manifest["splits"]["test"], NAMES)
    assert join(train, empty).row_splits.tolist() == train.row_splits.tolist()


def test_batches_are_the_rows_of_the_plan_padded(dataset):
    described = json.loads((dataset / "manifest.json").read_text())["splits"]["train"]
    split = read_split(dataset, "train", described, NAMES)
    plan = plan_batches(split.lengths, 128, seed=1, epoch=0)
    feed = batches(split, plan)
    assert int(feed.cardinality()) == len(plan)
    for index, (token_ids, labels) in enumerate(feed):
        rows = plan.batch(index)
        assert token_ids.shape == (len(rows), split.lengths[rows].max())
        for row, padded, label in zip(rows, token_ids.numpy(), labels, strict=True):
            real = split.token_ids[split.row_splits[row] : split.row_splits[row + 1]]
            assert padded[: len(real)].tolist() == real.tolist()
            assert (padded[len(real) :] == PAD).all()
            assert int(label) == split.labels[row]
    assert index == len(plan) - 1


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
