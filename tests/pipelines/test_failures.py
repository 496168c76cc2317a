"""What a person is told of a failure."""

import errno
import os

import apache_beam as beam
import pydantic
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from reviewbeam.components.common.errors import ReviewbeamError, UserError
from reviewbeam.pipelines.failures import explain

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
