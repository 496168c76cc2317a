"""Beam's own options: checked, because Beam only logs what it doesn't know."""

import argparse
import json
import os
from collections.abc import Sequence

from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.runners.runner import create_runner

from reviewbeam.components.common.errors import UserError, nearest
from reviewbeam.pipelines.beam_file import read_beam_file

# DirectRunner would try Prism first, which it downloads.
DEFAULT_RUNNER = "FnApiRunner"
FLINK = "FlinkRunner"
PROCESSES = "multi_processing"  # Beam's name of the mode
_MOST_WORKERS = 4
# Options of batch jobs that Flink's job server knows, and Beam's Python doesn't: those
# with a value, and flags, which it takes bare.
_JOB_SERVER = ("--execution_mode_for_batch", "--flink_conf_dir", "--max_parallelism")
_JOB_SERVER_FLAGS = (
    "--auto_balance_write_files_sharding_enabled",
    "--disable_metrics",
    "--faster_copy",
    "--object_reuse",
    "--re_iterable_group_by_key_result",
)


def beam_options(arguments: Sequence[str], options_file: str | None) -> PipelineOptions:
    """Makes Beam's options of a YAML file and command line arguments.

    Args:
      arguments: as in `["--runner=FlinkRunner", "--parallelism=2"]`.
      options_file: a YAML mapping of option to value; arguments win over it.

    Raises:
      UserError: neither we nor Beam know an option.
    """
    flags = [*_flags_of_file(options_file), *arguments]
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.error = _refuse  # type: ignore[method-assign]
    for options in [PipelineOptions, *PipelineOptions.__subclasses__()]:
        options._add_argparse_args(parser)
    for flag in (*_JOB_SERVER, *_JOB_SERVER_FLAGS):
        if flag not in parser._option_string_actions:  # a later Beam may have it
            action = "store_true" if flag in _JOB_SERVER_FLAGS else "store"
            parser.add_argument(flag, action=action)
    _, unknown = parser.parse_known_args(flags)
    if unknown:
        name = unknown[0].split("=")[0]
        known = [flag for action in parser._actions for flag in action.option_strings]
        raise UserError(
            f"Unknown option {name!r}{nearest(name, known)}: neither reviewbeam nor "
            "Beam has it. See the job's --help."
        )
    parsed = PipelineOptions(flags)
    runner = parsed.get_all_options(drop_default=True).get("runner")
    if runner is None:
        return PipelineOptions([f"--runner={DEFAULT_RUNNER}", *flags])
    try:
        made = create_runner(runner)
    except (ValueError, ImportError) as error:
        raise UserError(f"--runner={runner} can't be used: {error}") from None
    if (name := type(made).__name__) in (DEFAULT_RUNNER, FLINK):
        # Beam takes it in other spellings too.
        parsed.view_as(StandardOptions).runner = name
    if parsed.view_as(FlinkRunnerOptions).flink_submit_uber_jar:
        raise UserError(
            "--flink_submit_uber_jar can't be used: such a job outlives its launcher. "
            "Leave it out; a job server is started for each job."
        )
    return parsed


def with_processes(
    options: PipelineOptions, workers: int | None = None
) -> PipelineOptions:
    """Lets the embedded runner use worker processes, unless the user chose otherwise.

    Args:
      options: Beam's.
      workers: how many; None: as many as there are cores, but at most four. More gain
        little where there is a shuffle, which is one process.
    """
    asked = options.get_all_options(drop_default=True)
    if workers is None:
        workers = min(_MOST_WORKERS, len(os.sched_getaffinity(0)))
    # Of a default that was asked for, only the flag tells.
    chosen = any(flag.startswith("--direct_") for flag in options._flags)
    if asked["runner"] != DEFAULT_RUNNER or chosen or workers <= 1:
        return options
    processes = {"direct_num_workers": workers, "direct_running_mode": PROCESSES}
    return PipelineOptions.from_dictionary(asked | processes)


def processes(options: PipelineOptions) -> int:
    """Returns among how many worker processes the work is spread, about."""
    if options.get_all_options()["runner"] != DEFAULT_RUNNER:
        return max(2, options.view_as(FlinkRunnerOptions).parallelism)
    direct = options.view_as(DirectOptions)
    if direct.direct_running_mode != PROCESSES:
        return 1
    return direct.direct_num_workers or len(os.sched_getaffinity(0))


def _flags_of_file(path: str | None) -> list[str]:
    if path is None:
        return []
    flags = []
    for name, value in read_beam_file(path).items():
        if value is True:
            flags.append(f"--{name}")
        elif isinstance(value, list | tuple):
            flags.extend(f"--{name}={item}" for item in value)
        elif isinstance(value, dict):
            flags.append(f"--{name}={json.dumps(value)}")
        elif value is False or value is None:
            raise UserError(
                f"--beam {path!r}: {name} has the value {value}. Leave out an option "
                "that is not to be set."
            )
        else:
            flags.append(f"--{name}={value}")
    return flags


def _refuse(message: str):
    raise UserError(f"Beam can't use its options: {message}.")
