"""What the peers of `reviewbeam score` share: files, token ids, batches, the clock."""

import argparse
import json
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

_PAD = 1
_started = time.perf_counter()


def arguments(description: str) -> argparse.ArgumentParser:
    """Returns a parser of the options that all peers have."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    add = parser.add_argument
    add("--model", required=True, metavar="DIR", help="in the peer's format")
    add("--input", metavar="FILE", help="JSON Lines with id and text")
    add("--output", metavar="FILE", help="JSON Lines with id, label, probabilities")
    add("--max-tokens", type=int, default=128, metavar="N")
    add("--threads", type=int, default=2, metavar="N")
    return parser


def read(path: str) -> tuple[list[str], list[str]]:
    """Returns ids and texts."""
    with open(path, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [row["id"] for row in rows], [row["text"].strip() for row in rows]


def token_ids(options: argparse.Namespace, texts: list[str]) -> list[list[int]]:
    """Returns XLM-R's ids by SentencePiece, as fast as it goes."""
    import sentencepiece

    vocabulary = str(Path(options.vocabulary))
    processor = sentencepiece.SentencePieceProcessor(model_file=vocabulary)
    most = options.max_tokens - 2
    encoded = processor.encode(texts, num_threads=options.threads)
    return [
        [0, *(piece + 1 if piece else 3 for piece in pieces[:most]), 2]
        for pieces in encoded
    ]


def batches(rows: list[list[int]], budget: int) -> Iterator[np.ndarray]:
    """Cuts rows, the longest first, into batches of at most so many cells."""
    lengths = np.array([len(row) for row in rows])
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        end = start + max(1, budget // lengths[order[start]])
        yield order[start:end]
        start = end


def pad(rows: list[list[int]], batch: np.ndarray, dtype: type) -> np.ndarray:
    """Returns token ids, [rows, longest]."""
    chosen = [rows[row] for row in batch]
    padded = np.full((len(chosen), max(map(len, chosen))), _PAD, dtype)
    for line, row in zip(padded, chosen, strict=True):
        line[: len(row)] = row
    return padded


def score(
    options: argparse.Namespace, infer: Callable[[list[list[int]], np.ndarray], Any]
) -> None:
    """Reads, tokenizes, infers in batches sorted by length, and writes.

    Args:
      options: with vocabulary and batch_tokens.
      infer: from the token ids of all rows and the batch's to float32 [batch, classes].
    """
    job = Job()
    ids, texts = read(options.input)
    rows = token_ids(options, texts)
    parts, order, cells, seconds = [], [], 0, 0.0
    for batch in batches(rows, options.batch_tokens):
        cells += len(batch) * len(rows[batch[0]])
        begun = time.perf_counter()
        parts.append(infer(rows, batch))
        seconds += time.perf_counter() - begun
        order.append(batch)
    found = np.concatenate(parts)[np.argsort(np.concatenate(order))]
    tokens = sum(map(len, rows))
    padding = 1 - tokens / cells
    job.finish(options, ids, found, tokens=tokens, padding=padding, inference=seconds)


def write(path: str, ids: list[str], probabilities: np.ndarray) -> None:
    """Writes a line a review."""
    with open(path, "w", encoding="utf-8") as file:
        labels = probabilities.argmax(axis=1).tolist()
        for row in zip(ids, labels, probabilities.tolist(), strict=True):
            keys = ("id", "label", "probabilities")
            file.write(json.dumps(dict(zip(keys, row, strict=True))) + "\n")


class Job:
    """The clock of a job whose model is loaded."""

    def __init__(self):
        self.begun = time.perf_counter()

    def finish(
        self,
        options: argparse.Namespace,
        ids: list[str],
        probabilities: np.ndarray,
        **facts: Any,
    ) -> None:
        """Writes the scores; prints a line of JSON with the job's figures."""
        write(options.output, ids, probabilities)
        self.say(reviews=len(ids), **facts)

    def say(self, **facts: Any) -> None:
        """Prints the figures of a job whose scores are written."""
        facts["seconds"] = time.perf_counter() - self.begun
        facts["start"] = self.begun - _started
        usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(facts | {"peak": usage}))


jobs: list[Job] = []  # of a framework that loads the model itself
