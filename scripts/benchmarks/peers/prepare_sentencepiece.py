"""The bound of any tokenizing job: SentencePiece alone, on texts in memory.

Only the calls of `encode` count as its seconds; reading the files is not among them.
Prints one line of JSON.

    python prepare_sentencepiece.py --encoder DIR --threads 2 FILE...
"""

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path

import sentencepiece


def main() -> None:
    arguments = _arguments()
    model = Path(arguments.encoder, "sentencepiece.bpe.model")
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    examples = tokens = 0
    seconds = 0.0
    texts = _texts(arguments.files)
    while batch := list(itertools.islice(texts, arguments.batch)):
        start = time.perf_counter()
        encoded = processor.encode(batch, num_threads=arguments.threads)
        seconds += time.perf_counter() - start
        examples += len(batch)
        tokens += sum(map(len, encoded))
    facts = {
        "examples": examples,
        "tokens": tokens,
        "seconds": {"encode": round(seconds, 3)},
    }
    print(json.dumps(facts))


def _texts(files: list[str]) -> Iterator[str]:
    for path in files:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)["text"]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", metavar="FILE", help="JSON Lines")
    parser.add_argument("--encoder", required=True, help="holds the vocabulary")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4096, help="texts in a call")
    return parser.parse_args()


if __name__ == "__main__":
    main()
