"""Beam's runner for one machine, with worker processes that are forked."""

import copy
import shlex

from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from reviewbeam.pipelines.local_worker import worker_source


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
        # Else Beam would put its own command in the place of this one.
        options.view_as(DirectOptions).direct_running_mode = "in_memory"
        with worker_source() as command:
            # Without exec a shell stands between the two.
            self._default_environment = SubprocessSDKEnvironment.from_command_string(
                "exec " + shlex.join(command)
            )
            result = super().run_pipeline(pipeline, options)
            result.wait_until_finish()
            return result
