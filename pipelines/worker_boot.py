"""`reviewbeam-worker`: starts a Beam worker where Flink asks for a process.

Beam's own boot program is a binary of its container images; where workers run in an
environment of ours, without a container, this is what `--environment_config` names.
"""

import argparse
import json
import os
import sys
import threading
import time

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
    os.environ.update(_provisioned(arguments.id, arguments.provision_endpoint))

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


def _provisioned(worker: str, endpoint: str) -> dict[str, str]:
    """Returns the environment that Beam's worker reads its task from."""
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
    options = json_format.MessageToDict(info.pipeline_options)
    environment = {
        "WORKER_ID": worker,
        "PIPELINE_OPTIONS": json.dumps(options),
        "CONTROL_API_SERVICE_DESCRIPTOR": described(info.control_endpoint),
        "LOGGING_API_SERVICE_DESCRIPTOR": described(info.logging_endpoint),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    if info.HasField("status_endpoint"):
        environment["STATUS_API_SERVICE_DESCRIPTOR"] = described(info.status_endpoint)
    return environment
