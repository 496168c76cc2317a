"""What a notebook does instead of `reviewbeam prepare`: datasets, tokenizer, TFRecord.

Loads JSON Lines with Hugging Face `datasets`, tokenizes with the fast tokenizer in
several processes, and writes tf.Examples of token_ids, label, id, language and text
with `tf.io.TFRecordWriter`. It neither checks the rows nor drops duplicates, splits or
describes them. Prints one line of JSON: what it wrote, and the seconds of each step.

    python prepare_datasets.py --encoder DIR --output FOLDER FILE...
"""

import argparse
import functools
import json
import multiprocessing
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
_started = time.monotonic()

import datasets  # noqa: E402
import tensorflow as tf  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

_CLASSES = {"negative": 0, "neutral": 1, "positive": 2}
_COLUMNS = ("id", "text", "language", "label")


def main() -> None:
    arguments = _arguments()
    seconds = {"imports": time.monotonic() - _started}
    datasets.disable_progress_bars()
    # Threads in several processes of map() would only compete.
    os.environ["TOKENIZERS_PARALLELISM"] = json.dumps(arguments.processes == 1)
    start = time.monotonic()
    reviews = datasets.load_dataset(
        "json",
        data_files=arguments.files,
        split="train",
        num_proc=arguments.processes,
    ).select_columns(list(_COLUMNS))
    seconds["load"] = time.monotonic() - start

    start = time.monotonic()
    reviews = reviews.map(
        tokenize,
        batched=True,
        num_proc=arguments.processes,
        fn_kwargs={"encoder": arguments.encoder, "max_tokens": arguments.max_tokens},
    )
    seconds["map"] = time.monotonic() - start

    start = time.monotonic()
    output = Path(arguments.output)
    output.mkdir(parents=True)
    if arguments.writers == 1:
        tokens = write(reviews, output / "reviews.tfrecord", arguments.compression)
    else:
        shards = [
            (
                reviews.shard(arguments.writers, index, contiguous=True),
                output / f"reviews-{index:05d}.tfrecord",
                arguments.compression,
            )
            for index in range(arguments.writers)
        ]
        with multiprocessing.Pool(arguments.writers) as pool:
            tokens = sum(pool.starmap(write, shards))
    seconds["write"] = time.monotonic() - start
    seconds = {step: round(value, 2) for step, value in seconds.items()}
    facts = {"examples": len(reviews), "tokens": tokens, "seconds": seconds}
    print(json.dumps(facts))


def tokenize(batch: dict, encoder: str, max_tokens: int) -> dict:
    """Adds token ids and the number of the class to a batch of rows."""
    encoded = load_tokenizer(encoder)(
        batch["text"],
        truncation=True,
        max_length=max_tokens,
        return_attention_mask=False,
    )
    labels = [_CLASSES[label] for label in batch["label"]]
    return {"token_ids": encoded["input_ids"], "label": labels}


@functools.cache
def load_tokenizer(encoder: str):
    """Loads the tokenizer once in a process.

    In a closure, as in most notebooks, map() would hash and pickle its vocabulary piece
    by piece, which takes seconds more.
    """
    return AutoTokenizer.from_pretrained(encoder, use_fast=True)


def write(reviews: datasets.Dataset, path: Path, compression: str) -> int:
    """Writes one file of tf.Examples; returns the number of tokens in it."""
    tokens = 0
    with tf.io.TFRecordWriter(os.fspath(path), compression) as writer:
        for batch in reviews.iter(batch_size=1000):
            columns = (batch[name] for name in (*_COLUMNS, "token_ids"))
            for key, text, language, label, token_ids in zip(*columns, strict=True):
                feature = {
                    "token_ids": _integers(token_ids),
                    "label": _integers([label]),
                    "id": _bytes(key),
                    "language": _bytes(language),
                    "text": _bytes(text),
                }
                example = tf.train.Example(features=tf.train.Features(feature=feature))
                writer.write(example.SerializeToString())
                tokens += len(token_ids)
    return tokens


def _integers(values: list[int]) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def _bytes(value: str) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", metavar="FILE", help="JSON Lines")
    parser.add_argument("--encoder", required=True, help="directory of the tokenizer")
    parser.add_argument("--output", required=True, help="folder to make")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--processes", type=int, default=2, help="of load and map")
    parser.add_argument("--writers", type=int, default=1, help="processes that write")
    parser.add_argument("--compression", choices=["GZIP", ""], default="GZIP")
    return parser.parse_args()


if __name__ == "__main__":
    main()
