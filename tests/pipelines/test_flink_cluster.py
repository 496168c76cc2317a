import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from reviewbeam.components.common.errors import ReviewbeamError
from reviewbeam.components.common.publishing import staged_output
from reviewbeam.components.common.run_record import RunRecord
from reviewbeam.pipelines import flink_cluster, flink_runner
from reviewbeam.pipelines.flink_cluster import (
    FlinkCluster,
    GoneError,
    UnreachableError,
)
from reviewbeam.pipelines.flink_runner import NOTE, end_earlier_job, flink_job
from reviewbeam.pipelines.options import beam_options


class Jobs:
    """What a job manager knows; a job ends when it was looked at often enough."""

    def __init__(self):
        self.jobs = []  # [id, name, state, looks until it ends]
        self.cancelled = []
        self.managers = []
        self.troubles = 0  # answers that are none

    def add(self, name, state="RUNNING", looks=2):
        self.jobs.append([f"id{len(self.jobs)}", name, state, looks])

    def overview(self):
        for job in self.jobs:
            if job[2] == "CANCELLING":
                job[3] -= 1
                if job[3] <= 0:
                    job[2] = "CANCELED"
        keys = ("jid", "name", "state")
        return {"jobs": [dict(zip(keys, job, strict=False)) for job in self.jobs]}

    def cancel(self, id_):
        self.cancelled.append(id_)
        (job,) = [job for job in self.jobs if job[0] == id_]
        job[2] = "CANCELLING"


@pytest.fixture
def jobs():
    return Jobs()


@pytest.fixture
def cluster(jobs, monkeypatch):
    """A client of a job manager that answers as Flink 1.19 does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if jobs.troubles:
                jobs.troubles -= 1
                return self.send_error(500)
            if self.path == "/taskmanagers":
                return self._answer({"taskmanagers": jobs.managers})
            assert self.path == "/jobs/overview"
            return self._answer(jobs.overview())

        def do_PATCH(self):
            jobs.cancel(self.path.removeprefix("/jobs/"))
            self._answer({})

        def _answer(self, data):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(data).encode())

        def log_message(self, *arguments):
            pass

    monkeypatch.setattr(flink_cluster, "_LOOK_EVERY", 0.01)
    server = ThreadingHTTPServer(("localhost", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield FlinkCluster.of(f"localhost:{server.server_address[1]}")
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("master", "address"),
    [
        ("host:8081", "http://host:8081"),
        ("http://host:8081/", "http://host:8081"),
        ("https://host", "https://host"),
    ],
)
def test_address(master, address):
    assert FlinkCluster.of(master).address == address


def test_ends_jobs_of_the_name_alone_and_each_once(cluster, jobs):
    for name in ("mine", "other", "mine"):
        jobs.add(name, looks=3)
    jobs.add("mine", "FINISHED")
    cluster.end("mine")
    assert sorted(jobs.cancelled) == ["id0", "id2"]
    assert [job[2] for job in jobs.jobs] == [
        "CANCELED", "RUNNING", "CANCELED", "FINISHED",
    ]  # fmt: skip


def test_a_job_that_has_just_been_submitted_is_waited_for(cluster, jobs):
    timer = threading.Timer(0.3, jobs.add, ["late"])
    timer.start()
    cluster.end("late", appears_within=5)
    timer.join()
    assert jobs.cancelled == ["id0"]


def test_one_that_has_ended_is_not_waited_for(cluster, jobs):
    jobs.add("mine", "FAILED")
    cluster.end("mine", appears_within=1000)
    assert jobs.cancelled == []


def test_a_job_that_does_not_end_is_told(cluster, jobs, monkeypatch):
    monkeypatch.setattr(flink_cluster, "_PATIENCE", 0.1)
    jobs.add("mine", looks=10**9)
    with pytest.raises(ReviewbeamError, match="job mine at http://localhost:.* not"):
        cluster.end("mine")


def test_nobody_answers():
    with pytest.raises(UnreachableError, match="No Flink cluster answers at http://"):
        FlinkCluster.of("localhost:9").jobs("x")


def test_task_managers_share_the_cores_of_their_host(cluster, jobs):
    assert cluster.cores_of_a_task_manager() is None
    for host, cores in (("a", 16), ("b", 8), ("b", 8), ("b", 8)):
        path = f"pekko.tcp://flink@{host}:41137/user/rpc/taskmanager_0"
        jobs.managers.append({"path": path, "hardware": {"cpuCores": cores}})
    assert cluster.cores_of_a_task_manager() == 2
    jobs.managers += jobs.managers[1:] * 5
    assert cluster.cores_of_a_task_manager() == 1


def test_the_job_of_a_killed_run_is_ended(cluster, jobs, monkeypatch):
    jobs.add("left")
    facts = {"name": "left", "id": "id0", "workers_kept": 0.2}
    monkeypatch.setattr(flink_runner, "_CLOSES_WITHIN", 0.1)
    monkeypatch.setattr(flink_cluster, "_GONE_AFTER", 0.1)
    end_earlier_job({})
    end_earlier_job({NOTE: facts | {"address": "http://localhost:9"}})
    assert jobs.cancelled == []
    began = time.monotonic()
    end_earlier_job({NOTE: facts | {"address": cluster.address}})
    assert jobs.cancelled == ["id0"]
    assert time.monotonic() - began >= 0.3  # its workers go on for a while


def test_a_cluster_that_is_busy_is_not_gone(cluster, jobs, monkeypatch):
    jobs.add("mine")
    jobs.troubles = 3
    assert cluster.end("mine")
    assert jobs.cancelled == ["id0"]
    monkeypatch.setattr(flink_cluster, "_PATIENCE", 0.1)
    jobs.troubles = 10**6
    with pytest.raises(UnreachableError, match="500") as caught:
        cluster.end("mine")
    assert not isinstance(caught.value, GoneError)


def test_a_job_that_could_not_be_ended_is_kept_in_mind(
    cluster, jobs, monkeypatch, tmp_path
):
    monkeypatch.setattr(flink_cluster, "_PATIENCE", 0.1)
    monkeypatch.setattr(flink_runner, "_APPEARS_WITHIN", 0.1)
    jar = tmp_path / "jar"
    jar.touch()
    flags = [f"--flink_master={cluster.address}", f"--flink_job_server_jar={jar}"]
    options = beam_options(
        ["--runner=FlinkRunner", *flags, "--job_server_java_launcher=true"], None
    )
    run = RunRecord("prepare", recover=end_earlier_job)
    with (
        pytest.raises(KeyError),  # what went wrong first
        staged_output(tmp_path / "out", "prepare", run=run),
        flink_job(options, "prepare", run),
    ):
        jobs.troubles = 10**6
        raise KeyError
    told = json.loads((tmp_path / "out.staged" / "run.json").read_text())
    assert told[NOTE]["name"].startswith("reviewbeam-prepare-")
    jobs.troubles = 0
    jobs.add(told[NOTE]["name"])
    monkeypatch.setattr(flink_runner, "_CLOSES_WITHIN", 0)
    run = RunRecord("prepare", recover=end_earlier_job)
    with staged_output(tmp_path / "out", "prepare", run=run):
        assert jobs.cancelled == ["id0"]
