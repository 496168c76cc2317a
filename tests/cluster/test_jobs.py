"""prepare and score on a cluster: the bytes of one machine, whatever is killed."""

import json
import os
import random
import re
import signal
import time
from pathlib import Path

import pytest
import tensorflow as tf
import yaml

from reviewbeam.components.common.model_directory import (
    ModelMetadata,
    write_model_manifest,
)
from tests.object_store import StaleAfter, With
from tests.pipelines.fake_models import Formula, told_by, write_model
from tests.pipelines.launches import (
    Launch,
    digests,
    everything,
    write_corpus,
    write_yaml,
)
from tests.testdata.make_tiny_encoder import SENTENCES

ROUNDS = int(os.environ.get("KILLS", 1))
ROWS = 6000
CHUNK_ROWS = 200
ATTEMPTS = 3  # of the cluster, after the first failure
PATIENCE = 400  # seconds, where others use the machine too
WHAT = ["worker", "task manager", "launcher"]


class Slow(Formula):
    """A formula that takes its time, so that there is something to kill."""

    def __init__(self):
        super().__init__(3, "multiclass")
        self._ballast = tf.Variable(tf.zeros([800, 800]))

    def answer(self, token_ids, padding_mask):
        ballast = self._ballast + tf.cast(tf.reduce_sum(token_ids), tf.float32)
        for _ in range(3):
            ballast = tf.matmul(ballast, self._ballast)
        return super().answer(token_ids, padding_mask) + ballast[0, 0]


@pytest.fixture(scope="module")
def model(tiny_encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    return write_model(folder, told_by(tiny_encoder), tiny_encoder, module=Slow())


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    random_ = random.Random(3)
    for name in ("a", "b", "c"):
        lines = [
            json.dumps(
                {"id": f"{name}{i}", "text": " ".join(random_.sample(SENTENCES, 2))}
            )
            for i in range(ROWS // 3)
        ]
        lines[7] = "{broken"
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def score(tmp_path_factory, model, corpus):
    """Returns a function that begins a run of score into a folder."""
    folder = tmp_path_factory.mktemp("runs-of-score")
    config = {
        "columns": {"text": "text", "id": "id"},
        "slice_bytes": 65536,
        "inference": {
            "engine": "tensorflow",
            "batch_tokens": 512,
            "chunk_rows": CHUNK_ROWS,
        },
    }

    def start(output, *arguments, model=model, before=None):
        return Launch(
            folder,
            *("score", "--config", write_yaml(folder / "c.yaml", config)),
            *("--model", model, "--input", f"{corpus}/*"),
            *("--output", output, *arguments),
            before=before,
        )

    return start


@pytest.fixture(scope="module")
def undisturbed(score, tmp_path_factory):
    """What a run on this machine alone writes."""
    output = tmp_path_factory.mktemp("alone") / "scores"
    ended(score(output))
    return output


@pytest.fixture(scope="module")
def prepare_arguments(tiny_encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepare")
    corpus = write_corpus(folder / "corpus", 3000)
    config = write_yaml(folder / "c.yaml", everything(tiny_encoder, corpus))
    return ["prepare", "--config", config]


def bytes_of_parts(digests):
    return {k: v for k, v in digests.items() if k.startswith("model_version=")}


def bytes_of(folder):
    untold = ("_run.json", "_report.html")
    return {k: v for k, v in digests(folder).items() if k not in untold}


def ended(run, code=0):
    assert run.end(PATIENCE) == code, run.err


def wait_until(happened, seconds=PATIENCE, alive=None):
    until = time.monotonic() + seconds
    while not (now := happened()):
        assert time.monotonic() < until
        assert alive is None or alive.is_alive, alive.err
        time.sleep(0.05)
    return now


def finished(output):
    return len(list(output.glob("_staged/*/chunk-*.json")))


def written(paths):
    """Name -> when it was written, of finished parts."""
    return {path.name: path.stat().st_mtime_ns for path in paths}


def noted(record, earlier=None):
    """What the run in progress noted of its job, with Flink's id."""
    job = json.loads(record.read_text()).get("flink_job", {}) if record.exists() else {}
    return job if "id" in job and job != earlier else None


def kill(what, flink, run):
    """Kills one, as the kernel would for want of memory."""
    if what == "launcher":
        os.kill(run.pid, signal.SIGKILL)  # it alone, not its job server
        run.end(PATIENCE)
    elif what == "worker":
        os.kill(flink.workers()[0], signal.SIGKILL)
    else:
        parents = {worker: _parent(worker) for worker in flink.workers()}
        killed = flink.kill_task_manager()
        orphans = [worker for worker, parent in parents.items() if parent == killed]
        wait_until(lambda: not any(map(_parent, orphans)), 10)
        flink.up()


def state_of(flink, job):
    (found,) = [one["state"] for one in flink.jobs() if one["jid"] == job["id"]]
    return found


def job_servers(flink):
    """Whether a cluster has job servers."""
    master = f"job-server.jar\0--flink-master\0http://{flink.address}\0".encode()
    return any(master in _read(entry) for entry in Path("/proc").glob("[0-9]*/cmdline"))


def _parent(pid):
    """The pid of a living process' parent; 0: it doesn't live."""
    status = re.search(rb"^PPid:\t(\d+)", _read(Path(f"/proc/{pid}/status")), re.M)
    return int(status[1]) if status else 0


def _read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def check_scores(output, undisturbed):
    assert bytes_of(output) == bytes_of(undisturbed)
    manifest = json.loads((output / "_manifest.json").read_text())
    (version,) = manifest["versions"].values()
    assert sum(chunk["rows"] for chunk in version["chunks"]) == ROWS - 3
    assert not (output / "_staged").exists()


def test_prepare_gives_the_same_bytes_however_often_it_is_killed(
    flink, prepare_arguments, tmp_path
):
    alone, output = tmp_path / "alone", tmp_path / "dataset"
    ended(Launch(tmp_path, *prepare_arguments, "--output", alone))
    record = tmp_path / "dataset.staged" / "run.json"
    on_flink = [*prepare_arguments, "--output", output, "--beam", flink.beam_file]
    for round_ in range(ROUNDS):
        # Beam may have forgotten an idle one where a stage was started again.
        known = set(flink.workers())
        run = Launch(tmp_path, *on_flink)
        job = wait_until(lambda: noted(record))
        old = wait_until(lambda k=known: set(flink.workers()) - k)
        assert job_servers(flink)
        kill("launcher", flink, run)
        wait_until(lambda: not job_servers(flink), 5)
        assert state_of(flink, job) == "RUNNING"
        run = Launch(tmp_path, *on_flink)
        wait_until(lambda j=job: state_of(flink, j) == "CANCELED")
        job = wait_until(lambda j=job: noted(record, j))
        assert not any(map(_parent, old))  # nor do its workers write any more
        wait_until(flink.workers)
        kill(WHAT[round_ % 2], flink, run)
        ended(run)
        assert state_of(flink, job) == "FINISHED"
        assert bytes_of(output) == bytes_of(alone)
        on_flink += ["--overwrite"]
        (output / "manifest.json").write_text(
            (output / "manifest.json").read_text().replace("fingerprint", "f", 1)
        )


@pytest.mark.parametrize("what", WHAT)
def test_score_gives_the_same_bytes_whatever_is_killed(
    flink, score, what, undisturbed, tmp_path
):
    for round_ in range(ROUNDS):
        output = tmp_path / f"scores-{round_}"
        run = score(output, "--beam", flink.beam_file)
        wait_until(lambda o=output: finished(o) >= 5, alive=run)
        job = wait_until(lambda o=output: noted(o / "_run.json"))
        done = written(output.glob("_staged/*/part-*"))
        kill(what, flink, run)
        assert finished(output) < ROWS // CHUNK_ROWS  # else nothing was disturbed
        if what == "launcher":
            run = score(output, "--beam", flink.beam_file)
            wait_until(lambda j=job: state_of(flink, j) == "CANCELED")
        ended(run)
        check_scores(output, undisturbed)
        # What was finished is not done a second time.
        assert done.items() <= written(output.glob("model_version=*/part-*")).items()


def test_score_with_a_store_alone_in_common(
    flink, score, model, undisturbed, bucket, tmp_path
):
    stored, output = bucket.upload(model, "models/m"), f"{bucket.url}/scores"
    cache = {"REVIEWBEAM_CACHE": str(tmp_path / "cache-of-launchers")}
    before = With(bucket.server.environment | cache, StaleAfter(2))
    run = score(output, "--beam", flink.beam_file, model=stored, before=before)
    wait_until(
        lambda: sum("/chunk-" in n for n in bucket.names("scores/_staged")) >= 3,
        alive=run,
    )
    job = wait_until(lambda: json.loads(bucket.get("scores/_run.json"))["flink_job"])
    kill("launcher", flink, run)
    time.sleep(3)
    run = score(output, "--beam", flink.beam_file, model=stored, before=before)
    ended(run)
    jobs = [one["state"] for one in flink.jobs() if one["name"] == job["name"]]
    assert jobs == ["CANCELED"]
    assert bytes_of_parts(bucket.digests("scores")) == bytes_of_parts(
        bytes_of(undisturbed)
    )
    assert not bucket.names("scores/_staged") and not bucket.names("scores/_lock.json")
    weights = f"/{bucket.name}/models/m/saved_model/saved_model.pb"
    # By the launchers' host and the workers', whose processes share a cache each.
    assert bucket.server.requests["GET", weights] == 2


def test_a_stopped_score_ends_its_job_and_goes_on(flink, score, tmp_path):
    output = tmp_path / "scores"
    run = score(output, "--beam", flink.beam_file)
    wait_until(lambda: finished(output) >= 3)
    job = wait_until(lambda: noted(output / "_run.json"))
    os.killpg(run.pid, signal.SIGTERM)  # its job server too, as a terminal would
    ended(run, 75)
    assert state_of(flink, job) == "FINISHED"  # with what it had begun
    assert 0 < len(list(output.glob("model_version=*/*"))) < ROWS // CHUNK_ROWS


def test_an_interrupted_prepare_cancels_its_job(flink, prepare_arguments, tmp_path):
    output = tmp_path / "dataset"
    arguments = ["--output", output, "--beam", flink.beam_file]
    run = Launch(tmp_path, *prepare_arguments, *arguments)
    job = wait_until(lambda: noted(tmp_path / "dataset.staged" / "run.json"))
    os.kill(run.pid, signal.SIGTERM)
    ended(run, 75)
    assert state_of(flink, job) == "CANCELED"
    assert not output.exists()


def test_a_model_that_cannot_be_loaded_is_tried_a_few_times(
    flink, score, tiny_encoder, tmp_path
):
    broken = write_model(
        tmp_path / "model", told_by(tiny_encoder), tiny_encoder, module=Slow()
    )
    (broken / "saved_model" / "variables" / "variables.index").write_bytes(b"")
    told = json.loads((broken / "model.json").read_text())
    (broken / "manifest.json").unlink()
    metadata = ModelMetadata.model_validate(told)
    write_model_manifest(broken, "m", metadata.core_fingerprint())
    run = score(tmp_path / "scores", "--beam", flink.beam_file, model=broken)
    ended(run, 2)
    last = run.err.splitlines()[-1]
    assert re.match(r"reviewbeam: TensorFlow \S+ can't open .*/saved_model: ", last)
    assert "Traceback" not in run.err
    job = max(flink.jobs(), key=lambda job: job["start-time"])
    told = flink.rest(f"jobs/{job['jid']}/exceptions")["exceptionHistory"]
    assert len(told["entries"]) == 1 + ATTEMPTS


def test_no_cluster_is_one_message(flink, score, tmp_path):
    options = yaml.safe_load(flink.beam_file.read_text())
    beam = write_yaml(tmp_path / "b.yaml", options | {"flink_master": "localhost:9"})
    run = score(tmp_path / "scores", "--beam", beam)
    ended(run, 1)
    assert "No Flink cluster answers at http://localhost:9" in run.err
    assert not list(tmp_path.glob("scores/model_version=*"))
