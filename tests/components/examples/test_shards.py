import gzip
import hashlib

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.examples import shards
from reviewbeam.components.examples.shards import (
    read_shard,
    shard_name,
    write_shard,
)

RECORDS = [b"first", b"", b"\0" * 300, bytes(range(256))]


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "train-00000-of-00001.tfrecord.gz")


def test_names():
    assert shard_name("train", 3, 12) == "train-00003-of-00012.tfrecord.gz"
    names = [shard_name("test", i, 20) for i in range(20)]
    assert names == sorted(names)


def test_tensorflow_reads_a_shard(path):
    write_shard(path, [RECORDS])

    dataset = tf.data.TFRecordDataset(path, compression_type="GZIP")
    assert [record.numpy() for record in dataset] == RECORDS


@given(records=st.lists(st.binary(max_size=50), max_size=10))
def test_reads_what_it_wrote(tmp_path_factory, records):
    path = str(tmp_path_factory.getbasetemp() / "round_trip.tfrecord.gz")
    digest = write_shard(path, iter([records]))

    with open(path, "rb") as file:
        assert hashlib.sha256(file.read()).hexdigest() == digest
    assert read_shard(path) == records


def test_reads_what_tensorflow_wrote(path):
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    with tf.io.TFRecordWriter(path, options) as writer:
        for record in RECORDS:
            writer.write(record)

    assert read_shard(path) == RECORDS


def test_the_same_records_have_the_same_bytes(tmp_path, monkeypatch):
    first = write_shard(str(tmp_path / "one"), [RECORDS])
    monkeypatch.setattr("time.time", lambda: 2e9)  # gzip may note the time
    second = write_shard(str(tmp_path / "two"), [RECORDS])

    assert first == second
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert write_shard(str(tmp_path / "three"), [RECORDS[::-1]]) != first


@given(cuts=st.lists(st.integers(0, 400), max_size=6).map(sorted))
def test_however_records_are_batched_they_have_the_same_bytes(tmp_path_factory, cuts):
    folder = tmp_path_factory.getbasetemp()
    records = [f"review {i * i} of {i % 7} stars".encode() * 9 for i in range(400)]
    bounds = [0, *cuts, len(records)]
    batches = [records[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]

    once = write_shard(str(folder / "once"), [records])
    assert write_shard(str(folder / "batched"), batches) == once
    assert read_shard(str(folder / "batched")) == records


def test_an_empty_shard_is_a_file_that_tensorflow_reads(path):
    write_shard(path, [])

    assert read_shard(path) == []
    assert list(tf.data.TFRecordDataset(path, compression_type="GZIP")) == []


def test_a_shard_cut_short_at_any_place(path):
    write_shard(path, [RECORDS])
    with open(path, "rb") as file:
        whole = file.read()

    for size in range(len(whole)):
        with open(path, "wb") as file:
            file.write(whole[:size])
        with pytest.raises(UserError, match="is no sound TFRecord file"):
            read_shard(path)


def test_a_shard_whose_content_is_cut_short_at_any_place(path):
    """As if the writer had stopped early and closed its gzip stream."""
    content = b"".join(map(shards.framed, [b"first", b"second"]))
    ends = [0, 16 + 5, len(content)]

    for size in range(len(content)):
        with gzip.open(path, "wb") as file:
            file.write(content[:size])
        if size in ends:  # a whole number of records
            assert len(read_shard(path)) == ends.index(size)
            continue
        with pytest.raises(UserError, match="is no sound TFRecord file"):
            read_shard(path)


def test_a_changed_byte_is_found_wherever_it_is(path):
    content = b"".join(map(shards.framed, [b"first", b"second"]))

    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 0x10
        with gzip.open(path, "wb") as file:
            file.write(bytes(changed))
        with pytest.raises(UserError, match="is no sound TFRecord file"):
            read_shard(path)


def test_a_changed_byte_of_the_file(path):
    write_shard(path, [RECORDS])
    with open(path, "r+b") as file:
        file.seek(40)
        byte = file.read(1)
        file.seek(40)
        file.write(bytes([byte[0] ^ 0xFF]))

    with pytest.raises(UserError, match="is no sound TFRecord file"):
        read_shard(path)
