"""scripts/flink: up, down and status, called as a user calls them."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from reviewbeam.pipelines.options import beam_options
from tests.cluster.flink import ROOT, SOFTWARE, Flink, is_open

LOOPBACK = {"127.0.0.1", "::1"}
PACKAGES = "apt-get install -y --no-install-recommends default-jdk-headless maven"


def _without(tmp_path, *programs):
    """An environment in whose PATH some programs of this system are missing."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for path in os.environ["PATH"].split(os.pathsep):
        for program in Path(path).glob("*"):
            link = folder / program.name
            if program.name not in programs and not link.is_symlink():
                link.symlink_to(program)
    environment = os.environ | {"PATH": str(folder)}
    environment.pop("JAVA_HOME", None)
    return environment


def test_up_again_changes_nothing(flink):
    before = flink.processes(), flink.beam_file.read_bytes()
    assert "already up" in flink.up()
    assert (flink.processes(), flink.beam_file.read_bytes()) == before


def test_status(flink):
    done = flink.run("status")
    assert done.returncode == 0
    assert f"is up at http://{flink.address} ({flink.folder})" in done.stdout
    assert len(flink.pids("job manager")) == 1
    assert len(flink.pids("task manager")) == 2
    assert "slots: 2 free of 2\nflink:   running jobs: 0\n" in done.stdout


def test_listens_on_this_machine_only(flink):
    assert {address for address, _ in flink.listens()} <= LOOPBACK


def test_other_settings_are_refused_while_it_is_up(flink):
    before = flink.settings(), flink.beam_file.read_bytes()
    done = flink.run("up", "--task-managers", "3", "--slots", "2")
    assert done.returncode == 2
    assert f"up in {flink.folder}: slots is 1, asked for was 2. " in done.stderr
    assert (flink.settings(), flink.beam_file.read_bytes()) == before
    assert len(flink.pids("task manager")) == 2


def test_a_killed_task_manager_is_replaced(flink):
    stays = set(flink.pids("task manager"))
    killed = flink.kill_task_manager()
    stays.remove(killed)
    done = flink.run("status")
    assert done.returncode == 1
    assert "is partly up" in done.stdout and "task managers: 1 of 2" in done.stdout
    manager = flink.pids("job manager")
    flink.up()
    assert flink.run("status").returncode == 0
    assert flink.pids("job manager") == manager
    after = set(flink.pids("task manager"))
    assert len(after) == 2 and stays < after and killed not in after
    assert flink.rest("overview")["taskmanagers"] == 2


def test_side_by_side_with_a_taken_port_and_without_maven(flink, tmp_path):
    """What stands needs no Maven; other processes and ports are left alone."""
    first = flink.processes(), flink.address
    other = Flink(tmp_path / "other")
    other.folder.mkdir()  # with all in one folder, as by default
    (other.folder / "log").mkdir()
    for path in (*SOFTWARE.glob("flink-*"), SOFTWARE / "job-server.jar"):
        (other.folder / path.name).symlink_to(path)
    bystander = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE
    )
    with socket.create_server(("127.0.0.2", 8081)):
        printed = other.up(
            *("--software", other.folder, "--task-managers=1", "--host=127.0.0.2"),
            env=_without(tmp_path, "mvn"),
        )
        assert "WARNING: Flink has no authentication" in printed
        assert other.address.startswith("127.0.0.2:")
        assert other.address != "127.0.0.2:8081"
    for name in ("log", "tmp"):  # nobody else reads them
        assert (other.folder / name).stat().st_mode & 0o777 == 0o700
    assert other.rest("overview")["taskmanagers"] == 1
    assert flink.rest("overview")["taskmanagers"] == 2
    ports = other.listens()
    assert ports.isdisjoint(flink.listens())
    assert {address for address, _ in ports} <= {"127.0.0.2", *LOOPBACK}

    assert other.down() == "flink: down\n"
    assert other.down() == "flink: already down\n"
    assert other.processes() == []
    assert not any(is_open(*where) for where in ports)
    left = {path.name for path in other.folder.iterdir() if not path.is_symlink()}
    assert left == {".lock", ".install.lock", "conf", "log"}
    done = other.run("status")
    assert (done.returncode, done.stdout) == (3, f"flink: down ({other.folder})\n")
    assert (flink.processes(), flink.address) == first
    assert bystander.poll() is None
    bystander.communicate(b"\n")


def test_down_where_nothing_was(tmp_path):
    nowhere = Flink(tmp_path / "nowhere")
    assert nowhere.down() == "flink: already down\n"
    assert nowhere.run("status").returncode == 3
    assert not nowhere.folder.exists()


@pytest.mark.parametrize("missing", ["java", "mvn"])
def test_what_is_missing_is_named(missing, needs_flink, tmp_path):
    cluster = Flink(tmp_path / "cluster")
    environment = _without(tmp_path, missing)
    done = cluster.run("up", "--software", tmp_path / "software", env=environment)
    assert done.returncode == 2
    assert PACKAGES in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("software/*flink*"))
    assert cluster.processes() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "192.0.2.1"], "is not an address of this machine"),
        (["--worker", "no-such-program"], "no-such-program starts the workers"),
        (["--slots", "0"], "argument --slots"),
        (["--host", "no-such-host.invalid"], "no such host"),
        (["--solts", "1"], "unrecognized arguments"),
    ],
)
def test_mistakes(options, message, needs_flink, tmp_path):
    cluster = Flink(tmp_path / "cluster")
    done = cluster.run("up", "--software", SOFTWARE, *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert cluster.processes() == []


def test_folder_with_a_space(tmp_path):
    done = Flink(tmp_path / "my cluster").run("up")
    assert done.returncode == 2
    assert "no spaces" in done.stderr


def test_versions_agree():
    pom = (ROOT / "scripts" / "flink" / "pom.xml").read_text()
    flink, minor = (
        re.search(rf"<flink.{name}>(.*?)<", pom)[1] for name in ("version", "minor")
    )
    assert flink.startswith(f"{minor}.")


def test_options_file_of_the_project(flink):
    """It says what `up` writes for a cluster of the default folder."""
    project = yaml.safe_load((ROOT / "configs" / "beam" / "flink.yaml").read_text())
    written = yaml.safe_load(flink.beam_file.read_text())
    assert project["flink_master"] == "localhost:8081"
    assert project["flink_job_server_jar"] == "runs/flink/job-server.jar"
    assert written.pop("flink_job_server_jar") == str(SOFTWARE / "job-server.jar")
    assert shutil.which(written.pop("job_server_java_launcher"))
    assert written | {"flink_master": flink.address} == written
    for name in ("flink_master", "parallelism"):
        written.pop(name)
    assert written.items() <= project.items()
    beam_options([], str(ROOT / "configs" / "beam" / "flink.yaml"))
