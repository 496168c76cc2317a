"""Runs of the command line in processes of their own, which a test may kill.

They are forked from a server that has imported everything, so that a run costs what
its work costs.
"""

import contextlib
import ctypes
import hashlib
import json
import multiprocessing
import os
import random
import signal
import sys
import time
import zlib
from pathlib import Path

import yaml

from tests.testdata.make_tiny_encoder import SENTENCES

UNTOLD = ("run.json", "statistics.tfrecord")  # may differ between equal runs
_JOBS = multiprocessing.get_context("forkserver")
_JOBS.set_forkserver_preload(
    [
        "reviewbeam.pipelines.prepare",
        "reviewbeam.pipelines.score",
        "reviewbeam.components.trainer.train",
    ]
)
_CLONE_NEWNS, _MS_RDONLY, _MS_REMOUNT, _MS_PRIVATE = 0x20000, 1, 32, 1 << 18 | 1 << 14
_libc = ctypes.CDLL(None, use_errno=True)

# How Beam's embedded runner works.
ONE_THREAD = ["--direct_running_mode=in_memory"]
THREADS = ["--direct_running_mode=multi_threading", "--direct_num_workers=4"]
PROCESSES = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]


class Launch:
    """A run of `reviewbeam` in a process group of its own."""

    def __init__(self, folder, *arguments, before=None, after=None):
        """Starts the run.

        Args:
          folder: for its standard error.
          *arguments: of the command line.
          before: is called by the process before the command line.
          after: the same behind it; what it returns is `result`.
        """
        self._log = Path(folder) / "stderr.txt"
        self._result = Path(folder) / "result.json"
        self._process = _JOBS.Process(
            target=_run,
            args=(
                [str(argument) for argument in arguments],
                self._log,
                self._result,
                before,
                after,
            ),
        )
        self._process.start()

    def kill_when(self, happened, how=signal.SIGKILL):
        """Kills the process group when something is the case; False: it never was."""
        while not (now := happened()) and self._process.is_alive():
            time.sleep(0.001)
        if self._process.is_alive():
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.killpg(self._process.pid, how)
        return now

    def end(self, seconds=120):
        """Waits, and returns the exit code (of a signal below zero)."""
        self._process.join(seconds)
        assert not self._process.is_alive()
        return self._process.exitcode

    @property
    def is_alive(self):
        return self._process.is_alive()

    @property
    def pid(self):
        return self._process.pid

    @property
    def err(self):
        return self._log.read_text(encoding="utf-8")

    @property
    def result(self):
        return json.loads(self._result.read_text())


def _run(arguments, log, result, before, after):
    os.setpgid(0, 0)
    sys.stdout.flush()
    with open(log, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from reviewbeam.pipelines import cli

    if before:
        before()
    sys.argv[1:] = arguments
    code = cli._main(None)
    sys.stdout.flush()
    if after:
        result.write_text(json.dumps(after()))
    sys.stdout.flush()
    os._exit(code)


def without_privileges():
    """Makes root an owner like any other: permissions hold for it too."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)()))


def mount_memory(folder, size, read_only=False):
    """Mounts a file system in memory that no other process sees.

    Raises:
      OSError: this process may not.
    """
    _check(_libc.unshare(_CLONE_NEWNS))
    _check(_libc.mount(None, b"/", None, _MS_PRIVATE, None))
    flags = _MS_RDONLY if read_only else 0
    options = f"size={size}".encode()
    _check(_libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", flags, options))


def resize_memory(folder, size):
    options = f"size={size}".encode()
    _check(_libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", _MS_REMOUNT, options))


def _check(status):
    if status:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def digests(folder):
    """Name -> SHA-256 of all that equal runs write alike."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and path.name not in UNTOLD
    }


def write_corpus(folder, rows=360):
    """Writes reviews of every kind: plain, nested and cut short; the same each time."""
    random_ = random.Random(5)
    lines = [
        json.dumps(r, ensure_ascii=False).encode() for r in _reviews(rows, random_)
    ]
    lines[10:10] = [b"{broken", b'{"text": " ", "label": "neutral"}', b""]
    lines[-9:-9] = [b'{"text": "a\xff", "label": "great"}']
    third = len(lines) // 3
    (folder / "deep").mkdir(parents=True)
    (folder / "one.jsonl").write_bytes(b"\n".join(lines[:third]))
    (folder / "deep" / "two.jsonl").write_bytes(b"\r\n".join(lines[-third:]) + b"\n")
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(b"\n".join(lines[third:-third])) + packer.flush()
    (folder / "cut.jsonl.gz").write_bytes(packed[: len(packed) * 3 // 4])
    return folder


def _reviews(rows, random_):
    texts = []
    for row in range(rows):
        if texts and random_.random() < 0.2:  # a copy, its label as it comes
            text, author = random_.choice(texts)
        else:
            text, author = " ".join(random_.sample(SENTENCES, 2)), f"a{row % 40}"
            texts.append((text, author))
        yield {
            "id": f"r{random_.randrange(2 * rows)}",  # some twice
            "text": text,
            "label": random_.choice(["negative", "neutral", "positive"]),
            "language": random_.choice([None, "", "de", "en", "fr"]),
            "author": author,
            "product": random_.choice(["lamp", None]),
            # Most authors wrote before the days of the test.
            "at": f"2024-{1 + row % 40 // 4:02d}-{random_.randrange(1, 29):02d}",
        }


def everything(encoder, corpus):
    """Config data with every step of prepare at work."""
    return {
        "encoder": str(encoder),
        "input": [f"{corpus}/**"],
        "columns": {
            "text": "text",
            "id": "id",
            "language": "language",
            "label": "label",
            "keep": ["product"],
        },
        "labels": {"type": "multiclass", "names": ["negative", "neutral", "positive"]},
        "text": {
            "max_tokens": 32,
            "truncate": "head_tail",
            "unicode": "NFKC",
            "language": "detect",
        },
        "rules": {"actions": {"id_repeated": "reject"}},
        "on_damaged_file": "salvage",
        "split": {
            "group_by": "author",
            "time_column": "at",
            "test_days": 60,
            "validation": 0.2,
        },
        "augment": {
            "copies": 1,
            "delete_words": 0.1,
            "swap_words": 0.1,
            "subword_alpha": 0.3,
        },
    }


def write_yaml(path, data):
    path.write_text(yaml.safe_dump(data))
    return path
