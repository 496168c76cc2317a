"""Holds `reviewbeam prepare` against what a user would write instead, start to end.

The corpus is the rows of --corpus, shuffled and repeated up to each of --sizes, in
plain JSON Lines. Each row gets an id and a last word of its own, so that no two texts
are the same, and a made-up label: no speed depends on it. Memory holds the rows of
--corpus, whatever the size.

  reviewbeam      validates, tokenizes, drops duplicates, splits, describes and writes
  datasets        peers/prepare_datasets.py: tokenizes and writes, in one split
  sentencepiece   peers/prepare_sentencepiece.py on 1 and on 2 threads: tokenizes only;
                  its own `encode` seconds are a bound

reviewbeam and datasets take turns at beginning a pair. The memory of a run is the
sum over its processes, sampled: PSS, its anonymous part (without mapped files, which
the system may drop), and the largest RSS of one process. `written` is what reached the
file system, temporary files included; `output` is what remains; `others` are cores that
were busy with something else, which spoils a run.

    python scripts/benchmarks/prepare.py --corpus 'reviews/*.jsonl.gz' \
        --encoder runs/encoder --work /tmp/prepare --sizes 10000,100000 --pairs 3
"""

import argparse
import glob
import gzip
import hashlib
import json
import math
import os
import platform
import random
import shlex
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from peers.environment import peer_environment, variables, versions
from peers.measure import measure

PEERS = Path(__file__).parent / "peers"
_CLASSES = ("negative", "neutral", "positive")
_FIELDS = ("id", "text", "language", "label")
_MEGABYTE = 1e6
_COLUMNS = (  # heading, key of a run, divisor
    ("wall s", "wall", 1),
    ("CPU s", "cpu", 1),
    ("cores", "cores", 1),
    ("PSS MB", "pss", _MEGABYTE),
    ("anon MB", "anonymous", _MEGABYTE),
    ("RSS MB", "rss", _MEGABYTE),
    ("written MB", "written", _MEGABYTE),
    ("output MB", "output", _MEGABYTE),
)
_KEYS = [key for _, key, _ in _COLUMNS]


def main() -> None:
    """Runs every size and prints its figures."""
    arguments = _arguments()
    work = Path(arguments.work).resolve()
    work.mkdir(parents=True, exist_ok=True)
    python = None if arguments.skip_peer else peer_environment(work / "peers")
    report = {"machine": machine(arguments, python), "sizes": {}}
    print(json.dumps(report["machine"], indent=1))
    for rows in map(int, arguments.sizes.split(",")):
        files = make_corpus(arguments.corpus, rows, arguments.files, work)
        megabytes = sum(os.path.getsize(file) for file in files) / _MEGABYTE
        print(f"\n{rows} rows, {megabytes:.0f} MB in {len(files)} files", flush=True)
        report["sizes"][rows] = measure_size(arguments, work, files, python)
        if arguments.json:
            Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n")


def make_corpus(pattern: str, rows: int, parts: int, work: Path) -> list[str]:
    """Writes the corpus of a size unless it stands; returns its files."""
    sources = sorted(glob.glob(pattern))
    if not sources:
        raise SystemExit(f"--corpus {pattern!r} matches no file.")
    stats = [(name, os.path.getsize(name)) for name in sources]
    key = hashlib.sha256(repr((2, stats, rows, parts)).encode()).hexdigest()[:12]
    folder = work / f"corpus-{rows}-{key}"
    names = [f"reviews-{index}.jsonl" for index in range(parts)]
    if not folder.exists():
        staging = Path(f"{folder}.unfinished")
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        base = [row for name in sources for row in _read(name)]
        random.Random(7).shuffle(base)
        outputs = [open(staging / name, "w", encoding="utf-8") for name in names]
        for number in range(rows):
            review = dict(base[number % len(base)], label=_CLASSES[number % 3])
            review["id"] = f"{review['id']}/{number}"
            review["text"] += f" {_word(number)}"
            line = json.dumps(review, ensure_ascii=False)
            outputs[number % parts].write(line + "\n")
        for output in outputs:
            output.close()
        staging.rename(folder)
    return [str(folder / name) for name in names]


def _read(name: str) -> list[dict[str, Any]]:
    opened = gzip.open if name.endswith(".gz") else open
    with opened(name, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [{field: row.get(field) for field in _FIELDS} for row in rows]


def _word(number: int) -> str:
    """Spells a number in syllables, such as `bekami`."""
    word = ""
    while not word or number:
        number, digit = divmod(number, 70)
        word += "bdfgklmnprstvz"[digit // 5] + "aeiou"[digit % 5]
    return word


def machine(arguments: argparse.Namespace, peer: str | None) -> dict[str, Any]:
    """Returns what the figures depend on."""
    cpu = [line for line in open("/proc/cpuinfo") if line.startswith("model name")]
    facts = {
        "cpu": cpu[0].split(":")[1].strip() if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory GB": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 10**9,
        "system": platform.platform(),
        "load": os.getloadavg()[0],
        "options": {"reviewbeam": arguments.ours, "datasets": arguments.peer},
    }
    facts["reviewbeam"] = versions(str(Path(arguments.reviewbeam).with_name("python")))
    return facts | ({"peers": versions(peer)} if peer else {})


def measure_size(
    arguments: argparse.Namespace, work: Path, files: list[str], peer: str | None
) -> dict[str, Any]:
    """Runs all contenders on one corpus; returns and prints runs and medians."""
    commands = {"reviewbeam": _reviewbeam(arguments, work, files)}
    bounds = {}
    if peer:
        encoder = ["--encoder", str(Path(arguments.encoder).resolve())]
        command = [peer, str(PEERS / "prepare_datasets.py"), *encoder, *files]
        command += ["--output", "{output}", f"--max-tokens={arguments.max_tokens}"]
        commands["datasets"] = [*command, *shlex.split(arguments.peer)]
        bare = [peer, str(PEERS / "prepare_sentencepiece.py"), *encoder, *files]
        bounds = {f"sentencepiece-{n}": [*bare, f"--threads={n}"] for n in (1, 2)}
    runs = {name: [] for name in [*commands, *bounds]}
    print(f"{'':24}" + "".join(f"{heading:>12}" for heading, *_ in _COLUMNS))
    for pair in range(arguments.pairs):
        turns = list(commands) if pair % 2 == 0 else list(commands)[::-1]
        for name in [*turns, *bounds]:
            run = run_once(name, (commands | bounds)[name], work / "run")
            runs[name].append(run)
            _line(f"{name} {pair + 1}", run)
            print(f"{'':4}{json.dumps(run['facts'])}", flush=True)
    medians = {name: _medians(done) for name, done in runs.items()}
    for name, values in medians.items():
        _line(f"median {name}", values)
    result = {"runs": runs, "medians": medians}
    return result | (_compare(runs, medians) if peer else {})


def _compare(runs: dict[str, list], medians: dict[str, dict]) -> dict[str, Any]:
    """Returns and prints the peer's figures as multiples of ours."""
    pairs = zip(runs["reviewbeam"], runs["datasets"], strict=True)
    of_medians = _ratios(medians["reviewbeam"], medians["datasets"])
    of_pairs = _medians([_ratios(ours, theirs) for ours, theirs in pairs])
    _line("datasets / reviewbeam", of_medians, 1)
    _line("median of the pairs'", of_pairs, 1)
    return {"ratio of medians": of_medians, "median of ratios": of_pairs}


def _medians(runs: list[dict[str, Any]]) -> dict[str, float]:
    return {key: statistics.median(run[key] for run in runs) for key in _KEYS}


def _ratios(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float]:
    return {key: theirs[key] / ours[key] if ours[key] else math.nan for key in _KEYS}


def _line(title: str, values: dict[str, float], unit: int | None = None) -> None:
    cells = (f"{values[key] / (unit or scale):12.2f}" for _, key, scale in _COLUMNS)
    print(f"{title:24}" + "".join(cells), flush=True)


def _reviewbeam(options: argparse.Namespace, work: Path, files: list[str]) -> list[str]:
    config = {
        "encoder": str(Path(options.encoder).resolve()),
        "columns": {field: field for field in _FIELDS},
        "labels": {"type": "multiclass", "names": _CLASSES},
        "text": {"max_tokens": options.max_tokens},
    }
    path = work / "prepare.yaml"
    path.write_text(json.dumps(config))  # JSON is YAML.
    command = [options.reviewbeam, "prepare", "--config", str(path)]
    command += [part for file in files for part in ("--input", file)]
    return [*command, "--output", "{output}", *shlex.split(options.ours)]


def run_once(name: str, command: list[str], folder: Path) -> dict[str, Any]:
    """Runs a contender in a fresh folder, which goes again when it succeeded."""
    shutil.rmtree(folder, ignore_errors=True)
    output, temporary = folder / "output", folder / "tmp"
    temporary.mkdir(parents=True)
    environment = variables(
        alone=name != "reviewbeam",
        TMPDIR=str(temporary),
        HF_HOME=str(folder / "hf"),
        HF_HUB_OFFLINE="1",
    )
    command = [part.replace("{output}", str(output)) for part in command]
    run: dict[str, Any] = measure(command, environment, folder)
    run["output"] = sum(file.stat().st_size for file in output.rglob("*"))
    run["facts"] = _facts(output, folder / "stdout")
    run["facts"]["others"] = round(run.pop("others"), 2)
    shutil.rmtree(folder)
    return run


def _facts(output: Path, stdout: Path) -> dict[str, Any]:
    """Returns what a run says of itself: examples, tokens, and a peer's seconds."""
    if (output / "manifest.json").exists():
        splits = json.loads((output / "manifest.json").read_text())["splits"].values()
        return {key: sum(s[key] for s in splits) for key in ("examples", "tokens")}
    return json.loads(stdout.read_text().splitlines()[-1])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    beside = str(Path(sys.executable).with_name("reviewbeam"))
    add("--corpus", required=True, metavar="GLOB", help="JSON Lines, .gz or not")
    add("--encoder", required=True, metavar="DIR", help="made by `reviewbeam encoder`")
    add("--work", required=True, metavar="FOLDER", help="corpora and environment stay")
    add("--sizes", default="10000,100000", metavar="N,…", help="rows")
    add("--pairs", type=int, default=3, metavar="K")
    add("--files", type=int, default=4, metavar="N", help="files of a corpus")
    add("--max-tokens", type=int, default=256, metavar="N")
    add("--reviewbeam", default=beside, metavar="COMMAND")
    add("--ours", default="", metavar="OPTIONS", help="Beam's, as --ours='--a=b --c'")
    add("--peer", default="", metavar="OPTIONS", help="of peers/prepare_datasets.py")
    add("--skip-peer", action="store_true", help="measure reviewbeam alone")
    add("--json", metavar="FILE", help="write the figures there too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
