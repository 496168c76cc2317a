"""Objects of a store (S3, Google Cloud Storage, Azure), asked for as files are.

A `StorePath` has the methods of `pathlib.Path` that the project uses on outputs, so
that most code needn't know which one it has; `places` has what differs.
"""

import contextlib
import dataclasses
import datetime
import fnmatch
import os
from collections.abc import Iterable, Iterator
from typing import Any

from reviewbeam.components.common.errors import ReviewbeamError, UserError

SCHEMES = ("s3", "gs", "az")
AT_ONCE = 16  # requests of one process
_TIMEOUTS = {"connect_timeout": "5s", "timeout": "600s"}  # of one request
_RETRY = {"max_retries": 8, "retry_timeout": datetime.timedelta(minutes=1)}
_NO_CREDENTIALS = ("credential", "metadata", "missing access", "/latest/api/token")
_clients: dict[str, Any] = {}
_owner = 0  # process id of the one that has clients: they have threads


class ChangedError(Exception):
    """An object is not the one that it was to replace."""


@dataclasses.dataclass(frozen=True)
class Content:
    """What an object holds.

    Attributes:
      data: its bytes.
      tag: what the store calls this state of it.
      modified: when it was written, by the store's clock; seconds since 1970.
    """

    data: bytes
    tag: dict[str, str]
    modified: float


@dataclasses.dataclass(frozen=True, order=True)
class StorePath:
    """A place in a bucket: an object, or what names begin with, as a folder."""

    root: str  # s3://bucket
    key: str  # no slash at either end; empty: the bucket itself

    @classmethod
    def of(cls, url: str) -> "StorePath":
        """Takes a URL apart.

        Raises:
          UserError: no bucket is named, or a store that isn't known.
        """
        scheme, _, rest = url.partition("://")
        bucket, _, key = rest.partition("/")
        parts = [part for part in key.split("/") if part]
        if scheme not in SCHEMES or not bucket or {".", ".."} & set(parts):
            raise UserError(
                f"{url!r} is no place in a store: s3://BUCKET/NAME was expected (or "
                "gs://, az://)."
            )
        return cls(f"{scheme}://{bucket}", "/".join(parts))

    def __truediv__(self, name: object) -> "StorePath":
        """Returns a place below."""
        parts = [part for part in (self.key, str(name).strip("/")) if part]
        return StorePath(self.root, "/".join(parts))

    def __str__(self) -> str:
        """Returns its URL."""
        return f"{self.root}/{self.key}".rstrip("/")

    @property
    def name(self) -> str:
        """The last part of its key."""
        return self.key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """Its name without what is behind the last dot."""
        return self.name.rpartition(".")[0] or self.name

    @property
    def parent(self) -> "StorePath":
        """The folder that it is in."""
        return StorePath(self.root, self.key.rpartition("/")[0])

    def with_name(self, name: str) -> "StorePath":
        """Returns its neighbour."""
        return self.parent / name

    def absolute(self) -> "StorePath":
        """Returns itself: no process has a current bucket."""
        return self

    def mkdir(self, **options: Any) -> None:
        """Does nothing: a store has no folders."""

    def is_file(self) -> bool:
        """Tells whether it is an object."""
        try:
            with _explaining(self):
                _client(self.root).head(self.key)
        except FileNotFoundError:
            return False
        return True

    exists = is_file

    def is_dir(self) -> bool:
        """Tells whether there are objects below."""
        with _explaining(self):
            pages = _client(self.root).list(self._prefix(), chunk_size=1)
            return any(True for page in pages for _ in page)

    def iterdir(self) -> Iterator["StorePath"]:
        """Yields what is directly below, objects and folders."""
        with _explaining(self):
            found = _client(self.root).list_with_delimiter(self._prefix())
        paths = [*found["common_prefixes"], *(o["path"] for o in found["objects"])]
        return (StorePath(self.root, path) for path in sorted(paths))

    def glob(self, pattern: str) -> Iterator["StorePath"]:
        """Yields what is directly below and has such a name."""
        return (p for p in self.iterdir() if fnmatch.fnmatchcase(p.name, pattern))

    def below(self) -> list[tuple["StorePath", int, str]]:
        """Returns all objects below with their sizes and tags, by name."""
        with _explaining(self):
            found = _client(self.root).list(self._prefix()).collect()
        return sorted(
            (StorePath(self.root, o["path"]), o["size"], o["e_tag"] or "")
            for o in found
        )

    def read_bytes(self) -> bytes:
        """Returns an object's bytes.

        Raises:
          FileNotFoundError: there is none.
        """
        return self.read().data

    def read_text(self, encoding: str = "utf-8") -> str:
        """Returns an object's text."""
        return self.read_bytes().decode(encoding)

    def read(self) -> Content:
        """Returns an object with what the store tells of it."""
        with _explaining(self):
            got = _client(self.root).get(self.key)
            modified = got.meta["last_modified"].timestamp()
            return Content(bytes(got.bytes()), _tag(got.meta), modified)

    def download(self, path: str | os.PathLike) -> None:
        """Writes an object into a local file."""
        with _explaining(self), open(path, "wb") as file:
            for piece in _client(self.root).get(self.key).stream():
                file.write(piece)

    def write_bytes(self, data: bytes) -> None:
        """Puts an object, whole or not at all."""
        with _explaining(self):
            _client(self.root).put(self.key, data)

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """Puts an object of text."""
        self.write_bytes(text.encode(encoding))

    def touch(self) -> None:
        """Puts an empty object."""
        self.write_bytes(b"")

    def create(self, data: bytes) -> dict[str, str]:
        """Puts an object where none is; returns its tag.

        Raises:
          FileExistsError: there is one.
        """
        with _explaining(self):
            return _tag(_client(self.root).put(self.key, data, mode="create"))

    def replace(self, data: bytes, tag: dict[str, str]) -> dict[str, str]:
        """Puts an object in the place of the one with this tag; returns its own tag.

        Raises:
          ChangedError: it isn't there any more.
        """
        with _explaining(self):
            return _tag(_client(self.root).put(self.key, data, mode=tag))

    def unlink(self, missing_ok: bool = False) -> None:
        """Removes an object, if it is there."""
        remove([self])

    def _prefix(self) -> str:
        return f"{self.key}/" if self.key else ""


def remove(paths: Iterable[StorePath]) -> None:
    """Removes objects of one bucket."""
    paths = list(paths)
    if paths:
        with _explaining(paths[0]), contextlib.suppress(FileNotFoundError):
            _client(paths[0].root).delete([path.key for path in paths])


def copy(source: StorePath, target: StorePath) -> None:
    """Copies an object within its bucket."""
    with _explaining(source):
        _client(source.root).copy(source.key, target.key)


def _client(root: str) -> Any:
    """Returns this process's client of a bucket.

    Raises:
      RuntimeError: the process was forked from one that has a client, whose threads
        it lacks: it would wait for them for ever.
    """
    global _owner
    if _owner not in (0, os.getpid()):
        raise RuntimeError(
            "a process that was forked from one with clients of a store can't have its "
            "own"
        )
    if root not in _clients:
        try:
            from obstore.store import from_url
        except ImportError:
            raise UserError(
                f"{root} needs obstore, which is not installed: "
                "pip install 'reviewbeam[stores]'."
            ) from None
        _owner = os.getpid()
        # Whoever names an endpoint without TLS means it.
        plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
        options = _TIMEOUTS | ({"allow_http": True} if plain else {})
        _clients[root] = from_url(root, client_options=options, retry_config=_RETRY)
    return _clients[root]


def _tag(meta: Any) -> dict[str, str]:
    return {key: meta[key] for key in ("e_tag", "version") if meta[key] is not None}


@contextlib.contextmanager
def _explaining(path: StorePath) -> Iterator[None]:
    """Turns the library's failures into ours.

    Raises:
      FileNotFoundError: there is no such object.
      FileExistsError: there is one, and none was to be.
      ChangedError: another state of it was expected.
      UserError: no such bucket, or this user may not.
      ReviewbeamError: the store can't be reached, or fails.
    """
    try:
        yield
    except (UserError, OSError) as error:
        if not (isinstance(error, FileNotFoundError) and "NoSuchBucket" in str(error)):
            raise
        raise _no_bucket(path) from None
    except Exception as error:
        kind, text = type(error).__name__, str(error)
        if not type(error).__module__.startswith("obstore"):
            raise
        if kind == "AlreadyExistsError":
            raise FileExistsError(str(path)) from None
        if kind == "PreconditionError":
            raise ChangedError(str(path)) from None
        what = " ".join(text.partition("Debug source:")[0].split())[:300]
        if kind in ("PermissionDeniedError", "UnauthenticatedError"):
            raise UserError(
                f"{path.root} refuses the credentials that it was given: {what}"
            ) from None
        if "NoSuchBucket" in text:
            raise _no_bucket(path) from None
        if any(word in text.lower() for word in _NO_CREDENTIALS):
            raise UserError(
                f"No credentials for {path.root}: {what}. Set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY (or GOOGLE_APPLICATION_CREDENTIALS, "
                "AZURE_STORAGE_ACCOUNT_KEY)."
            ) from None
        raise ReviewbeamError(f"{path} can't be reached: {what}") from None


def _no_bucket(path: StorePath) -> UserError:
    return UserError(f"There is no bucket {path.root}. Make it, or name another one.")
