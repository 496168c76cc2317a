"""`reviewbeam-worker`: starts a Beam worker where Flink asks for a process.

Beam's own boot program is a binary of its container images; where workers run in an
environment of ours, without a container, this is what `--environment_config` names. Of
what a pipeline brings along it takes the pickled main session, and installs nothing.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

_LOOK_EVERY = 1.0  # seconds


def main() -> None:
    """Asks the runner what to run, as Beam's containers do, and runs it.

    Source: apache/beam, sdks/python/container/boot.go, and the messages of
    beam_provision_api.proto.
    """
    parser = argparse.ArgumentParser(prog="reviewbeam-worker", allow_abbrev=False)
    parser.add_argument("--id", required=True, help="of the worker")
    parser.add_argument("--provision_endpoint", required=True, help="HOST:PORT")
    arguments, _ = parser.parse_known_args()  # the runner gives more
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    # The task manager is on this host, where no proxy leads.
    os.environ.setdefault("no_grpc_proxy", "localhost,127.0.0.1")
    with tempfile.TemporaryDirectory(prefix="reviewbeam-worker-") as folder:
        os.environ.update(
            _provisioned(arguments.id, arguments.provision_endpoint, Path(folder))
        )

        from apache_beam.runners.worker import sdk_worker_main

        sdk_worker_main.main(sys.argv[:1])


def _end_with(parent: int) -> None:
    """Ends this process when its parent has ended.

    The kernel's signal for that (PR_SET_PDEATHSIG) comes already when the thread ends
    that started this process, which in a task manager is soon.
    """
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY)
    os._exit(1)


def _provisioned(worker: str, endpoint: str, folder: Path) -> dict[str, str]:
    """Returns the environment that Beam's worker reads its task from.

    Args:
      worker: its id.
      endpoint: of the provision service.
      folder: for what the pipeline brings along.
    """
    import grpc
    from apache_beam.portability.api import (
        beam_provision_api_pb2,
        beam_provision_api_pb2_grpc,
        endpoints_pb2,
    )
    from google.protobuf import json_format, text_format

    def described(service: endpoints_pb2.ApiServiceDescriptor) -> str:
        return text_format.MessageToString(service, as_one_line=True)

    with grpc.insecure_channel(endpoint) as channel:
        service = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        request = beam_provision_api_pb2.GetProvisionInfoRequest()
        told = service.GetProvisionInfo(request, metadata=[("worker_id", worker)])
    info = told.info
    _fetch_main_session(info, worker, folder / "staged")
    options = json_format.MessageToDict(info.pipeline_options)
    environment = {
        "WORKER_ID": worker,
        "PIPELINE_OPTIONS": json.dumps(options),
        "CONTROL_API_SERVICE_DESCRIPTOR": described(info.control_endpoint),
        "LOGGING_API_SERVICE_DESCRIPTOR": described(info.logging_endpoint),
        "SEMI_PERSISTENT_DIRECTORY": os.fspath(folder),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    if info.HasField("status_endpoint"):
        environment["STATUS_API_SERVICE_DESCRIPTOR"] = described(info.status_endpoint)
    return environment


def _fetch_main_session(info: Any, worker: str, folder: Path) -> None:
    """Fetches what --save_main_session has staged, into where the worker looks for it.

    Source: beam_artifact_api.proto.
    """
    import grpc
    from apache_beam.portability.api import (
        beam_artifact_api_pb2,
        beam_artifact_api_pb2_grpc,
        beam_runner_api_pb2,
    )
    from apache_beam.runners.internal.names import PICKLED_MAIN_SESSION_FILE

    def is_session(artifact: beam_runner_api_pb2.ArtifactInformation) -> bool:
        role = beam_runner_api_pb2.ArtifactStagingToRolePayload
        return (
            role.FromString(artifact.role_payload).staged_name
            == PICKLED_MAIN_SESSION_FILE
        )

    wanted = [artifact for artifact in info.dependencies if is_session(artifact)]
    if not wanted:
        return
    folder.mkdir()
    metadata = [("worker_id", worker)]
    with grpc.insecure_channel(info.artifact_endpoint.url) as channel:
        service = beam_artifact_api_pb2_grpc.ArtifactRetrievalServiceStub(channel)
        request = beam_artifact_api_pb2.ResolveArtifactsRequest(artifacts=wanted)
        found = service.ResolveArtifacts(request, metadata=metadata).replacements
        with open(folder / PICKLED_MAIN_SESSION_FILE, "wb") as file:
            request = beam_artifact_api_pb2.GetArtifactRequest(artifact=found[0])
            for block in service.GetArtifact(request, metadata=metadata):
                file.write(block.data)
