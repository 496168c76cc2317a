"""Beam's runner for Flink, whose job server and job don't outlive the launcher."""

import contextlib
import copy
import functools
import logging
import os
import shutil
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners.portability import portable_runner
from apache_beam.runners.portability.flink_runner import (
    MAGIC_HOST_NAMES,
    FlinkJarJobServer,
    FlinkRunner,
)

from reviewbeam.components.common.background import in_background
from reviewbeam.components.common.errors import ReviewbeamError, UserError
from reviewbeam.components.common.run_record import RunRecord
from reviewbeam.pipelines.flink_cluster import (
    FlinkCluster,
    GoneError,
    UnreachableError,
)
from reviewbeam.pipelines.options import FLINK

NOTE = "flink_job"  # in a run's record
_APPEARS_WITHIN = 5.0  # seconds: a job that was being submitted
_CLOSES_WITHIN = 3.0  # seconds: a worker that was kept for long enough
_LOOK_EVERY = 1.0
# Runs a command that the kernel kills when this process ends.
_WITH_PARENT = """
import ctypes, os, signal, sys
parent = int(sys.argv[1])
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
if os.getppid() == parent:
    os.setsid()  # a signal to the launcher's group is the launcher's to act on
    os.execvp(sys.argv[2], sys.argv[2:])
"""


def flink_cluster(options: PipelineOptions) -> FlinkCluster | None:
    """Returns the cluster that options name; None: none, or one in the job server."""
    master = options.view_as(FlinkRunnerOptions).flink_master.strip()
    if not runs_on_flink(options) or master in MAGIC_HOST_NAMES:
        return None
    return FlinkCluster.of(master)


def runs_on_flink(options: PipelineOptions) -> bool:
    """Tells whether Flink is the runner."""
    return options.view_as(StandardOptions).runner == FLINK


@contextlib.contextmanager
def flink_job(
    options: PipelineOptions, job: str, run: RunRecord
) -> Iterator[PipelineOptions]:
    """Yields the options of one pipeline on Flink, which ends with the block.

    Args:
      options: Beam's.
      job: of ours, for the name of Flink's.
      run: its record, which names the job to a later run.

    Raises:
      UnreachableError: no cluster answers.
      UserError: there is no job server, or no Java to run it.
    """
    _check_job_server(options)
    options = copy.deepcopy(options)
    cloud = options.view_as(GoogleCloudOptions)
    # The name tells the job from all others before Flink has given it an id.
    name = f"{cloud.job_name or 'reviewbeam'}-{job}-{uuid.uuid4().hex[:12]}"
    cloud.job_name = name
    cluster = flink_cluster(options)
    options.view_as(StandardOptions).runner = f"{__name__}.{_Runner.__name__}"
    if cluster is None:
        yield options
        return
    cluster.jobs(name)  # it must answer before all the work of submitting
    kept = int(options.view_as(PortableOptions).environment_cache_millis) / 1000
    facts = {"address": cluster.address, "name": name, "workers_kept": kept}
    run.note(**{NOTE: facts})
    # The job server is on this host, where no proxy leads.
    os.environ.setdefault("no_grpc_proxy", "localhost,127.0.0.1")
    try:
        with in_background(functools.partial(_note_id, cluster, facts, run)):
            yield options
    except BaseException:
        run.leaves_job = True
        # What went wrong first is what is told.
        with contextlib.suppress(ReviewbeamError):
            _end(facts)
            run.leaves_job = False
        raise


def end_earlier_job(before: dict[str, Any]) -> None:
    """Ends the Flink job that a killed run left, so that nothing more is written.

    Args:
      before: what that run noted.

    Raises:
      ReviewbeamError: the job doesn't end.
    """
    if facts := before.get(NOTE):
        _end(facts)


def _end(facts: dict[str, Any]) -> None:
    """Ends a job, and waits until its workers write no more.

    Workers end with their stage, but for those that are kept for the next one
    (--environment_cache_millis): they go on with what they were at.
    """
    within = 0.0 if "id" in facts else _APPEARS_WITHIN
    # A cluster that is gone has taken its jobs along.
    with contextlib.suppress(GoneError):
        cluster = FlinkCluster(facts["address"])
        was_there = cluster.end(facts["name"], appears_within=within)
        if was_there and facts["workers_kept"]:
            time.sleep(facts["workers_kept"] + _CLOSES_WITHIN)


def _note_id(
    cluster: FlinkCluster,
    facts: dict[str, Any],
    run: RunRecord,
    over: threading.Event,
) -> None:
    """Notes the id that Flink gives the job, for whoever looks for it there."""
    while not over.wait(_LOOK_EVERY):
        with contextlib.suppress(UnreachableError, OSError):
            for job in cluster.jobs(facts["name"]):
                facts["id"] = job
                return run.note(**{NOTE: facts})


def _check_job_server(options: PipelineOptions) -> None:
    if options.view_as(PortableOptions).job_endpoint:
        return  # one that runs somewhere
    jar = options.view_as(FlinkRunnerOptions).flink_job_server_jar
    if jar and "://" not in jar and not Path(jar).is_file():
        raise UserError(
            f"--flink_job_server_jar={jar} isn't there. scripts/flink/up makes one in "
            "runs/flink/; or take Beam's for your Flink."
        )
    java = options.view_as(JobServerOptions).job_server_java_launcher
    if shutil.which(java) is None:
        raise UserError(
            f"Beam's job server for Flink needs Java, and {java!r} isn't there. "
            "Install it (Debian: openjdk-17-jre-headless), or set --job_endpoint to a "
            "job server that runs elsewhere."
        )


class _JobServer(FlinkJarJobServer):
    def subprocess_cmd_and_endpoint(self):
        command, endpoint = super().subprocess_cmd_and_endpoint()
        within = [sys.executable, "-I", "-S", "-c", _WITH_PARENT, str(os.getpid())]
        return [*within, *command], endpoint


class _Runner(FlinkRunner):
    """Ends its job server when the pipeline has ended.

    Beam's leaves that to the interpreter's exit, and to a handler of SIGINT that
    would end it while the job still finishes what it has begun.
    """

    _server = None

    def default_job_server(self, options):
        """Makes the job server; see the base class."""
        flink = options.view_as(FlinkRunnerOptions)
        flink.flink_master = self.add_http_scheme(flink.flink_master)
        self._server = _JobServer(options)
        return self._server

    def run_pipeline(self, pipeline, options):
        """Runs a pipeline to its end; see the base class."""
        if logging.getLogger("apache_beam").level == logging.CRITICAL:
            # The trace of what a worker raised; it may quote reviews.
            error = beam_job_api_pb2.JobMessage.JOB_MESSAGE_ERROR
            portable_runner.MESSAGE_LOG_LEVELS[error] = logging.DEBUG
        try:
            result = super().run_pipeline(pipeline, options)
            result.wait_until_finish()
            return result
        finally:
            if self._server is not None:
                self._server.stop()
