"""Beam's worker processes on this machine: quiet, and gone when their launcher is.

Beam's own outlive a launcher that is killed by some seconds, in which they write into
a folder that the next run may have taken over.
"""

import copy
import os
import shlex
import sys

from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from reviewbeam.pipelines import console

_WORKER = (
    "from reviewbeam.pipelines.local_worker import work; work({launcher}, {quiet})"
)


def with_local_workers(options: PipelineOptions) -> PipelineOptions:
    """Returns options whose worker processes, if they ask for such, are ours."""
    options = copy.deepcopy(options)
    standard = options.view_as(StandardOptions)
    mode = options.view_as(DirectOptions).direct_running_mode
    if standard.runner == FnApiRunner.__name__ and mode == "multi_processing":
        standard.runner = f"{__name__}.{LocalRunner.__name__}"
    return options


class LocalRunner(FnApiRunner):
    """Beam's runner with worker processes of ours."""

    def run_pipeline(self, pipeline, options):
        """Runs a pipeline; see the base class."""
        worker = _WORKER.format(launcher=os.getpid(), quiet=console.is_quiet())
        # Without exec a shell stands between the two.
        command = shlex.join(["exec", sys.executable, "-c", worker])
        self._default_environment = SubprocessSDKEnvironment.from_command_string(
            command
        )
        # Else Beam would put its own command in the place of this one.
        options.view_as(DirectOptions).direct_running_mode = "in_memory"
        return super().run_pipeline(pipeline, options)
