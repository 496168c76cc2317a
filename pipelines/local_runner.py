"""Beam's runner for one machine, with worker processes that are forked."""

import contextlib
import copy
import shlex
from collections.abc import Iterator

import grpc
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.runners.portability import local_job_service
from apache_beam.runners.portability.fn_api_runner import FnApiRunner, worker_handlers
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from reviewbeam.components.common.coders import register_record_batch_coder
from reviewbeam.components.common.places import Place
from reviewbeam.components.common.stores import StorePath
from reviewbeam.pipelines.local_worker import worker_source
from reviewbeam.pipelines.options import DEFAULT_RUNNER, PROCESSES
from reviewbeam.pipelines.quiet import quiet_workers

_ahead: list[list[str]] = []  # commands of sources of workers that are forked already


@contextlib.contextmanager
def workers_ahead(output: Place) -> Iterator[None]:
    """Forks the source of workers at once, if they are to write to an object store.

    The client of a store has threads, and what is forked later from a process that
    has used one can't. So this must be entered before anything is asked of the store.
    """
    if not isinstance(output, StorePath):
        yield
        return
    register_record_batch_coder()
    quiet_workers()
    with worker_source() as command:
        _ahead.append(command)
        try:
            yield
        finally:
            _ahead.remove(command)


def with_local_workers(options: PipelineOptions) -> PipelineOptions:
    """Returns options whose worker processes, if they ask for such, are ours."""
    options = copy.deepcopy(options)
    standard = options.view_as(StandardOptions)
    mode = options.view_as(DirectOptions).direct_running_mode
    if standard.runner == DEFAULT_RUNNER and mode == PROCESSES:
        standard.runner = f"{__name__}.{LocalRunner.__name__}"
    return options


class _LocalGrpc:
    """The module grpc, whose servers listen on this machine alone.

    Beam's take whoever connects from anywhere for one of their workers.
    """

    def __getattr__(self, name):
        return getattr(grpc, name)

    def server(self, *arguments, **options):
        """Makes a server."""
        server = grpc.server(*arguments, **options)
        add_port = server.add_insecure_port
        server.add_insecure_port = lambda address: add_port(
            address.replace("[::]", "127.0.0.1")
        )
        return server


class LocalRunner(FnApiRunner):
    """Beam's runner with worker processes of ours."""

    def run_pipeline(self, pipeline, options):
        """Runs a pipeline; see the base class."""
        # Else Beam would put its own command in the place of this one.
        options.view_as(DirectOptions).direct_running_mode = "in_memory"
        worker_handlers.grpc = local_job_service.grpc = _LocalGrpc()
        ahead = contextlib.nullcontext(_ahead[-1]) if _ahead else worker_source()
        with ahead as command:
            # Without exec a shell stands between the two.
            self._default_environment = SubprocessSDKEnvironment.from_command_string(
                "exec " + shlex.join(command)
            )
            result = super().run_pipeline(pipeline, options)
            result.wait_until_finish()
            return result
