"""Paths of this machine that workers on other machines are told to use."""

import argparse
import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)

from reviewbeam.components.common.config import Config
from reviewbeam.components.common.errors import listing
from reviewbeam.components.common.host_copies import on_every_host
from reviewbeam.pipelines import console
from reviewbeam.pipelines.options import FLINK

_CLOUDS = ("DataflowRunner",)
_FLINK = (FLINK, "PortableFlinkRunner")
_PORTABLE = ("PortableRunner", "SparkRunner")


def note_local_paths(
    options: PipelineOptions, config: Config, arguments: argparse.Namespace
) -> None:
    """Tells a person of what only this machine can see, and others are asked for.

    Args:
      options: Beam's.
      config: of `prepare` or `score`.
      arguments: its command line.
    """
    paths = {
        "--output": arguments.output,
        "--model": getattr(arguments, "model", ""),
        "encoder": getattr(config, "encoder", ""),
        "input": list(config.input),
    }
    if told := local_paths_warning(options, paths):
        console.note(told)


def local_paths_warning(
    options: PipelineOptions, paths: Mapping[str, str | list[str]]
) -> str | None:
    """Returns what to tell of local paths that go to a remote master; None: nothing.

    Args:
      options: Beam's.
      paths: what a path is for -> the path, or several of them; an empty one is none.
    """
    master = remote_master(options)
    if master is None:
        return None
    found = [
        f"{what} {path}"
        for what, given in paths.items()
        for path in ([given] if isinstance(given, str) else given)
        if path and "://" not in path and on_every_host(path).url is None
    ]
    if not found:
        return None
    return (
        f"reviewbeam: warning: workers of {master} run on other hosts, which have "
        f"files of their own under {listing(found)}. It can only work where all hosts "
        "mount the same file system at that path; else name a place in an object "
        "store, as in s3://BUCKET/NAME."
    )


def remote_master(options: PipelineOptions) -> str | None:
    """Returns who has the workers, if that isn't this machine alone."""
    runner = (options.view_as(StandardOptions).runner or "").rpartition(".")[2]
    if runner in _CLOUDS:
        return runner.removesuffix("Runner")
    address = ""
    if runner in _FLINK:
        address = options.view_as(FlinkRunnerOptions).flink_master.strip()
    elif runner in _PORTABLE:
        address = options.view_as(PortableOptions).job_endpoint or ""
    if not address or address.startswith("[") and address.endswith("]"):
        return None  # [local], [auto], or Beam's own
    if address == "embed" or _is_here(address):
        return None
    return f"{runner.removesuffix('Runner')} at {address}"


def _is_here(address: str) -> bool:
    url = address if "://" in address else f"//{address}"
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
