"""Where a pipeline runs: in worker processes of this machine, or on a cluster."""

import contextlib
import os
from collections.abc import Callable, Iterator

from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions

from reviewbeam.pipelines.flink_runner import (
    flink_cluster,
    flink_job,
    runs_on_flink,
)
from reviewbeam.pipelines.local_runner import with_local_workers
from reviewbeam.pipelines.options import DEFAULT_RUNNER, processes


@contextlib.contextmanager
def launching(
    options: PipelineOptions, job: str, note: Callable[..., None]
) -> Iterator[PipelineOptions]:
    """Yields the options to run one pipeline with; none of it outlives the block.

    Args:
      options: Beam's, as the user gave them.
      job: of ours.
      note: keeps facts in the run's record, for a run after this one was killed.
    """
    if runs_on_flink(options):
        with flink_job(options, job, note) as ready:
            yield ready
    else:
        yield with_local_workers(options)


def threads_of_a_process(options: PipelineOptions) -> int:
    """Returns how many threads each worker process has, where they share cores.

    On a Flink cluster that is asked for; of others only the user knows, who may set
    inference.threads.
    """
    cores = len(os.sched_getaffinity(0))
    each = 1
    if (cluster := flink_cluster(options)) is not None:
        cores = cluster.cores_of_a_task_manager() or cores
        each = options.view_as(PortableOptions).sdk_worker_parallelism
    elif options.get_all_options()["runner"] == DEFAULT_RUNNER:
        each = processes(options)
    return max(1, cores // max(1, each))
