"""What a Flink cluster costs and gives: the same jobs on it and on one machine.

`prepare` and `score` run on corpora of two sizes, on the embedded runner and on the
cluster of --beam, with 1 and 2 processes or slots (--processes). Two sizes give a
straight line: the fixed cost of a job, and its cost by row. All outputs of a size must
hold the same bytes, else the figures are worth nothing and the script fails. The corpus
is that of prepare.py.

    scripts/flink/up --task-managers 2 --slots 1
    python scripts/benchmarks/cluster.py --corpus 'reviews/*.jsonl.gz' \
        --encoder runs/encoder --model MODEL --work /tmp/cluster \
        --beam runs/flink/beam.yaml --sizes 50000,250000

The plan takes the rate of the cluster as it was measured, with its slots, and says how
many of such slots a night of 8 hours takes.
"""

import argparse
import hashlib
import itertools
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from prepare import make_corpus

_REVIEWBEAM = Path(sys.executable).with_name("reviewbeam")
_UNTOLD = ("run.json", "_run.json", "statistics.tfrecord")
_PLANNED = (100_000_000, 1_000_000_000)  # reviews of a night
_NIGHT = 8 * 3600.0  # seconds


def main() -> None:
    """Measures, and prints the figures."""
    arguments = _arguments()
    work = Path(arguments.work).resolve()
    work.mkdir(parents=True, exist_ok=True)
    sizes = sorted(set(map(int, arguments.sizes.split(","))))
    if len(sizes) < 2:
        raise SystemExit(f"--sizes {arguments.sizes}: a line takes two sizes or more.")
    runs: dict[tuple[str, str], dict[int, float]] = {}
    for job in arguments.jobs.split(","):
        for rows in sizes:
            files = make_corpus(arguments.corpus, rows, arguments.files, work)
            command = _command(job, arguments, work, files)
            digests = set()
            for name, options in _places(arguments, work).items():
                seconds = []
                for _ in range(arguments.repeat):
                    output = work / "output"
                    shutil.rmtree(output, ignore_errors=True)
                    begun = time.monotonic()
                    _run([*command, "--output", str(output), *options])
                    seconds.append(time.monotonic() - begun)
                    digests.add(_digest(output))
                median = statistics.median(seconds)
                runs.setdefault((job, name), {})[rows] = median
                print(f"{job:8} {rows:>9,} rows  {name:18} {median:7.1f} s", flush=True)
            if len(digests) > 1:
                raise SystemExit(f"{job} of {rows} rows: {len(digests)} outputs")
    report = [_line(*key, seconds) for key, seconds in runs.items()]
    for line in report:
        print(
            f"{line['job']:8} {line['where']:18} fixed {line['fixed']:5.1f} s, "
            f"{line['rows_per_second']:8,.0f} rows/s"
        )
    for line, reviews in itertools.product(report, _PLANNED):
        if line["where"].startswith("flink"):
            slots = reviews / line["rows_per_second"] / _NIGHT * line["processes"]
            print(
                f"{line['job']:8} {reviews:>13,} reviews in 8 h at the rate of "
                f"{line['where']}: {max(1, slots):,.1f} slots"
            )
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr, end="", file=sys.stderr)
        raise SystemExit(f"exit code {done.returncode}: {shlex.join(command)}")


def _line(job: str, where: str, seconds: dict[int, float]) -> dict[str, Any]:
    (few, first), (many, last) = min(seconds.items()), max(seconds.items())
    each = (last - first) / (many - few)
    return {
        "job": job,
        "where": where,
        "processes": int(where[-1]),
        "seconds": seconds,
        "fixed": first - few * each,
        "rows_per_second": 1 / each,
    }


def _places(arguments: argparse.Namespace, work: Path) -> dict[str, list[str]]:
    """Returns where a job runs -> options of the command line."""
    places = {}
    counts = [int(count) for count in arguments.processes.split(",")]
    for count in counts:
        mode = "multi_processing" if count > 1 else "in_memory"
        places[f"embedded, {count}"] = [
            f"--direct_num_workers={count}",
            f"--direct_running_mode={mode}",
        ]
    for count in counts:
        options = yaml.safe_load(Path(arguments.beam).read_text())
        file = work / f"flink-{count}.yaml"
        file.write_text(yaml.safe_dump(options | {"parallelism": count}))
        places[f"flink, {count}"] = ["--beam", str(file)]
    return places


def _command(
    job: str, arguments: argparse.Namespace, work: Path, files: list[str]
) -> list[str]:
    config: dict[str, Any] = {
        "columns": {"text": "text", "id": "id", "language": "language"}
    }
    if job == "prepare":
        names = ["negative", "neutral", "positive"]
        config["encoder"] = os.path.abspath(arguments.encoder)
        config["columns"]["label"] = "label"
        config["labels"] = {"type": "multiclass", "names": names}
        config["text"] = {"max_tokens": 128}
    else:
        # Chosen once for all, as a nightly output has it.
        config["inference"] = {
            "engine": arguments.engine,
            "batch_tokens": arguments.batch_tokens,
            "chunk_rows": arguments.chunk_rows,
        }
    path = work / f"{job}.yaml"
    path.write_text(yaml.safe_dump(config | {"input": files}))
    model = ["--model", os.path.abspath(arguments.model)] if job == "score" else []
    return [str(_REVIEWBEAM), job, "--config", str(path), *model]


def _digest(output: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(output.rglob("*")):
        if path.is_file() and path.name not in _UNTOLD:
            digest.update(path.relative_to(output).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", required=True, help="glob of JSON Lines")
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--beam", required=True, help="options of the cluster")
    parser.add_argument("--work", required=True, help="folder for all files")
    parser.add_argument("--jobs", default="prepare,score")
    parser.add_argument("--sizes", default="50000,250000", help="two or more")
    parser.add_argument("--files", type=int, default=8, help="of a corpus")
    parser.add_argument("--processes", default="1,2", help="of each runner; slots")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--engine", default="tensorflow")
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--chunk-rows", type=int, default=4096)
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
