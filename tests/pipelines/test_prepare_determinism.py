"""The same corpus and config give the same bytes, wherever and however they run."""

import gzip
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import MutableSequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import descriptor

from tests.pipelines.launches import (
    ONE_THREAD,
    PROCESSES,
    THREADS,
    Launch,
    digests,
    everything,
    write_corpus,
    write_yaml,
)

_DIGITS = 1e-6  # relative


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("determinism")


@pytest.fixture(scope="module")
def data(folder, tiny_encoder):
    return everything(tiny_encoder, write_corpus(folder / "corpus"))


@pytest.fixture(scope="module")
def prepare(folder, data):
    """Returns a function that prepares with changed data, and returns the output."""

    def run(name, *options, **changed):
        config = write_yaml(folder / f"{name}.yaml", data | changed)
        output = folder / name
        job = Launch(
            folder, "prepare", "--config", config, "--output", output, *options
        )
        assert job.end() == 0, job.err
        return output

    return run


@pytest.fixture(scope="module")
def plain(prepare):
    return prepare("plain")


def _assert_same(dataset, plain):
    assert digests(dataset) == digests(plain)
    mine, other = (
        tfdv.load_statistics(str(path / "statistics.tfrecord"))
        for path in (dataset, plain)
    )
    _assert_same_message(mine, other, "statistics")


def _assert_same_message(mine, other, where):
    """Numbers with a fraction within some digits, all others exactly."""
    assert mine.DESCRIPTOR is other.DESCRIPTOR, where
    for field in mine.DESCRIPTOR.fields:
        mine_, other_ = (_values(message, field) for message in (mine, other))
        name = f"{where}.{field.name}"
        assert len(mine_) == len(other_), name
        for one, two in zip(mine_, other_, strict=True):
            if field.type == descriptor.FieldDescriptor.TYPE_MESSAGE:
                _assert_same_message(one, two, name)
            elif isinstance(one, float):
                np.testing.assert_allclose(one, two, rtol=_DIGITS, err_msg=name)
            else:
                assert one == two, name


def _values(message, field):
    """The values of a field, ordered by name where their order means nothing."""
    value = getattr(message, field.name)
    if not isinstance(value, MutableSequence):  # not repeated
        return [value] if not field.has_presence or message.HasField(field.name) else []
    if field.name == "datasets":
        return sorted(value, key=lambda dataset: dataset.name)
    if field.name == "features":
        return sorted(value, key=lambda feature: feature.path.step[0])
    return list(value)


def test_the_corpus_meets_every_step(plain):
    """Else the tests below would compare less than they say."""
    manifest = json.loads((plain / "manifest.json").read_text())
    assert all(split["examples"] for split in manifest["splits"].values())
    assert manifest["augmented"]["examples"]
    assert manifest["label_conflicts"]["texts"]
    assert manifest["language_detector"]
    inputs = {entry["file"]: entry for entry in manifest["inputs"]}
    assert "ends before its end mark" in inputs["cut.jsonl.gz"]["damaged"]
    rules = [rule for entry in manifest["inputs"] for rule in entry["rejected"]]
    assert {"id_repeated", "malformed_json", "invalid_utf8"} <= set(rules)
    left_out = [rule for entry in manifest["inputs"] for rule in entry["left_out"]]
    assert "group_conflict" in left_out


def test_one_thread(prepare, plain):
    _assert_same(prepare("one-thread", *ONE_THREAD), plain)


def test_four_threads(prepare, plain):
    _assert_same(prepare("threads", *THREADS), plain)


@pytest.mark.slow  # in a store, test_prepare_store.py does the same
def test_processes(prepare, plain):
    _assert_same(prepare("processes", *PROCESSES), plain)


@pytest.mark.slow  # test_prepare.py does the same with the sample
def test_slices(prepare, plain):
    """The config, and so its fingerprint, is another; all else is the same."""
    mine, other = digests(prepare("slices", slice_bytes=1024)), digests(plain)
    for name in ("manifest.json", "report.html"):  # which name the fingerprint
        assert mine.pop(name) != other.pop(name)
    assert mine == other


@pytest.mark.slow
def test_the_order_of_inputs_and_another_place(prepare, plain, folder):
    """Of a copy with the same relative names, its files listed one by one."""
    copy = folder / "elsewhere" / "a copy"
    shutil.copytree(folder / "corpus", copy)
    names = ["*/two.jsonl", "one.jsonl", "cut.*"]
    options = [word for name in names for word in ("--input", f"{copy}/{name}")]
    _assert_same(prepare("order", *options), plain)


@pytest.mark.slow
def test_another_process_zone_and_locale(data, folder, plain):
    """Hashes of strings, the clock's zone and the locale are of each process."""
    config = write_yaml(folder / "process.yaml", data)
    command = Path(sys.executable).with_name("reviewbeam")
    environment = {"PYTHONHASHSEED": "4711", "TZ": "Asia/Kathmandu", "LC_ALL": "C"}
    subprocess.run(
        [command, "prepare", "--config", config, "--output", folder / "process"],
        env={**os.environ, **environment, "PYTHONUTF8": "0"},
        check=True,
        capture_output=True,
    )
    _assert_same(folder / "process", plain)


def test_partitions_divide_the_same_examples(prepare, plain):
    dataset = prepare("partitions", partition_bytes=4096)
    assert len(list(dataset.glob("train-*"))) > 8 == len(list(plain.glob("train-*")))
    for split in ("train", "validation", "test", "augmented"):
        assert _examples(dataset, split) == _examples(plain, split) != []


def _examples(dataset, split):
    records = []
    for path in dataset.glob(f"{split}-*"):
        data, place = gzip.decompress(path.read_bytes()), 0
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            records.append(data[place + 12 : place + 12 + length])
            place += length + 16
    return sorted(records)
