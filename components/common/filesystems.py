"""Files that workers read, local or remote."""

import copy
import functools
import importlib
import os

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems

from reviewbeam.components.common.errors import UserError

# scheme -> what Beam reads it with, and what brings that
_LIBRARIES = {
    "s3": ("boto3", "reviewbeam[stores]"),
    "gs": ("google.cloud.storage", "apache-beam[gcp]"),
}

_S3 = "s3://"


def check_library(path: str) -> None:
    """Refuses a path that Beam lacks the library for.

    Raises:
      UserError: says what to install.
    """
    scheme, separator, _ = path.partition("://")
    if separator and scheme in _LIBRARIES:
        library, extra = _LIBRARIES[scheme]
        try:
            importlib.import_module(library)
        except ImportError:
            raise UserError(
                f"{path!r} needs {library}, which is not installed: pip install "
                f"'{extra}'."
            ) from None


def open_binary(path: str):
    """Opens a file for reading, without decompressing it."""
    if path.startswith(_S3):
        return _s3(path).open(path)
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def file_metadata(path: str) -> FileMetadata:
    """Asks for a file's size and the time of its last change.

    Raises:
      BeamIOError: it isn't there, or can't be reached.
    """
    if not path.startswith(_S3):
        return FileSystems.get_filesystem(path).metadata(path)
    try:
        found = _s3(path)._status(path)  # as S3FileSystem does
    except Exception as error:  # whatever boto3 raises
        raise BeamIOError("Metadata operation failed", {path: error}) from None
    return FileMetadata(path, found["size"], found["last_updated"])


def _s3(path: str):
    """Returns Beam's access to S3, without a new client of boto3 for each file.

    To make one takes a quarter of a second of computing, and Beam makes one whenever
    it opens a file or asks for its size.
    """
    from apache_beam.io.aws.s3io import S3IO

    options = FileSystems.get_filesystem(path)._options
    client = _s3_client(options, os.getpid(), _aws_environment())
    # A copy, since what is open is remembered there; boto3's own part is for all
    # threads.
    return S3IO(client=copy.copy(client))


@functools.lru_cache(maxsize=4)
def _s3_client(options, process: int, environment: tuple[tuple[str, str], ...]):
    """Makes a client: for a process, since connections are not to be forked."""
    from apache_beam.io.aws.clients.s3.boto3_client import Client

    return Client(options=options)


def _aws_environment() -> tuple[tuple[str, str], ...]:
    return tuple(sorted(i for i in os.environ.items() if i[0].startswith("AWS_")))
