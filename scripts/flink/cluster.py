"""One Flink cluster: its settings, its folder, what its REST interface says."""

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from common import DEFAULT_FOLDER, ROOT, Problem, say, tail
from processes import JOB_MANAGER, TASK_MANAGER, Process, end, mark, processes
from software import flink_home, java_home, job_server

_START_SECONDS = 180  # 8 on a quiet machine
_END_SECONDS = 20  # until SIGKILL
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_REST_PORT = 8081  # Flink's own choice; another where it is taken
_OPENED = (
    "lang lang.reflect io net nio time util util.concurrent".split()  # of Java 17
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `up` was asked for; kept in the folder while the cluster is up."""

    task_managers: int = 2
    slots: int = 1  # of each task manager
    memory: int = 2048  # MiB of each task manager
    host: str = "localhost"
    worker: str = "reviewbeam-worker"
    software: str = os.fspath(DEFAULT_FOLDER)
    rest_port: int = 0
    rpc_port: int = 0


class Cluster:
    """The cluster of a folder, up or not."""

    def __init__(self, folder: Path):
        self.folder = folder.resolve()
        self.beam_file = self.folder / "beam.yaml"
        self._settings_file = self.folder / "cluster.json"

    # === What is there ===

    def settings(self) -> Settings | None:
        """Returns those of the cluster that was started here, or None."""
        if not self._settings_file.exists():
            return None
        return Settings(**json.loads(self._settings_file.read_text()))

    def living(self, kind: str) -> list[Process]:
        return [one for one in processes(self.folder) if one.kind == kind]

    def rest(self, path: str) -> dict:
        """Asks the job manager.

        Raises:
          OSError: it doesn't answer.
        """
        settings = self.settings()
        if settings is None:
            raise ConnectionError("no cluster was started here")
        address = f"http://{settings.host}:{settings.rest_port}/{path}"
        with _NO_PROXY.open(address, timeout=5) as answer:
            return json.load(answer)

    def registered(self) -> set[str]:
        """Returns the names of the task managers that the job manager counts on."""
        try:
            return {one["id"] for one in self.rest("taskmanagers")["taskmanagers"]}
        except OSError:
            return set()

    def whole(self) -> bool:
        settings = self.settings()
        if settings is None or len(self.living(JOB_MANAGER)) != 1:
            return False
        names = {one.name for one in self.living(TASK_MANAGER)}
        return len(names) == settings.task_managers and self.registered() == names

    # === Up and down ===

    def prepare(self, settings: Settings) -> Settings:
        """Chooses ports and writes the files of a cluster that is to be started."""
        settings = dataclasses.replace(
            settings,
            rest_port=_free_port(settings.host, _REST_PORT),
            rpc_port=_free_port(settings.host),
        )
        for name in ("conf", "tmp", "pid"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        # Logs may quote reviews. A folder that was there before keeps its own mode.
        for name in ("tmp", "log"):
            (self.folder / name).mkdir(exist_ok=True)
            (self.folder / name).chmod(0o700)
        # With the settings of the logs.
        shutil.copytree(
            flink_home(Path(settings.software)) / "conf", self.folder / "conf"
        )
        (self.folder / "conf" / "config.yaml").write_text(self._config(settings))
        self._keep(settings)
        return settings

    def lost_a_port(self, settings: Settings) -> bool:
        """Whether somebody else took a port since it was chosen."""
        ports = (settings.rest_port, settings.rpc_port)
        return any(_free_port(settings.host, port) != port for port in ports)

    def grow(self, settings: Settings, task_managers: int) -> Settings:
        """Counts on more task managers from now on."""
        settings = dataclasses.replace(settings, task_managers=task_managers)
        self._keep(settings)
        return settings

    def start_missing(self, settings: Settings) -> None:
        """Starts what doesn't live, and waits until all are registered."""
        started = []
        if not self.living(JOB_MANAGER):
            started.append(self._start(settings, "jobmanager.sh"))
        taken = {one.name for one in self.living(TASK_MANAGER)}
        number = 0
        while len(taken) < settings.task_managers:
            number += 1
            # The job manager may not know yet that one of that name is gone.
            name = f"task-manager-{number}-{int(time.time())}"
            taken.add(name)
            id_ = ("-D", f"taskmanager.resource-id={name}")
            started.append(self._start(settings, "taskmanager.sh", *id_))
        until = time.monotonic() + _START_SECONDS
        while not self.whole():
            dead = [one for one in started if one.poll() is not None]
            if dead or time.monotonic() > until:
                what = "ended at once" if dead else f"not up in {_START_SECONDS} s"
                raise Problem(f"the cluster is {what}.{self._last_words()}")
            time.sleep(0.25)

    def end(self) -> None:
        """Ends all processes and removes what holds for the living cluster only."""
        for process in end(self.folder, _END_SECONDS):
            say(f"{process.kind} {process.pid} had to be killed")
        self.beam_file.unlink(missing_ok=True)
        self._settings_file.unlink(missing_ok=True)
        for name in ("tmp", "pid"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def _start(self, settings: Settings, script: str, *arguments: str):
        home = flink_home(Path(settings.software))
        environment = os.environ | mark(self.folder)
        environment |= {
            "JAVA_HOME": os.fspath(java_home()),
            "FLINK_CONF_DIR": os.fspath(self.folder / "conf"),
            "FLINK_LOG_DIR": os.fspath(self.folder / "log"),
            "FLINK_PID_DIR": os.fspath(self.folder / "pid"),
            "FLINK_IDENT_STRING": "local",  # in the names of logs
            "STD_REDIRECT_TO_FILE": "true",
            "TMPDIR": os.fspath(self.folder / "tmp"),  # of workers too
            # Workers are named without a path.
            "PATH": worker_path(),
        }
        with open(self.folder / "log" / "start.out", "a") as out:
            return subprocess.Popen(
                [home / "bin" / script, "start-foreground", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C is not for them.
            )

    def _last_words(self) -> str:
        logs = [path for path in (self.folder / "log").iterdir() if path.stat().st_size]
        latest = sorted(logs, key=lambda path: path.stat().st_mtime)[-3:]
        return "".join(f"\n  {path}:{tail(path)}" for path in latest)

    # === Files ===

    def _keep(self, settings: Settings) -> None:
        text = json.dumps(dataclasses.asdict(settings), indent=2)
        self._settings_file.write_text(text + "\n")
        values = {
            "runner": "FlinkRunner",
            "flink_master": f"{settings.host}:{settings.rest_port}",
            "flink_job_server_jar": os.fspath(job_server(Path(settings.software))),
            "job_server_java_launcher": os.fspath(java_home() / "bin" / "java"),
            "parallelism": settings.task_managers * settings.slots,
            "environment_type": "PROCESS",
            "environment_config": {"command": settings.worker},
        }
        self.beam_file.write_text(
            "# Beam's options for the cluster of this folder; written by its `up`.\n"
            + _yaml(values)
        )

    def _config(self, settings: Settings) -> str:
        opened = [f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in _OPENED]
        host, temporary = settings.host, os.fspath(self.folder / "tmp")
        values = {
            "env.java.opts.all": " ".join(opened),
            # A thread that ran out of memory would leave its job waiting for ever.
            "env.java.opts.taskmanager": "-XX:+ExitOnOutOfMemoryError",
            "jobmanager.rpc.address": host,
            "jobmanager.rpc.port": settings.rpc_port,
            "jobmanager.bind-host": host,
            "jobmanager.memory.process.size": "1024m",
            "taskmanager.host": host,
            "taskmanager.bind-host": host,
            "taskmanager.numberOfTaskSlots": settings.slots,
            "taskmanager.memory.process.size": f"{settings.memory}m",
            # A batch job of Beam's needs 512 buffers of 32 KiB and more.
            "taskmanager.memory.network.min": "384mb",
            "taskmanager.memory.network.max": "384mb",
            "rest.address": host,
            "rest.bind-address": host,
            "rest.port": settings.rest_port,
            "parallelism.default": settings.task_managers * settings.slots,
            "cluster.evenly-spread-out-slots": True,
            # Without one, the first fault ends the job; a fault for ever ends it too.
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": 3,
            "restart-strategy.fixed-delay.delay": "2 s",
            # Workers may take all cores for a while.
            "pekko.ask.timeout": "60 s",
            # A task manager that was killed is noticed soon.
            "heartbeat.interval": 3000,  # ms
            "heartbeat.timeout": 20000,  # ms
            "io.tmp.dirs": temporary,
            "blob.storage.directory": temporary,
            "web.tmpdir": temporary,
        }
        return _yaml(values)


def worker_path() -> str:
    """Returns the PATH on which task managers look for their workers."""
    return f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def _yaml(values: dict) -> str:
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in values.items())


def _free_port(host: str, wanted: int = 0) -> int:
    """Returns `wanted`, or a free one if it is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            # As Java does; one that listens is in the way all the same.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except socket.gaierror:
                raise Problem(f"--host {host}: no such host.", 2) from None
            except OSError:
                continue
            return probe.getsockname()[1]
    raise Problem(f"--host {host} is not an address of this machine.", 2)
