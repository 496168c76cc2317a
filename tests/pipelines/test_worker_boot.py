"""The worker's boot program, against a provision service as a runner has it."""

import json
import os
import subprocess
import sys
import time
from concurrent import futures

import grpc
import pytest
from apache_beam.portability.api import (
    beam_artifact_api_pb2,
    beam_artifact_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    beam_runner_api_pb2,
)
from google.protobuf import json_format, text_format

from reviewbeam.pipelines.worker_boot import _provisioned


class _Provision(
    beam_provision_api_pb2_grpc.ProvisionServiceServicer,
    beam_artifact_api_pb2_grpc.ArtifactRetrievalServiceServicer,
):
    asked_by = None
    address = None
    artifacts = ()

    def ResolveArtifacts(self, request, context=None):
        return beam_artifact_api_pb2.ResolveArtifactsResponse(
            replacements=request.artifacts
        )

    def GetArtifact(self, request, context=None):
        assert dict(context.invocation_metadata())["worker_id"] == "7-1"
        for data in (b"of ", request.artifact.type_payload):
            yield beam_artifact_api_pb2.GetArtifactResponse(data=data)

    def GetProvisionInfo(self, request, context=None):
        self.asked_by = dict(context.invocation_metadata())["worker_id"]
        info = beam_provision_api_pb2.ProvisionInfo(
            runner_capabilities=["a:v1", "b:v1"]
        )
        info.dependencies.extend(self.artifacts)
        info.artifact_endpoint.url = self.address
        info.control_endpoint.url = "localhost:1"
        info.logging_endpoint.url = "localhost:2"
        json_format.ParseDict({"beam:option:x:v1": 3}, info.pipeline_options)
        return beam_provision_api_pb2.GetProvisionInfoResponse(info=info)


@pytest.fixture
def provision():
    service = _Provision()
    server = grpc.server(futures.ThreadPoolExecutor(1))
    beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(service, server)
    beam_artifact_api_pb2_grpc.add_ArtifactRetrievalServiceServicer_to_server(
        service, server
    )
    service.address = f"localhost:{server.add_insecure_port('localhost:0')}"
    server.start()
    yield service
    server.stop(None)


def test_the_task_goes_where_beams_worker_reads_it(provision, tmp_path):
    found = _provisioned("7-1", provision.address, tmp_path)
    assert found["SEMI_PERSISTENT_DIRECTORY"] == str(tmp_path)
    assert os.listdir(tmp_path) == []
    assert provision.asked_by == "7-1"
    assert found["WORKER_ID"] == "7-1"
    assert json.loads(found["PIPELINE_OPTIONS"]) == {"beam:option:x:v1": 3}
    assert found["RUNNER_CAPABILITIES"] == "a:v1 b:v1"
    assert "STATUS_API_SERVICE_DESCRIPTOR" not in found

    from apache_beam.portability.api import endpoints_pb2

    for name, url in (("CONTROL", "localhost:1"), ("LOGGING", "localhost:2")):
        service = endpoints_pb2.ApiServiceDescriptor()
        text_format.Merge(found[f"{name}_API_SERVICE_DESCRIPTOR"], service)
        assert service.url == url


def test_a_main_session_is_where_beams_worker_looks_for_it(provision, tmp_path):
    role = beam_runner_api_pb2.ArtifactStagingToRolePayload
    provision.artifacts = [
        beam_runner_api_pb2.ArtifactInformation(
            type_payload=name.encode(),
            role_payload=role(staged_name=name).SerializeToString(),
        )
        for name in ("some.whl", "pickled_main_session", "../../etc")
    ]
    found = _provisioned("7-1", provision.address, tmp_path)
    folder = tmp_path / "staged"
    assert found["SEMI_PERSISTENT_DIRECTORY"] == str(tmp_path)
    assert os.listdir(folder) == ["pickled_main_session"]
    assert (folder / "pickled_main_session").read_bytes() == b"of pickled_main_session"


def test_a_worker_ends_with_its_parent():
    worker = """
import os, threading, time
from reviewbeam.pipelines import worker_boot
worker_boot._LOOK_EVERY = 0.05
threading.Thread(target=worker_boot._end_with, args=(os.getppid(),)).start()
print(os.getpid(), flush=True)
time.sleep(60)
"""
    parent = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {worker!r}])\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", parent],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    child = int(process.stdout.readline())
    assert os.path.exists(f"/proc/{child}")
    process.kill()
    process.wait()
    # Standard output closes when the last process that has it ends.
    began = time.monotonic()
    process.stdout.read()
    assert time.monotonic() - began < 30
    process.stdin.close()
    process.stdout.close()
