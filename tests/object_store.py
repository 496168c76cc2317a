"""An S3 server on this machine, and what tests ask of it."""

import dataclasses
import hashlib
import logging
import os
import secrets
import threading
from collections import Counter


class Server:
    """moto's S3, its requests counted."""

    def __init__(self):
        from moto.server import ThreadedMotoServer  # where it is installed

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self.requests: Counter = Counter()  # (method, path)
        self._putting = threading.Lock()
        self.unconditional = False  # ignore If-None-Match and If-Match
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        self._watch()

    def _watch(self):
        server = self._server._server
        app = server.app

        def watched(environ, start_response):
            method = environ["REQUEST_METHOD"]
            self.requests[method, environ["PATH_INFO"]] += 1
            if self.unconditional:
                environ.pop("HTTP_IF_NONE_MATCH", None)
                environ.pop("HTTP_IF_MATCH", None)
            if method != "PUT":
                return app(environ, start_response)
            with self._putting:  # moto looks first, and then puts
                return app(environ, start_response)

        server.app = watched

    def stop(self):
        self._server.stop()

    def bucket(self):
        """Makes a new bucket."""
        import boto3

        client = boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
        )
        bucket = Bucket(self, client, f"b-{secrets.token_hex(6)}")
        client.create_bucket(Bucket=bucket.name)
        return bucket


@dataclasses.dataclass
class Bucket:
    """A bucket, as its tests see it."""

    server: Server
    client: object
    name: str

    @property
    def url(self):
        return f"s3://{self.name}"

    def names(self, prefix=""):
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=prefix
        )
        return [o["Key"] for page in pages for o in page.get("Contents", [])]

    def get(self, name):
        return self.client.get_object(Bucket=self.name, Key=name)["Body"].read()

    def put(self, name, data):
        self.client.put_object(Bucket=self.name, Key=name, Body=data)

    def upload(self, folder, prefix):
        """Copies a folder; returns its URL."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = f"{prefix}/{path.relative_to(folder).as_posix()}"
                self.put(name, path.read_bytes())
        return f"{self.url}/{prefix}"

    def download(self, prefix, folder):
        """Copies what is below a prefix into a folder."""
        for name in self.names(f"{prefix}/"):
            path = folder / name.removeprefix(f"{prefix}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.get(name))
        return folder

    def digests(self, prefix, untold=()):
        """Name -> SHA-256 of the objects below a prefix."""
        return {
            name.removeprefix(f"{prefix}/"): hashlib.sha256(self.get(name)).hexdigest()
            for name in self.names(f"{prefix}/")
            if name.rpartition("/")[2] not in untold
        }


@dataclasses.dataclass
class With:
    """Sets environment variables in a process of its own, then does something."""

    environment: dict
    then: object = None

    def __call__(self):
        os.environ.update(self.environment)
        if self.then:
            self.then()


@dataclasses.dataclass
class StaleAfter:
    """Has a lock be stale after some seconds."""

    seconds: float

    def __call__(self):
        from reviewbeam.components.common import store_lock

        store_lock._STALE, store_lock._REFRESH = self.seconds, self.seconds / 4
