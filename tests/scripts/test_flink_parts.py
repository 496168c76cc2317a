"""Parts of scripts/flink that need neither Java nor a cluster."""

import shutil
from pathlib import Path

import pytest

FLINK = Path(__file__).parents[2] / "scripts" / "flink"


@pytest.fixture(autouse=True)
def on_path(monkeypatch):
    monkeypatch.syspath_prepend(FLINK)


@pytest.mark.parametrize(
    ("asked", "task_managers"), [({}, 2), ({"task_managers": 3, "slots": 1}, 3)]
)
def test_a_cluster_grows(asked, task_managers, tmp_path, monkeypatch):
    import control
    from cluster import Cluster, Settings

    kept = []
    monkeypatch.setattr(Cluster, "_keep", lambda self, settings: kept.append(settings))
    agreed = control._agreed(Cluster(tmp_path), Settings(), asked)
    assert agreed == Settings(task_managers=task_managers)
    assert kept == [agreed] * (task_managers > 2)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"task_managers": 3, "slots": 2}, ": slots is 1, asked for was 2. "),
        ({"task_managers": 1}, ": task_managers is 2, asked for was 1. "),
    ],
)
def test_a_refused_cluster_stays_as_it_is(asked, message, tmp_path, monkeypatch):
    import control
    from cluster import Cluster, Settings
    from common import Problem

    monkeypatch.delattr(Cluster, "_keep")
    with pytest.raises(Problem, match=message) as refused:
        control._agreed(Cluster(tmp_path), Settings(), asked)
    assert refused.value.code == 2


def test_nobody_else_reads_the_folder_of_a_cluster(tmp_path, monkeypatch):
    import control

    monkeypatch.setattr(control, "_up", lambda cluster, asked: None)
    control.up(["--folder", str(tmp_path / "clusters" / "one")])
    assert (tmp_path / "clusters" / "one").stat().st_mode & 0o777 == 0o700


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs in a folder as of `install`, with files that a fake Maven made."""
    import software

    folder = tmp_path / "software"
    (software.flink_home(folder) / "lib").mkdir(parents=True)
    monkeypatch.setattr(software, "_check_tools", lambda jar: None)
    monkeypatch.setattr(software, "java_home", lambda: Path("/nowhere"))

    def maven(command, log, *, cwd, env):
        (cwd / "target").mkdir()
        jar = cwd / "target" / "job-server.jar"
        jar.write_bytes((cwd / "pom.xml").read_bytes())

    monkeypatch.setattr(software, "_logged", maven)

    def call():
        software.install(folder)
        return software.job_server(folder)

    return call


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_killed_installation_is_made_up_for(renames, install, tmp_path, monkeypatch):
    """Of a new version, killed after so many of its renames."""
    import software

    install()
    pom = shutil.copy(FLINK / "pom.xml", tmp_path)
    with open(pom, "a") as file:
        file.write("<!-- another version -->")
    monkeypatch.setattr(software, "_POM", Path(pom))
    rename, done = Path.rename, []

    def killed(self, target):
        if len(done) == renames:
            raise KeyboardInterrupt
        done.append(target)
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        if renames < 2:
            with pytest.raises(KeyboardInterrupt):
                install()
    assert install().read_bytes() == Path(pom).read_bytes()


def test_a_job_server_of_the_users_own_stays(install, tmp_path):
    jar = tmp_path / "software" / "job-server.jar"
    jar.write_bytes(b"ready artifact")
    install()
    assert jar.read_bytes() == b"ready artifact"
