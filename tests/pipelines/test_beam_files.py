"""The options files for clusters: Beam takes them, and graphs are built by them."""

import contextlib
import re
from pathlib import Path

import apache_beam as beam
import pytest
import yaml
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.dataflow.internal.apiclient import (
    get_container_image_from_options,
)
from apache_beam.transforms.environments import (
    DockerEnvironment,
    Environment,
    ProcessEnvironment,
)

from reviewbeam.pipelines import prepare, score
from reviewbeam.pipelines.options import beam_options
from tests.pipelines.conftest import SAMPLE

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "configs" / "beam").glob("*.yaml"))
CONTAINER = ROOT / "scripts" / "container"


class BuiltError(Exception):
    """The pipeline was built, and would be sent now."""


def environment_of(options: PipelineOptions) -> Environment:
    """The workers', as the runner makes it of the options."""
    if options.view_as(StandardOptions).runner == "DataflowRunner":
        image = get_container_image_from_options(options)
        return DockerEnvironment.from_container_image(image)
    return ProcessEnvironment.from_options(options.view_as(PortableOptions))


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def built(request, monkeypatch):
    """An options file, and the pipelines that would be sent by it."""
    pipelines = []

    def send(self, *arguments, **options):
        environment = environment_of(self._options)
        pipelines.append(self.to_runner_api(default_environment=environment))
        raise BuiltError

    @contextlib.contextmanager
    def nowhere(options, *arguments):
        yield options

    monkeypatch.setattr(beam.Pipeline, "run", send)
    monkeypatch.setattr(prepare, "launching", nowhere)
    monkeypatch.setattr(score, "launching", nowhere)
    monkeypatch.setattr(  # it would ask Google
        GoogleCloudOptions, "_warn_if_soft_delete_policy_enabled", lambda *_: None
    )
    return request.param, pipelines


def check_environment(path: Path, pipeline: beam_runner_api_pb2.Pipeline) -> None:
    """Holds the workers' environment against the file."""
    options = yaml.safe_load(path.read_text())
    (environment,) = pipeline.components.environments.values()
    payload = environment.payload
    if options["runner"] == "DataflowRunner":
        assert environment.urn == common_urns.environments.DOCKER.urn
        image = beam_runner_api_pb2.DockerPayload.FromString(payload).container_image
        assert image == options["sdk_container_image"]
    else:
        assert environment.urn == common_urns.environments.PROCESS.urn
        command = beam_runner_api_pb2.ProcessPayload.FromString(payload).command
        assert command == options["environment_config"]["command"]
        assert Path(command).name == "reviewbeam-worker"


def steps(pipeline: beam_runner_api_pb2.Pipeline) -> set[str]:
    """Names of the outermost steps, and those within them."""
    names = {t.unique_name for t in pipeline.components.transforms.values()}
    return {part for name in names for part in name.split("/")}


def test_prepare(built, command, write_config, configs, tmp_path):
    path, pipelines = built
    code, _, err = command(
        *("prepare", "--config", write_config(configs["prepare"]), "--beam", path),
        *("--input", SAMPLE / "reviews.jsonl", "--output", tmp_path / "dataset"),
    )
    assert code == 1 and "BuiltError" in err
    (pipeline,) = pipelines
    assert {"ReadReviews", "WriteShards", "WriteRejects"} <= steps(pipeline)
    check_environment(path, pipeline)


def test_score(built, command, write_config, configs, fake_model, tmp_path):
    path, pipelines = built
    config = configs["score"] | {
        "inference": {"engine": "tensorflow", "batch_tokens": 512, "threads": 1}
    }
    code, _, err = command(
        *("score", "--config", write_config(config), "--beam", path),
        *("--input", SAMPLE / "new_arrivals.jsonl", "--output", tmp_path / "scores"),
        *("--model", fake_model),
    )
    assert code == 1 and "BuiltError" in err
    (pipeline,) = pipelines
    assert {"ScoreUnits", "WriteChunk"} <= steps(pipeline)
    check_environment(path, pipeline)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_options(path):
    """Every option is one that Beam knows, and has the file's value."""
    options = beam_options([], str(path)).get_all_options(drop_default=True)
    assert options["runner"] == yaml.safe_load(path.read_text())["runner"]


def test_the_container_recipe_names_what_there_is():
    text = (CONTAINER / "Dockerfile").read_text().replace("\\\n", " ")
    stages = re.findall(r"^FROM .* AS (\S+)$", text, re.M)
    for line in re.findall(r"^COPY (.*)$", text, re.M):
        words = [word for word in line.split() if not word.startswith("--")]
        if stage := re.search(r"--from=(\S+)", line):
            assert stage[1] in stages
        else:
            assert all((ROOT / source).exists() for source in words[:-1])
    ignored = (CONTAINER / "Dockerfile.dockerignore").read_text()
    kept = re.findall(r"^!(.*)$", ignored, re.M)
    copied = " ".join(re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.M)).split()
    assert sorted(kept) == sorted(copied)
    lock = (ROOT / "requirements-glibc2.28.lock").read_text()
    beam_version = re.search(r"^ARG BEAM=(.*)$", text, re.M)[1]
    assert f"\napache-beam=={beam_version} " in lock


def test_the_manifests_fit_the_options_and_the_image():
    folder = ROOT / "configs" / "beam" / "kubernetes"
    policy, cluster = yaml.safe_load_all((folder / "flink-cluster.yaml").read_text())
    options = yaml.safe_load((folder.parent / "flink-kubernetes.yaml").read_text())
    assert options["flink_master"] == f"{cluster['metadata']['name']}-rest:8081"
    recipe = (CONTAINER / "Dockerfile").read_text()
    version = cluster["spec"]["flinkVersion"].removeprefix("v").replace("_", ".")
    assert f"ARG FLINK={version}\n" in recipe
    pom = (ROOT / "scripts" / "flink" / "pom.xml").read_text()
    assert f"<flink.minor>{version}</flink.minor>" in pom
    made = "COPY --from=jars /opt/jars/target/job-server.jar"  # as the pom makes it
    assert f"{made} {options['flink_job_server_jar']}\n" in recipe
    job = yaml.safe_load((folder / "score-cronjob.yaml").read_text())
    spec = job["spec"]["jobTemplate"]["spec"]
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["values"] == [2, 3, 4]
    own, outside = policy["spec"]["ingress"]
    name = cluster["metadata"]["name"]
    pods = {"matchLabels": {"app": name, "type": "flink-native-kubernetes"}}
    assert policy["spec"]["podSelector"] == pods
    assert own == {"from": [{"podSelector": pods}]}
    launchers = {"matchLabels": spec["template"]["metadata"]["labels"]}
    assert launchers != pods and {"podSelector": launchers} in outside["from"]
    port = int(options["flink_master"].split(":")[1])
    assert outside["ports"] == [{"protocol": "TCP", "port": port}]
    (container,) = spec["template"]["spec"]["containers"]
    from reviewbeam.pipelines.cli import parse

    arguments = parse([*container["command"][1:], *container["args"]])
    cores = cluster["spec"]["taskManager"]["resource"]["cpu"]
    assert f"--set=inference.threads={cores}" in container["args"]
    place = Path(arguments.beam).relative_to("/opt/reviewbeam")
    assert (ROOT / place).is_file()
