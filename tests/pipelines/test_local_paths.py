import argparse

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from reviewbeam.pipelines.local_paths import local_paths_warning, note_local_paths

PATHS = {"--output": "/data/scores", "--input": ["in/*", "s3://b/in/*"], "--model": ""}


def warning(*flags, paths=PATHS):
    return local_paths_warning(PipelineOptions(list(flags)), paths)


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--runner=FnApiRunner"],
        ["--runner=FlinkRunner"],
        ["--runner=FlinkRunner", "--flink_master=[local]"],
        ["--runner=FlinkRunner", "--flink_master=[auto]"],
        ["--runner=FlinkRunner", "--flink_master=localhost:8081"],
        ["--runner=FlinkRunner", "--flink_master=http://127.0.0.1:8081"],
        ["--runner=FlinkRunner", "--flink_master=[::1]:8081"],
        ["--runner=PortableRunner", "--job_endpoint=localhost:8099"],
        ["--runner=PortableRunner", "--job_endpoint=embed"],
    ],
)
def test_workers_of_this_machine_see_its_files(flags):
    assert warning(*flags) is None


@pytest.mark.parametrize(
    ("flags", "master"),
    [
        (["--runner=DataflowRunner"], "Dataflow"),
        (["--runner=FlinkRunner", "--flink_master=jobs:8081"], "Flink at jobs:8081"),
        (
            ["--runner=FlinkRunner", "--flink_master=https://10.1.2.3/flink"],
            "Flink at https://10.1.2.3/flink",
        ),
        (
            ["--runner=PortableRunner", "--job_endpoint=jobs:8099"],
            "Portable at jobs:8099",
        ),
    ],
)
def test_workers_elsewhere_do_not(flags, master):
    told = warning(*flags)
    assert f"workers of {master} run on other hosts" in told
    assert "'--output /data/scores', '--input in/*'." in told
    assert "s3://b" not in told and "--model" not in told


def test_what_is_in_a_store_needs_no_warning():
    flags = ("--runner=FlinkRunner", "--flink_master=jobs:8081")
    assert warning(*flags, paths={"--output": "gs://b/a"}) is None


def test_a_person_is_told(capsys):
    from reviewbeam.components.common.score_config import ScoreConfig

    config = ScoreConfig.model_validate(
        {"input": ["in/*"], "columns": {"text": "text"}}
    )
    arguments = argparse.Namespace(output="s3://b/scores", model="m")
    note_local_paths(PipelineOptions(["--runner=DataflowRunner"]), config, arguments)
    assert "under '--model m', 'input in/*'." in capsys.readouterr().err
    note_local_paths(PipelineOptions([]), config, arguments)
    assert capsys.readouterr().err == ""
