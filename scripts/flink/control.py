"""The commands up, down and status."""

import argparse
import dataclasses
import os
import shutil
import sys
from pathlib import Path

from cluster import Cluster, Settings, worker_path
from common import DEFAULT_FOLDER, Problem, locked, run, say
from processes import JOB_MANAGER, TASK_MANAGER, WORKER, processes
from software import flink_version, install, java_home

_ATTEMPTS = 3
_PARTLY, _DOWN = 1, 3  # exit codes of status, as init scripts have them
_HERE = {"localhost", "127.0.0.1", "::1"}


def up(arguments: list[str]) -> int:
    parser = _parser(
        "up",
        "Starts a Flink cluster on this machine, after installing it where it isn't, "
        "and writes FOLDER/beam.yaml, the options for `reviewbeam --beam`. Called "
        "again it starts what is missing, such as a task manager that was killed.",
    )
    numbers = {"type": _positive, "metavar": "N"}
    add = parser.add_argument
    add("--task-managers", **numbers, help="how many processes do the work (2)")
    add("--slots", **numbers, help="how many tasks each does at once (1)")
    add("--memory", **numbers, help="MiB of each task manager, without workers (2048)")
    add("--host", help="where to listen (localhost); there is no authentication")
    add("--worker", metavar="COMMAND", help="starts a worker (reviewbeam-worker)")
    add(
        "--software",
        metavar="DIR",
        help=f"where Flink and the job server are, or are installed ({DEFAULT_FOLDER})",
    )
    options = vars(parser.parse_args(arguments))
    cluster = Cluster(Path(options.pop("folder")))
    if any(character.isspace() for character in str(cluster.folder)):
        raise Problem(f"--folder {cluster.folder}: Flink's scripts allow no spaces.", 2)
    asked = {name: value for name, value in options.items() if value is not None}
    if "software" in asked:
        asked["software"] = os.path.abspath(asked["software"])
    cluster.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(cluster.folder / ".lock"):
        _up(cluster, asked)
    return 0


def _up(cluster: Cluster, asked: dict) -> None:
    settings = cluster.settings()
    fresh = not (
        settings and (cluster.living(JOB_MANAGER) or cluster.living(TASK_MANAGER))
    )
    if fresh:
        settings = Settings(**asked)
        _check_worker(settings.worker)
        java_home()
        install(Path(settings.software))
        cluster.end()  # Workers may be left of one that was killed.
        if settings.host not in _HERE:
            say(
                "WARNING: Flink has no authentication. Whoever reaches "
                f"{settings.host} can run programs as you."
            )
        settings = _start(cluster, settings)
    else:
        settings = _agreed(cluster, settings, asked)
        if cluster.whole():
            say(f"already up at {_address(settings)}; nothing was changed")
        else:
            say(f"starting what is missing at {_address(settings)}")
            cluster.start_missing(settings)
    say(f"task managers: {settings.task_managers}, slots of each: {settings.slots}")
    say(f"use it: reviewbeam JOB … --beam {cluster.beam_file}")


def _start(cluster: Cluster, settings: Settings) -> Settings:
    """Starts a cluster; once more where another took a port meanwhile."""
    for attempt in range(_ATTEMPTS):
        settings = cluster.prepare(settings)
        say(f"starting at {_address(settings)}; logs: {cluster.folder / 'log'}")
        try:
            cluster.start_missing(settings)
            break
        except Problem:
            cluster.end()
            if attempt == _ATTEMPTS - 1 or not cluster.lost_a_port(settings):
                raise
    return settings


def _address(settings: Settings) -> str:
    return f"http://{settings.host}:{settings.rest_port}"


def _check_worker(command: str) -> None:
    if shutil.which(command, path=worker_path()) is None:
        raise Problem(
            f"{command} starts the workers, and is neither in .venv nor in PATH. Run "
            "scripts/setup.sh, or name another with --worker.",
            2,
        )


def _agreed(cluster: Cluster, settings: Settings, asked: dict) -> Settings:
    """Returns the settings of the cluster that is up, or refuses others."""
    task_managers = max(settings.task_managers, asked.get("task_managers", 0))
    grown = dataclasses.replace(settings, task_managers=task_managers)
    differ = [
        f"{name} is {is_}, asked for was {asked[name]}"
        for name, is_ in dataclasses.asdict(grown).items()
        if name in asked and asked[name] != is_
    ]
    if differ:
        raise Problem(
            f"another cluster is up in {cluster.folder}: {'; '.join(differ)}. End it "
            "with scripts/flink/down first, or use another --folder.",
            2,
        )
    return cluster.grow(settings, task_managers) if grown != settings else settings


def down(arguments: list[str]) -> int:
    parser = _parser("down", "Ends the cluster of a folder, and nothing else.")
    cluster = Cluster(Path(parser.parse_args(arguments).folder))
    if not cluster.folder.exists():
        say("already down")
        return 0
    with locked(cluster.folder / ".lock"):
        was_up = bool(processes(cluster.folder))
        cluster.end()
    say("down" if was_up else "already down")
    return 0


def status(arguments: list[str]) -> int:
    parser = _parser(
        "status", "Says who is up. Exit code: 0 all, 1 a part, 3 nothing is up."
    )
    cluster = Cluster(Path(parser.parse_args(arguments).folder))
    settings, alive = cluster.settings(), processes(cluster.folder)
    if settings is None or not alive:
        say(f"down ({cluster.folder})")
        return _PARTLY if alive else _DOWN
    whole = cluster.whole()
    say(
        f"Flink {flink_version()} is {'up' if whole else 'partly up'} at "
        f"{_address(settings)} ({cluster.folder})"
    )
    for kind in (JOB_MANAGER, TASK_MANAGER, WORKER):
        pids = " ".join(str(one.pid) for one in alive if one.kind == kind)
        wanted = {JOB_MANAGER: " of 1", TASK_MANAGER: f" of {settings.task_managers}"}
        say(f"  {kind}s: {len(pids.split())}{wanted.get(kind, '')}  {pids}".rstrip())
    try:
        overview = cluster.rest("overview")
    except OSError as error:
        say(f"  the job manager doesn't answer: {error}")
    else:
        say(f"  slots: {overview['slots-available']} free of {overview['slots-total']}")
        say(f"  running jobs: {overview['jobs-running']}")
    return 0 if whole else _PARTLY


def _parser(command: str, says: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"scripts/flink/{command}", description=says, allow_abbrev=False
    )
    parser.add_argument(
        "--folder",
        metavar="DIR",
        default=DEFAULT_FOLDER,
        help=f"where the cluster keeps its files ({DEFAULT_FOLDER})",
    )
    return parser


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


if __name__ == "__main__":
    command = {"up": up, "down": down, "status": status}[sys.argv[1]]
    run(lambda: command(sys.argv[2:]))
