"""The engine of an output of `score`: chosen once, and kept in its manifest."""

import dataclasses

from apache_beam.options.pipeline_options import PipelineOptions

from reviewbeam.components.common.artifacts import fingerprint
from reviewbeam.components.common.model_directory import ModelDirectory
from reviewbeam.components.common.places import Place
from reviewbeam.components.common.score_config import ScoreConfig
from reviewbeam.components.inference import quantized
from reviewbeam.components.inference.engines import OPENVINO_INT8
from reviewbeam.components.inference.resolve import (
    ResolvedInference,
    resolve_inference,
)
from reviewbeam.pipelines.flink_cluster import UnreachableError
from reviewbeam.pipelines.launching import threads_of_a_process
from reviewbeam.pipelines.scores_manifest import Manifest


def resolve_for_output(
    config: ScoreConfig,
    model: ModelDirectory,
    manifest: Manifest,
    output: Place | None,
    options: PipelineOptions,
) -> ResolvedInference:
    """Chooses engine, budget and threads, or takes what the output was begun with.

    They decide on the last digits of a score, so that a later run, and one that goes
    on after a kill, must have the same.

    Args:
      config: of the job.
      model: that is to be run.
      manifest: of the output; the choice is written into it at once.
      output: the folder, locked; None: nothing is written.
      options: Beam's: how many processes share the machine.
    """
    asked = config.inference.model_dump(
        mode="json",
        exclude={"chunk_rows", "max_faults", "min_agreement", "threads"},
    )
    threads = config.inference.threads or _threads(options)
    twin = ""
    if config.inference.engine == OPENVINO_INT8:
        _, told = quantized.open_quantized(model.path, model.core_fingerprint)
        quantized.check_agreement(told, config.inference.min_agreement, model.path)
        twin = quantized.files_fingerprint(told)  # it may have been made again
    key = fingerprint([model.core_fingerprint, twin, asked])[:16]
    if known := manifest.data["inference"].get(key):
        return ResolvedInference(**known, threads=threads)
    resolved = resolve_inference(config.inference, model, threads=threads)
    if output is not None:
        kept = dataclasses.asdict(resolved)
        # They differ from run to run, and a manifest doesn't.
        for fact in ("threads", "tokens_per_second"):
            del kept[fact]
        manifest.data["inference"][key] = kept
        manifest.write(output)
    return resolved


def _threads(options: PipelineOptions) -> int:
    try:
        return threads_of_a_process(options)
    except UnreachableError:
        return 1  # nothing can run, and where nothing is new nothing has to
