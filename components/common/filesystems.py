"""Files that workers read, local or remote."""

import importlib

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from reviewbeam.components.common.errors import UserError

# scheme -> what Beam reads it with, and what brings that
_LIBRARIES = {
    "s3": ("boto3", "reviewbeam[stores]"),
    "gs": ("google.cloud.storage", "apache-beam[gcp]"),
}


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
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
