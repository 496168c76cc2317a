"""What a run takes for `auto`: engine, budget and threads, by a short calibration."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reviewbeam.components.common.errors import ReviewbeamError, UserError
from reviewbeam.components.common.gpus import visible_gpus
from reviewbeam.components.common.inference_config import InferenceConfig
from reviewbeam.components.common.model_directory import ModelDirectory
from reviewbeam.components.inference import quantized
from reviewbeam.components.inference.engines import (
    OPENVINO_INT8,
    TENSORFLOW,
    exact_engines,
)

_NOISE = 0.05  # speeds that differ by less are equal
_SECONDS = 600  # after which a calibration counts as failed
_CPU_BUDGETS = (512, 1024, 2048, 4096)
_GPU_BUDGETS = (4096, 16_384, 65_536, 262_144)

# engine -> budget -> tokens/s
Speeds = Mapping[str, Mapping[int, float]]


@dataclasses.dataclass(frozen=True)
class ResolvedInference:
    """How a model is run, nothing left open; plain values, to be kept as JSON."""

    engine: str
    batch_tokens: int  # rows x longest row of one call
    threads: int  # of each worker process
    xla: bool = False
    engine_fingerprint: str = ""  # of the int8 files; empty: the core decides alone
    tokens_per_second: float | None = None  # of one process; None: not measured


def resolve_inference(
    config: InferenceConfig, model: ModelDirectory, *, threads: int
) -> ResolvedInference:
    """Chooses what the config leaves open, by measuring it on this machine.

    Nothing is measured where engine and budget are given. Else the installed
    exact engines are timed over one mix of lengths, in a process of its own: neither
    a crash nor the memory and threads of an engine stay in this one, which may have
    workers to fork. Where a GPU is visible, the engine is TensorFlow.

    Args:
      config: of the job.
      model: to be run.
      threads: that each process which runs it may use; the config's go before.

    Raises:
      UserError: the engine is not installed, or its int8 files are not there, don't
        fit or agree too little.
      ReviewbeamError: no engine could run the model.
    """
    gpus = visible_gpus()
    threads = config.threads or threads
    engines = _candidates(config, bool(gpus))
    identity = ""
    if engines == [OPENVINO_INT8]:
        _, manifest = quantized.open_quantized(model.path, model.core_fingerprint)
        quantized.check_agreement(manifest, config.min_agreement, model.path)
        identity = quantized.files_fingerprint(manifest)
    speed = None
    if config.engine != "auto" and config.batch_tokens is not None:
        engine, budget = engines[0], config.batch_tokens
    else:
        on_gpu = bool(gpus) and engines == [TENSORFLOW]
        budgets = _GPU_BUDGETS if on_gpu else _CPU_BUDGETS
        if config.batch_tokens is not None:
            budgets = (config.batch_tokens,)
        speeds = _measure(model, engines, budgets, threads, config.xla)
        engine, budget, speed = choose(speeds)
    return ResolvedInference(engine, budget, threads, config.xla, identity, speed)


def choose(speeds: Speeds) -> tuple[str, int, float]:
    """Returns engine, budget and tokens/s of the least budget that is nearly fastest.

    The engine is the fastest one; of equals the first.
    """
    engine = max(speeds, key=lambda name: max(speeds[name].values()))
    best = max(speeds[engine].values())
    budget = min(b for b, s in speeds[engine].items() if s >= best * (1 - _NOISE))
    return engine, budget, speeds[engine][budget]


def _candidates(config: InferenceConfig, on_gpu: bool) -> list[str]:
    if config.engine != "auto":
        return [config.engine]
    if on_gpu or config.xla:
        return [TENSORFLOW]
    return exact_engines()


def _measure(
    model: ModelDirectory,
    engines: list[str],
    budgets: tuple[int, ...],
    threads: int,
    xla: bool,
) -> Speeds:
    found: dict[str, Any] = {}
    # An engine that dies takes the others with it: then each has a process of its own.
    for group in [engines, *([name] for name in engines if len(engines) > 1)]:
        found |= _measure_apart(model, group, budgets, threads, xla)
        if group == engines and found:
            break
    speeds = {
        name: {int(budget): speed for budget, speed in told["speeds"].items()}
        for name, told in found.items()
        if told.get("speeds")
    }
    if speeds:
        return speeds
    problems = [told["problem"] for told in found.values() if "problem" in told]
    for problem in problems:
        if problem["exit_code"] == UserError.exit_code:
            raise UserError(problem["message"])
    reason = problems[0]["message"] if problems else "the process that tried it ended"
    raise ReviewbeamError(
        f"{model.path} could not be run with inference.engine {' or '.join(engines)}: "
        f"{reason}. Try another inference.engine, or a smaller inference.batch_tokens."
    )


def _measure_apart(
    model: ModelDirectory,
    engines: list[str],
    budgets: tuple[int, ...],
    threads: int,
    xla: bool,
) -> dict[str, Any]:
    """Has a new process time engines; nothing is returned of one that died."""
    request = {
        "engines": engines,
        "budgets": budgets,
        "threads": threads,
        "xla": xla,
        "model": os.fspath(Path(model.path).absolute()),
        "core_fingerprint": model.core_fingerprint,
        "classes": len(model.metadata.labels.names),
        "most_tokens": model.metadata.text.max_tokens,
    }
    try:
        process = subprocess.run(
            [sys.executable, "-m", "reviewbeam.components.inference.calibrate"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {}
    if process.returncode != 0:
        return {}
    return json.loads(process.stdout.splitlines()[-1])
