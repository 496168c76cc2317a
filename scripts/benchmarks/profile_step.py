"""Tells where the core-seconds of one training step go, kernel by kernel.

TensorFlow runs on one thread, so that a kernel's time is its core-seconds; the tracer
of `tf.profiler` is read without TensorBoard. Steps of 2,048 tokens, as many short rows
or few long ones, with the default recipe (`half`: embeddings and the lower half of the
layers are frozen) and with all weights trained. Run it on a quiet machine.

    python scripts/benchmarks/profile_step.py --encoder runs/encoder
"""

import argparse
import collections
import os
import re
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from reviewbeam.components.common.encoder_directory import open_encoder
from reviewbeam.components.common.prepare_config import LabelRules
from reviewbeam.components.common.train_config import (
    LossConfig,
    ModelConfig,
    TrainingConfig,
)
from reviewbeam.components.trainer.heads import head_kind
from reviewbeam.components.trainer.input import PAD, Batch
from reviewbeam.components.trainer.losses import row_losses
from reviewbeam.components.trainer.model import (
    build_classifier,
    load_backbone,
    logits_model,
)
from reviewbeam.components.trainer.optimizer import training_optimizer
from reviewbeam.components.trainer.step import TrainStep

_LABELS = LabelRules(
    type="multiclass",
    names=("negative", "neutral", "positive"),
    mapping={"1": "negative", "2": "neutral", "3": "positive"},
)
_GROUPS = {  # the first pattern that is found in a kernel's name
    "matrix products of dense layers": r":(_Mkl\w*)?MatMul$|FusedMatMul$|Einsum$",
    "matrix products of attention": r"BatchMatMul",
    "optimizer": r"adam|clip_by_global_norm|global_norm|ResourceApply",
    "random numbers of dropout": r":StatelessRandom",
    "dropout": r"dropout",
    "GELU": r"Gelu",
    "softmax": r"oftmax",
    "layer norm": r"layer_norm",
    "transposes": r"Transpose",
    "everything else": r"",
}


def main() -> None:
    """Prints a table for each shape and way of training."""
    arguments = _arguments()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for trained in arguments.trained.split(","):
        step = build(arguments.encoder, trained)
        for shape in arguments.shapes.split(","):
            rows, length = map(int, shape.split("x"))
            batch = [made_up_batch(rows, length)]
            for _ in range(2):
                step(batch)
            show(f"trained: {trained}, {shape} tokens", kernel_seconds(step, batch))


def build(encoder: str, trained: str) -> TrainStep:
    """Returns the step of the default recipe, or with all weights trained."""
    config = ModelConfig()
    if trained == "all":
        config = ModelConfig(freeze_embeddings=False, freeze_layers=0)
    keras.utils.set_random_seed(1)
    directory = open_encoder(encoder)
    backbone = load_backbone(str(directory.path), config)
    classifier = build_classifier(backbone, _LABELS, config)
    optimizer = training_optimizer(
        TrainingConfig(),
        classifier.trainable_variables,
        directory.architecture.layers,
    )
    kind = head_kind(_LABELS, config)
    losses = row_losses(LossConfig(), kind, np.ones(3, np.float32))
    return TrainStep(
        tf.distribute.get_strategy(), logits_model(classifier), optimizer, losses
    )


def made_up_batch(rows: int, length: int) -> Batch:
    """Returns random ids; every fourth row has some padding."""
    random = np.random.default_rng(0)
    token_ids = random.integers(PAD + 3, 200_000, (rows, length)).astype(np.int32)
    token_ids[::4, -max(1, length // 16) :] = PAD
    labels = random.integers(0, 3, rows).astype(np.int32)
    return Batch(tf.constant(token_ids), tf.constant(labels), tf.constant(rows))


def kernel_seconds(step: TrainStep, batch: list[Batch]) -> dict[str, float]:
    """Runs one step; returns the seconds of each kernel, by NODE:KERNEL."""
    options = tf.profiler.experimental.ProfilerOptions(
        host_tracer_level=2, python_tracer_level=0, device_tracer_level=0
    )
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder, options):
            step(batch)
        (path,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
    seconds: dict[str, float] = collections.defaultdict(float)
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                # Kernels are called NODE:KERNEL; the executor's own events contain
                # them, and are called CLASS::METHOD or EagerLocalExecute: FUNCTION.
                if re.fullmatch(r"[\w./-]+:\w+", name):
                    seconds[name] += event.duration_ps / 1e12
    return seconds


def show(title: str, seconds: dict[str, float]) -> None:
    """Prints sums over groups of kernels, and the kinds that take most."""
    total = sum(seconds.values())
    groups, kinds = collections.Counter(), collections.Counter()
    for name, value in seconds.items():
        group = next(g for g, p in _GROUPS.items() if re.search(p, name))
        groups[group] += value
        kinds[name.rsplit(":", 1)[1]] += value
    print(f"\n{title}: {total:.3f} core-seconds")
    for counter in (groups, kinds):
        for name, value in counter.most_common(12):
            print(f"  {name:36}{value:8.3f} {value / total:6.1%}")
        print()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--encoder", required=True, help="made by `reviewbeam encoder`")
    add("--shapes", default="64x32,16x128", metavar="ROWSxTOKENS,…")
    add("--trained", default="half,all", metavar="half,all")
    return parser.parse_args()


if __name__ == "__main__":
    main()
