"""The cluster runs pipelines of somebody who knows nothing of reviewbeam."""

import json
import shutil
import struct
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
import yaml
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList

from reviewbeam.pipelines.options import beam_options
from tests.cluster.flink import children

ROWS = 1000
WORDS = [number % 7 + 1 for number in range(ROWS)]
STARS = [number % 5 + 1 for number in range(ROWS)]


def _records(paths):
    """The records of TFRecord files: length, its checksum, data, its checksum."""
    for path in paths:
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            yield data[12 : 12 + length]
            data = data[16 + length :]


def last_state(flink):
    """What became of the job that was begun last."""
    return max(flink.jobs(), key=lambda job: job["start-time"])["state"]


@pytest.fixture(scope="module")
def output(flink, tmp_path_factory):
    """What the stranger's script wrote, run from a folder of its own."""
    folder = tmp_path_factory.mktemp("stranger")
    shutil.copy(Path(__file__).with_name("stranger.py"), folder)
    options = yaml.safe_load(flink.beam_file.read_text())
    options["environment_config"] = json.dumps(options["environment_config"])
    flags = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, "stranger.py", f"--output={folder}/out", *flags]
    (folder / "out").mkdir()
    log = folder / "log"
    listened = set()
    with (
        log.open("w") as out,
        subprocess.Popen(command, cwd=folder, stdout=out, stderr=out) as process,
    ):
        while process.poll() is None:
            listened |= flink.listens(*children(process.pid))
            time.sleep(1)
    assert process.returncode == 0, log.read_text()[-5000:]
    assert last_state(flink) == "FINISHED"
    # Neither Flink nor Beam's servers for the workers ask for a password.
    assert len(listened) > 10
    assert {address for address, _ in listened} <= {"127.0.0.1", "::1"}
    return folder / "out"


def test_side_input_and_parquet(output):
    files = sorted(output.glob("rows-*"))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    rows.sort(key=lambda row: row["id"])
    assert rows == [
        {"id": number, "stars": stars, "above": stars > sum(STARS) / ROWS}
        for number, stars in enumerate(STARS)
    ]


def test_run_inference_and_tfrecord(output):
    files = list(output.glob("scores-*"))
    assert len(files) == 3
    assert sorted(_records(files)) == sorted(
        f"{number} {(5 * words - 1) / 10}".encode()
        for number, words in enumerate(WORDS)
    )


def test_group_by_key_and_text(output):
    expected = defaultdict(list)
    for number, words in enumerate(WORDS):
        expected[(5 * words - 1) / 10].append(number)
    lines = "".join(file.read_text() for file in output.glob("groups-*")).splitlines()
    assert len(lines) == 7
    assert {key: ids for key, ids in map(json.loads, lines)} == expected


def test_tfdv(output):
    (record,) = _records(output.glob("statistics-*"))
    (dataset,) = DatasetFeatureStatisticsList.FromString(record).datasets
    assert dataset.num_examples == ROWS
    features = {feature.path.step[0]: feature for feature in dataset.features}
    stars, text = features["stars"].num_stats, features["text"].string_stats
    assert (stars.min, stars.max) == (1, 5)
    assert stars.mean == pytest.approx(sum(STARS) / ROWS, abs=1e-12)
    assert text.unique == 7
    assert {one.value: one.frequency for one in text.top_values} == {
        " ".join(["good"] * words): WORDS.count(words) for words in range(1, 8)
    }


def test_options_file(flink, tmp_path):
    """The file that `up` wrote is all that a pipeline needs."""
    options = beam_options([], str(flink.beam_file))
    with beam.Pipeline(options=options) as pipeline:
        numbers = pipeline | beam.Create(range(100)) | beam.Reshuffle()
        total = beam.pvalue.AsSingleton(numbers | beam.CombineGlobally(sum))
        (
            numbers
            | beam.Map(lambda number, total: (number % 3, total - number), total)
            | beam.GroupByKey()
            | beam.MapTuple(lambda key, values: f"{key} {sum(values)}")
            | beam.io.WriteToText(f"{tmp_path}/sums")
        )
    lines = "".join(file.read_text() for file in tmp_path.iterdir()).splitlines()
    assert sorted(lines) == [
        f"{key} {sum(4950 - number for number in range(key, 100, 3))}"
        for key in range(3)
    ]
    assert last_state(flink) == "FINISHED"
