"""Where a pipeline runs: in worker processes of this machine, or on a cluster."""

import contextlib
import os
from collections.abc import Iterator

from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.run_record import RunRecord
from reviewbeam.pipelines.flink_runner import (
    flink_cluster,
    flink_job,
    runs_on_flink,
)
from reviewbeam.pipelines.local_runner import with_local_workers
from reviewbeam.pipelines.options import DEFAULT_RUNNER, processes


@contextlib.contextmanager
def launching(
    options: PipelineOptions, job: str, run: RunRecord
) -> Iterator[PipelineOptions]:
    """Yields the options to run one pipeline with; none of it outlives the block.

    Args:
      options: Beam's, as the user gave them.
      job: of ours.
      run: its record, by which a run after this one, if it is killed, ends its job.
    """
    if runs_on_flink(options):
        with flink_job(options, job, run) as ready:
            yield ready
    else:
        yield with_local_workers(options)


def threads_of_a_process(options: PipelineOptions) -> int:
    """Returns how many threads each worker process has, where they share cores.

    On a Flink cluster that is asked for; of others only the user knows, who may set
    inference.threads.

    Raises:
      UserError: a Flink cluster has no task manager.
      UnreachableError: no cluster answers.
    """
    cores = len(os.sched_getaffinity(0))
    each = 1
    if (cluster := flink_cluster(options)) is not None:
        found = cluster.cores_of_a_task_manager()
        if found is None:
            raise UserError(
                f"The Flink cluster at {cluster.address} has no task manager yet that "
                "could be asked for its cores. Set inference.threads."
            )
        cores = found
        each = int(options.view_as(PortableOptions).sdk_worker_parallelism)
        each = each or cores  # 0: as many as there are cores
    elif options.get_all_options()["runner"] == DEFAULT_RUNNER:
        each = processes(options)
    return max(1, cores // max(1, each))
