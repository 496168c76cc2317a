"""Holds a fine-tuned model against its own encoder's frozen embeddings, on any corpus.

Reviews of one language are learned from; the other reviews of that language, and all
of the others, are the test. Both ways see the same rows, duplicates dropped:

  reviewbeam    prepare, train and evaluate, as a user runs them; with --validation
                a part of the training rows is for early stopping
  baseline      the masked mean of the encoder's last hidden states, scaled to length
                1, and a balanced logistic regression (C = 1) on top

    python scripts/benchmarks/quality.py --corpus 'reviews/*.jsonl.gz' \
        --set columns.label=stars --work /tmp/quality
"""

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, recall_score

from reviewbeam.components.common.config import load_config
from reviewbeam.components.common.encoder_directory import open_encoder
from reviewbeam.components.common.job_configs import EvaluateConfig
from reviewbeam.components.common.prepare_config import PrepareConfig
from reviewbeam.components.common.train_config import ModelConfig, TrainConfig
from reviewbeam.components.examples.keys import normalized_text
from reviewbeam.components.ingestion.files import find_files, slice_file
from reviewbeam.components.ingestion.read import SliceReader
from reviewbeam.components.trainer.dataset import open_dataset
from reviewbeam.components.trainer.input import Split, read_split
from reviewbeam.components.trainer.loop import predict_split
from reviewbeam.components.trainer.model import load_backbone, masked_mean
from reviewbeam.components.trainer.step import make_predict_step
from reviewbeam.components.trainer.train import train
from reviewbeam.components.validation.rules import ReviewRules
from reviewbeam.pipelines.evaluate import evaluate
from reviewbeam.pipelines.options import beam_options
from reviewbeam.pipelines.prepare import prepare

_COLUMNS = {"text": "text", "id": "id", "label": "label", "language": "language"}
_BATCH_TOKENS = 4096


def main() -> None:
    """Runs both ways and prints their figures side by side."""
    arguments = _arguments()
    work = Path(arguments.work)
    work.mkdir(parents=True)
    config = load_config(PrepareConfig, arguments.config, arguments.set)
    config = config.model_copy(update={"input": tuple(arguments.corpus)})
    seconds = {"start": time.monotonic()}
    reviews = distinct_reviews(config)
    learned, tested = divide(reviews, arguments.language, arguments.rows)
    options = beam_options([], None)
    datasets = {}
    shares = {"train": arguments.validation, "test": 0.0}
    for name, rows in (("train", learned), ("test", tested)):
        path = work / f"{name}.jsonl"
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path.write_text("".join(lines), encoding="utf-8")
        data = config.model_dump(mode="json") | {
            "input": [str(path)],
            "format": "jsonl",
            "columns": _COLUMNS,
            "split": {"validation": shares[name], "test": 0.0},
        }
        datasets[name] = work / f"{name}-dataset"
        prepare(PrepareConfig(**data), datasets[name], options)
    seconds["prepare"] = time.monotonic()
    changes = [f"encoder={config.encoder}", *arguments.train_set]
    if not arguments.validation:
        changes.append("training.early_stopping_metric=none")
    training = load_config(TrainConfig, arguments.train_config, changes)
    summary = train(training, datasets["train"], work / "model")
    seconds["train"] = time.monotonic()
    metrics, _ = evaluate(
        EvaluateConfig(split="train"),  # all of the test dataset
        work / "model",
        datasets["test"],
        work / "evaluation",
        options,
    )
    seconds["evaluate"] = time.monotonic()
    baseline = frozen_embeddings_baseline(config.encoder, datasets)
    seconds["baseline"] = time.monotonic()
    _report(metrics, baseline, summary, seconds)


def distinct_reviews(config: PrepareConfig) -> list[dict[str, Any]]:
    """Reads the usable reviews of a corpus, the first of each normalised text."""
    rules = ReviewRules(config.rules, config.labels)
    seen, reviews = set(), []
    for file in find_files(config):
        for piece in slice_file(file, config.slice_bytes):
            for batch in SliceReader(piece, config, 4096).batches():
                for row in rules.apply(batch).reviews.to_pylist():
                    key = normalized_text(row["text"])
                    if key not in seen:
                        seen.add(key)
                        reviews.append({name: row[name] for name in _COLUMNS})
    return reviews


def divide(
    reviews: list[dict[str, Any]], language: str, rows: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Draws the rows to learn from; all others are the test."""
    mine = [i for i, row in enumerate(reviews) if row["language"] == language]
    if len(mine) <= rows:
        raise SystemExit(
            f"{rows} rows to learn from, {len(mine)} distinct in {language}"
        )
    chosen = set(random.Random(7).sample(mine, rows))
    learned = [row for i, row in enumerate(reviews) if i in chosen]
    return learned, [row for i, row in enumerate(reviews) if i not in chosen]


def frozen_embeddings_baseline(
    encoder: str, datasets: dict[str, Path]
) -> dict[str, dict[str, Any]]:
    """Returns figures by language of a logistic regression on frozen embeddings.

    Args:
      encoder: directory of the encoder.
      datasets: `train`, whose train and validation splits are fitted on, and `test`,
        whose train split is tested on.
    """
    model = mean_embeddings_model(encoder)
    parts = [_read(datasets["train"], name) for name in ("train", "validation")]
    learned = [split for split in parts if len(split)]
    tested = _read(datasets["test"], "train")
    classifier = LogisticRegression(C=1.0, class_weight="balanced", max_iter=5000)
    classifier.fit(
        np.concatenate([embed(model, split) for split in learned]),
        np.concatenate([split.labels for split in learned]),
    )
    predicted = classifier.predict(embed(model, tested))
    languages = read_languages(datasets["test"], "train")
    return scores_by_language(tested.labels, predicted, languages)


def mean_embeddings_model(encoder: str) -> keras.Model:
    """Returns a model from tokens to the masked mean of the last hidden states.

    The mean has length 1, as sentence embeddings have it: without that, the same
    regression is 2 to 3 points of macro F1 worse.
    """
    backbone = load_backbone(str(open_encoder(encoder).path), ModelConfig())
    mean = masked_mean(backbone.output, backbone.input["padding_mask"])
    return keras.Model(backbone.input, keras.ops.normalize(mean, axis=-1))


def embed(model: keras.Model, split: Split) -> np.ndarray:
    """Returns float32 [rows, width]."""
    predict = make_predict_step(tf.distribute.get_strategy(), model)
    return predict_split(predict, split, _BATCH_TOKENS)


def scores_by_language(
    labels: np.ndarray, predicted: np.ndarray, languages: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Returns rows, accuracy, macro F1 and recalls of each language."""
    scores = {}
    for language in sorted(set(languages)):
        chosen = languages == language
        true, guessed = labels[chosen], predicted[chosen]
        scores[language] = {
            "rows": len(true),
            "accuracy": accuracy_score(true, guessed),
            "macro_f1": f1_score(true, guessed, average="macro", zero_division=0),
            "recalls": recall_score(true, guessed, average=None, zero_division=0),
        }
    return scores


def read_languages(dataset: Path, name: str) -> np.ndarray:
    """Returns the language of each row of a split, in the order of `read_split`."""
    feature = {"language": tf.io.FixedLenFeature([], tf.string, default_value=b"")}
    shards = open_dataset(dataset).splits[name]["shards"]
    paths = [str(dataset / shard["name"]) for shard in shards]
    records = tf.data.TFRecordDataset(paths, compression_type="GZIP").batch(1024)
    parsed = records.map(lambda batch: tf.io.parse_example(batch, feature))
    return np.concatenate([b["language"].numpy() for b in parsed]).astype(str)


def _read(dataset: Path, name: str) -> Split:
    data = open_dataset(dataset)
    return read_split(dataset, name, data.splits[name], data.labels.names)


def _report(
    metrics: dict[str, Any],
    baseline: dict[str, Any],
    summary: dict[str, Any],
    seconds: dict[str, float],
) -> None:
    print("language    rows   reviewbeam: accuracy, macro F1   baseline: the same")
    for language, theirs in baseline.items():
        ours = metrics["languages"][language]
        recalls = [f"{c['recall']:.2f}" for c in ours["classes"].values()]
        their_recalls = [f"{recall:.2f}" for recall in theirs["recalls"]]
        print(
            f"{language:<10} {ours['rows']:>5}   {ours['accuracy']:.3f}, "
            f"{ours['macro']['f1']:.3f}   {theirs['accuracy']:.3f}, "
            f"{theirs['macro_f1']:.3f}   recalls {' '.join(recalls)}   "
            f"{' '.join(their_recalls)}"
        )
    print(f"best epoch {summary['best_epoch']} of {summary['epochs']}; seconds:")
    times = list(seconds.items())
    for (_, before), (name, after) in zip(times, times[1:], strict=False):
        print(f"  {name} {after - before:.0f}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", required=True, action="append", help="a glob")
    parser.add_argument("--work", required=True, help="a folder to make")
    parser.add_argument("--config", default="configs/laptop/prepare.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--train-config", default="configs/laptop/train.yaml")
    parser.add_argument("--train-set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--language", default="en", help="to learn from")
    parser.add_argument("--validation", type=float, default=0.0, help="share of rows")
    parser.add_argument("--rows", type=int, default=3000, help="to learn from")
    return parser.parse_args()


if __name__ == "__main__":
    main()
