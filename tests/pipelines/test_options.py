"""Beam's options, from arguments and from a file."""

import pytest
from apache_beam.options.pipeline_options import DirectOptions

from reviewbeam.components.common.errors import UserError
from reviewbeam.pipelines.options import (
    PROCESSES,
    beam_options,
    processes,
    with_processes,
)


def test_the_embedded_runner_is_named_by_default():
    assert beam_options([], None).get_all_options()["runner"] == "FnApiRunner"


def test_a_file_and_arguments(tmp_path):
    path = tmp_path / "beam.yaml"
    path.write_text(
        "runner: FlinkRunner\nparallelism: 2\nexperiments: [a, b]\n"
        "environment_config: {command: /boot}\n"
    )
    options = beam_options(["--parallelism=4"], str(path)).get_all_options()
    assert options["runner"] == "FlinkRunner"
    assert options["parallelism"] == 4
    assert options["experiments"] == ["a", "b"]
    assert options["environment_config"] == '{"command": "/boot"}'


def test_an_unknown_option_in_a_file(tmp_path):
    path = tmp_path / "beam.yaml"
    path.write_text("paralelism: 2\n")
    with pytest.raises(UserError, match="did you mean '--parallelism'"):
        beam_options([], str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("streaming: false\n", "streaming has the value False"),
        ("- a\n", "must hold a mapping"),
        ("\xff", "it is not UTF-8 text"),
        ("a: b: c\n", "mapping values are not allowed"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path, text, message):
    path = tmp_path / "beam.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=f"beam.yaml.*{message}"):
        beam_options([], str(path))


def test_an_unknown_runner():
    with pytest.raises(UserError, match="--runner=Nonsense can't be used"):
        beam_options(["--runner=Nonsense"], None)


def test_a_value_of_the_wrong_kind():
    with pytest.raises(UserError, match="invalid int value: 'two'"):
        beam_options(["--direct_num_workers=two"], None)


def _workers(options):
    direct = options.view_as(DirectOptions)
    return direct.direct_running_mode, direct.direct_num_workers


@pytest.mark.parametrize(
    ("cores", "expected"),
    [(1, ("in_memory", 1)), (2, (PROCESSES, 2)), (64, (PROCESSES, 4))],
)
def test_the_embedded_runner_may_use_processes(monkeypatch, cores, expected):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(cores)))
    assert _workers(with_processes(beam_options([], None))) == expected


@pytest.mark.parametrize(
    "flag", ["--direct_running_mode=in_memory", "--direct_num_workers=1"]
)
def test_what_the_user_chose_stays(monkeypatch, flag):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    options = beam_options([flag], None)
    assert _workers(with_processes(options)) == ("in_memory", 1)


def test_another_runner_has_its_own_workers(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    options = beam_options(["--runner=FlinkRunner"], None)
    assert _workers(with_processes(options)) == ("in_memory", 1)


def test_options_of_flinks_job_server_are_known():
    flags = ["--object_reuse", "--execution_mode_for_batch=BATCH_FORCED"]
    assert beam_options(["--runner=FlinkRunner", *flags], None)._flags[1:] == flags
    with pytest.raises(UserError, match="object_reuse: ignored explicit argument"):
        beam_options(["--runner=FlinkRunner", "--object_reuse=false"], None)
    with pytest.raises(UserError, match="outlives its launcher"):
        beam_options(["--runner=FlinkRunner", "--flink_submit_uber_jar"], None)
    with pytest.raises(UserError, match="did you mean '--object_reuse'"):
        beam_options(["--runner=FlinkRunner", "--objects_reuse"], None)


def test_the_work_is_spread_over_slots():
    assert processes(beam_options(["--runner=FlinkRunner"], None)) == 2
    flags = ["--runner=FlinkRunner", "--parallelism=7"]
    assert processes(beam_options(flags, None)) == 7
    assert processes(beam_options(["--direct_running_mode=in_memory"], None)) == 1


@pytest.mark.parametrize(
    "name", ["flinkrunner", "apache_beam.runners.portability.flink_runner.FlinkRunner"]
)
def test_a_runner_has_one_name(name):
    options = beam_options([f"--runner={name}"], None)
    assert options.get_all_options()["runner"] == "FlinkRunner"
