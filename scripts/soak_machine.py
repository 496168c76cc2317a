"""What a soak runs on: folders, configs, a disk that can be full, the real commands."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOM = 64_000  # bytes that are left on a full disk


class Machine:
    """Folders of a soak, and the commands that cron would run there."""

    def __init__(self, work: Path):
        self.work = work
        self.incoming, self.scores = work / "incoming", work / "scores"
        self.models, self.alerts = work / "models", work / "alerts.txt"
        self.labelled = work / "labelled" / "reviews.jsonl"

    def set_up(self) -> None:
        """Makes the folders, the file system of the scores, an encoder, the configs."""
        for folder in (self.scores, self.incoming):
            folder.mkdir(parents=True)
        self.alerts.touch()
        mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "soak", str(self.scores)]
        subprocess.run(mount, check=True)
        encoder = str(self.work / "encoder")
        maker = ROOT / "tests" / "testdata" / "make_tiny_encoder.py"
        options = ["--hidden", "32", "--layers", "1"]
        subprocess.run([sys.executable, maker, encoder, *options], check=True)
        for name, config in self._configs(encoder).items():
            (self.work / f"{name}.yaml").write_text(json.dumps(config))  # YAML too

    def _configs(self, encoder: str) -> dict[str, dict]:
        columns = {"id": "id", "text": "text", "language": "language"}
        inference = {"engine": "tensorflow", "batch_tokens": 4096}
        prepare = {
            "input": [str(self.labelled)],
            "encoder": encoder,
            "columns": columns | {"label": "label"},
            "labels": {
                "type": "multiclass",
                "names": ["negative", "neutral", "positive"],
                "mapping": dict(zip("12345", ["negative"] * 2 + ["neutral"]
                                    + ["positive"] * 2, strict=True)),
            },
            "text": {"max_tokens": 64},
            "split": {"validation": 0.15, "test": 0.25},
        }  # fmt: skip
        train = {
            "encoder": encoder,
            "model": {"freeze_embeddings": False, "freeze_layers": 0},
            "training": {"epochs": 3, "batch_tokens": 2048, "learning_rate": 0.005},
        }
        blessing = {
            "min": {"macro_f1": 0.35},
            "must_not_lose": {"metric": "macro_f1", "margin": 0.02},
            "min_rows": 100,
        }
        evaluate = {"bootstrap": {"resamples": 200}, "blessing": blessing}
        return {
            "retrain": {
                "models": str(self.models),
                "output": str(self.work / "weeks"),
                "prepare": prepare,
                "train": train,
                "evaluate": evaluate | {"inference": inference},
            },
            "score": {
                "columns": columns,
                "rules": {"max_reject_fraction": 0.3},
                "inference": inference | {"chunk_rows": 64},
                "drift": {"fatal": ["language"]},
            },
        }

    def score(self, *options: str, meanwhile: Callable | None = None) -> list:
        """Runs the nightly command; returns the exit codes of its attempts."""
        return self._scheduled(
            *("score", "--config", self.work / "score.yaml", "--model", self.models),
            *("--input", self.incoming / "**", "--output", self.scores, *options),
            meanwhile=meanwhile,
        )

    def retrain(self, week: int, *options: str) -> list:
        """Runs the weekly command; returns the exit codes of its attempts."""
        output = f"output={self.work / 'weeks' / str(week)}"
        config = self.work / "retrain.yaml"
        return self._scheduled("run", "--config", config, "--set", output, *options)

    def _scheduled(self, *command: object, meanwhile: Callable | None = None) -> list:
        settings = {
            "PATH": f"{os.environ['PATH']}:{Path(sys.executable).parent}",
            "REVIEWBEAM_ALERT": f"cat >>{self.alerts}",
            "REVIEWBEAM_LOGS": str(self.work / "logs"),
            "REVIEWBEAM_ATTEMPTS": "2",
            "REVIEWBEAM_PAUSE": "0",
        }
        before = len(self.results())
        process = subprocess.Popen(
            [ROOT / "scripts" / "scheduled.sh", *map(str, command)],
            env=os.environ | settings,
            start_new_session=True,
        )
        if meanwhile:
            meanwhile(process)
        process.wait()
        if process.returncode == -signal.SIGKILL:
            return ["killed"]
        return [result["exit_code"] for result in self.results()[before:]]

    def when_staged(self, pattern: str, count: int, act: Callable) -> Callable:
        """Makes what waits until so many such files are staged, and then acts."""

        def wait(process: subprocess.Popen) -> None:
            while process.poll() is None:
                if len(list(self.scores.glob(f"_staged/*/{pattern}"))) >= count:
                    return act(process)
                time.sleep(0.001)

        return wait

    def fill_disk(self) -> Path:
        """Leaves the disk of the scores some bytes; returns what fills it."""
        ballast = self.scores / ".ballast"
        with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        os.truncate(ballast, ballast.stat().st_size - ROOM)
        return ballast

    def results(self) -> list[dict]:
        """Returns what is kept of each attempt that came to an end."""
        path = self.work / "logs" / "results.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def manifest(self) -> bytes | None:
        """Returns the manifest of the scores as it is."""
        path = self.scores / "_manifest.json"
        return path.read_bytes() if path.exists() else None

    def serving(self) -> Path:
        """Returns the model in service."""
        name = json.loads((self.models / "SERVING").read_text())["current"]
        return self.models / name


def kill(process: subprocess.Popen) -> None:
    """Kills a command and all that it has started, and waits for their end."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    with contextlib.suppress(ProcessLookupError):
        while True:
            os.killpg(process.pid, 0)
            time.sleep(0.01)
