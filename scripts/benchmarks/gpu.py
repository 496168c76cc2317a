"""Prints the rows for the GPUs of this host, by `reviewbeam train` itself.

Made-up reviews are prepared once. For 1, 2, 4, … and all GPUs a model is trained for
one epoch, with as many tokens a batch for each device: speed, padding, memory and
scaling. Then a few steps at dropout 0 in float32, with the same batches on any number
of devices: how far the weights are from those of one device. Where there is no GPU,
--logical-cpus N tries the same on devices that share the CPU; speeds mean nothing then.

    python scripts/benchmarks/gpu.py --encoder runs/encoder --work /tmp/gpu
"""

import argparse
import io
import json
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from reviewbeam.components.common.gpus import visible_gpus

_SAME_WEIGHTS = {  # the changes under which numbers of devices must agree
    "model.embedding_dropout": 0,
    "model.encoder_dropout": 0,
    "model.dropout": 0,
    "training.precision": "float32",
    "training.batch_tokens": 1024,
}
_MOST_ROWS_OF_SAME = 300


def main() -> None:
    """Trains on every number of devices and prints a row for each."""
    arguments = _arguments()
    work = Path(arguments.work).resolve()
    work.mkdir(parents=True)
    most = arguments.logical_cpus or len(visible_gpus())
    if not most:
        raise SystemExit("No GPU is usable here; try --logical-cpus 2.")
    print(device_names(arguments), flush=True)
    make_dataset(arguments, work, "speed", arguments.rows)
    make_dataset(arguments, work, "same", min(arguments.rows, _MOST_ROWS_OF_SAME))
    print(
        "| devices | precision | tokens/s | padding | peak memory a device, GB "
        "| scaling | weights' difference |\n|---|---|---|---|---|---|---|"
    )
    alone: dict[str, Any] = {}
    for devices in counts(most):
        tokens = {"training.batch_tokens": arguments.batch_tokens * devices}
        run = train(arguments, work, "speed", devices, tokens)
        train(arguments, work, "same", devices, _SAME_WEIGHTS)
        weights = read_weights(work / f"same-{devices}")
        alone = alone or {"speed": run["tokens_per_second"], "weights": weights}
        print(row(run, devices, alone, weights), flush=True)


def counts(most: int) -> list[int]:
    """Returns 1, 2, 4, … and the most."""
    powers = [2**n for n in range(most.bit_length()) if 2**n < most]
    return [*powers, most]


def device_names(options: argparse.Namespace) -> str:
    """Returns what the devices are."""
    if options.logical_cpus:
        return f"{options.logical_cpus} logical devices of the CPU: a trial, no figures"
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version"]
    run = subprocess.run(
        [*query, "--format=csv,noheader"], capture_output=True, text=True, check=True
    )
    return run.stdout.strip()


def make_dataset(options: argparse.Namespace, work: Path, name: str, rows: int) -> None:
    """Prepares made-up reviews of 4 to about 200 words."""
    draw = random.Random(7)
    path = work / f"{name}.jsonl"
    with open(path, "w", encoding="utf-8") as lines:
        for number in range(rows):
            length = min(200, 3 + round(draw.lognormvariate(3, 0.8)))
            words = [_word(draw) for _ in range(length)]
            review = {"text": " ".join(words), "stars": number % 5 + 1}
            review |= {"language": "xx", "review_id": number}
            lines.write(json.dumps(review) + "\n")
    settings = {
        "encoder": options.encoder,
        "split.validation": 0,
        "split.test": 0,
    }
    _run(
        options,
        ["prepare", f"--config={options.config}", f"--input={path}"]
        + [f"--output={work / name}"],
        settings,
        dict(os.environ),
    )


def train(
    options: argparse.Namespace,
    work: Path,
    name: str,
    devices: int,
    changes: dict[str, Any],
) -> dict[str, Any]:
    """Trains for an epoch on some devices; returns the run's record."""
    settings = {
        "encoder": options.encoder,
        "training.epochs": 1,
        "training.early_stopping_metric": "none",
    }
    environment = dict(os.environ)
    if options.logical_cpus:
        settings["training.logical_cpus"] = devices
    else:
        visible = environment.get("CUDA_VISIBLE_DEVICES") or ",".join(
            str(number) for number in range(devices)
        )
        chosen = visible.split(",")[:devices]
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(chosen)
    if name == "same":
        environment["NVIDIA_TF32_OVERRIDE"] = "0"  # float32 and not its short form
    output = work / f"{name}-{devices}"
    command = ["train", f"--config={options.train_config}"]
    command += [f"--dataset={work / name}", f"--output={output}"]
    _run(options, command, settings | changes, environment)
    return json.loads((output / "run.json").read_text())


def read_weights(model: Path) -> dict[str, np.ndarray]:
    """Returns the weights of a model directory by their names in model.keras."""
    with zipfile.ZipFile(model / "model.keras") as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    weights: dict[str, np.ndarray] = {}

    def keep(name, item):
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer"):
            weights[name] = item[...]

    with h5py.File(content) as file:
        file.visititems(keep)
    return weights


def row(
    run: dict[str, Any],
    devices: int,
    alone: dict[str, Any],
    weights: dict[str, np.ndarray],
) -> str:
    """Returns the table's row of a number of devices."""
    peaks = run["peak_memory_bytes"]
    gpus = [peak for name, peak in peaks.items() if name.startswith("GPU")]
    memory = max(gpus) if gpus else peaks["host"]
    difference = max(
        float(np.abs(weights[name] - value).max(initial=0))
        for name, value in alone["weights"].items()
    )
    return (
        f"| {devices} | {run['precision']} | {run['tokens_per_second']:,} "
        f"| {run['padding_share']:.1%} | {memory / 1e9:.2f} "
        f"| {run['tokens_per_second'] / alone['speed']:.2f} "
        f"| {difference:.1e} |"
    )


def _word(draw: random.Random) -> str:
    return "".join(
        draw.choice("bdfgklmnprstvz") + draw.choice("aeiou")
        for _ in range(draw.randint(1, 3))
    )


def _run(options, command, settings, environment) -> None:
    changes = [f"--set={key}={value}" for key, value in settings.items()]
    subprocess.run(
        [options.reviewbeam, *command, *changes],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=None if options.verbose else subprocess.DEVNULL,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    beside = str(Path(sys.executable).with_name("reviewbeam"))
    add("--encoder", required=True, help="made by `reviewbeam encoder`")
    add("--work", required=True, metavar="FOLDER", help="to make")
    add("--config", default="configs/laptop/prepare.yaml")
    add("--train-config", default="configs/laptop/train.yaml")
    add("--rows", type=int, default=20_000, help="reviews of an epoch")
    add("--batch-tokens", type=int, default=16_384, help="for each device")
    add("--logical-cpus", type=int, metavar="N", help="without a GPU")
    add("--reviewbeam", default=beside, metavar="COMMAND")
    add("--verbose", action="store_true", help="show what reviewbeam says")
    return parser.parse_args()


if __name__ == "__main__":
    main()
