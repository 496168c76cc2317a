"""What a person is told of a failure."""

import errno
import os
import re

import apache_beam as beam
import pydantic
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from reviewbeam.components.common.errors import ReviewbeamError, UserError
from reviewbeam.pipelines.failures import explain, traceback_without_values

REVIEW = "my secret review"
MODES = ["in_memory", "multi_threading"]


class _Fail(beam.DoFn):
    def process(self, what):
        if what == "user":
            raise UserError("the vocabulary\nis none")
        if what == "stopped":
            raise KeyboardInterrupt
        if what == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "shard")
        if what == "value":
            raise ValueError(f"{REVIEW}\nValueError: {REVIEW}")
        if what == "key":
            {}[REVIEW]
        if what == "chained":
            try:
                int(REVIEW)
            except ValueError:
                raise UserError("no number") from None


def _explained(what, mode="in_memory"):
    options = PipelineOptions(runner="FnApiRunner", direct_running_mode=mode)
    with pytest.raises(BaseException) as caught:
        with beam.Pipeline(options=options) as pipeline:
            pipeline | beam.Create([what]) | "Fail now" >> beam.ParDo(_Fail())
    return explain(caught.value, "out")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", ["value", "key"])
def test_a_worker_that_may_quote_a_review_is_told_by_its_place(what, mode):
    told = str(_explained(what, mode))
    kind = {"value": "ValueError", "key": "KeyError"}[what]
    assert told.startswith(f"failed: {kind} at test_failures.py:")
    assert "secret" not in told and "while running" not in told


@pytest.mark.parametrize("mode", MODES)
def test_a_mistake_of_the_user_stays_one(mode):
    told = _explained("user", mode)
    assert isinstance(told, UserError)
    assert str(told) == "the vocabulary\nis none"
    assert str(_explained("chained", mode)) == "no number"


@pytest.mark.parametrize("mode", MODES)
def test_a_stop_within_a_worker_is_a_stop(mode):
    assert isinstance(_explained("stopped", mode), KeyboardInterrupt)


@pytest.mark.parametrize("mode", MODES)
def test_a_full_disk(mode):
    first = str(_explained("full", mode)).splitlines()[0]
    assert first == (
        "failed: OSError: [Errno 28] No space left on device: 'shard'. "
        f"Make room on the disk of {os.path.abspath('out')!r}."
    )


def test_faults_of_the_launcher():
    class Model(pydantic.BaseModel):
        stars: int

    with pytest.raises(pydantic.ValidationError) as caught:
        Model(stars=REVIEW)
    told = explain(caught.value)
    assert type(told) is ReviewbeamError and told.exit_code == 1
    assert "failed: ValidationError at" in str(told) and "secret" not in str(told)
    assert "MemoryError: no reason was given" in str(explain(MemoryError()))
    stopped = KeyboardInterrupt()
    assert explain(stopped) is stopped


def test_a_job_of_a_cluster_is_told_by_what_its_worker_raised():
    trace = (
        "Pipeline p-1_ab failed in state FAILED: java.lang.RuntimeException: Error "
        "received from SDK harness for instruction 1: Traceback (most recent call "
        'last):\n  File "apache_beam/runners/common.py", line 1562, in process\n'
        '  File "/x/components/inference/handler.py", line 94, in load_model\n'
        "    raise UserError(\n"
        "reviewbeam.components.common.errors.UserError: no such model\n\n"
        "During handling of the above exception, another exception occurred:\n\n"
        "Traceback (most recent call last):\n"
        '  File "/x/sdk_worker.py", line 316, in _execute\n'
        "    response = task()\n"
        "reviewbeam.components.common.errors.UserError: no such model "
        "[while running 'Load/Model']\n"
    )
    told = explain(RuntimeError(trace))
    assert isinstance(told, UserError)
    assert str(told) == "no such model"


def test_a_job_that_a_cluster_gave_up_is_told_in_its_words():
    told = explain(
        RuntimeError(
            "Pipeline p-1_ab failed in state FAILED: NoResourceAvailableException: "
            "Could not acquire the minimum required resources.\n\tat org.apache.flink"
        )
    )
    assert type(told) is ReviewbeamError
    assert str(told).startswith(
        "failed: RuntimeError: the cluster's job: NoResourceAvailableException: Could "
        "not acquire the minimum required resources..\nRun it again"
    )


def test_a_traceback_has_places_and_types_and_no_values():
    def inner():
        int("Anna's number")

    try:
        try:
            inner()
        except ValueError as error:
            raise OSError(28, "No space left on device") from error
    except OSError as error:
        told = traceback_without_values(error).splitlines()
    file = re.escape(__file__)
    wanted = [
        rf'  File "{file}", line \d+, in test_a_traceback_has_places',
        rf'  File "{file}", line \d+, in inner',
        "ValueError$",
        rf'  File "{file}", line \d+, in test_a_traceback_has_places',
        r"OSError: \[Errno 28\] No space left on device$",
    ]
    assert len(told) == len(wanted)
    for line, pattern in zip(told, wanted, strict=True):
        assert re.match(pattern, line), line


def test_of_a_workers_traceback_no_words_are_taken_but_places():
    text = (
        "Traceback (most recent call last):\n"
        '  File "/x/components/tokenization/tokenize.py", line 9, in <lambda>\n'
        "    raise ValueError(text)\n"
        "ValueError: Call me:\n"
        '  File "+49 170 5550123", line 3, in bed\n'
        "KeyError: Anna\n"
    )
    told = traceback_without_values(RuntimeError(text))
    assert told.splitlines() == [
        "of a worker:",
        '  File "/x/components/tokenization/tokenize.py", line 9, in <lambda>',
        "RuntimeError",
    ]


def test_what_beam_makes_of_an_exception_is_not_quoted():
    try:
        try:
            raise ValueError(REVIEW)
        except ValueError:
            raise RuntimeError(f"ValueError: {REVIEW} [while running 'X']")  # noqa: B904
    except RuntimeError as error:
        told = traceback_without_values(error)
    assert REVIEW not in told
    assert told.endswith("RuntimeError") and "ValueError\n" in told
