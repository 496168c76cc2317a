"""Holds a fine-tuned model against PyTorch and against frozen embeddings.

Reviews of one language are learned from; the other reviews of that language, and all
of the others, are the test. All ways see the same rows, duplicates dropped:

  reviewbeam    prepare, train and evaluate, as a user runs them, once for each seed;
                with --validation a part of the training rows is for early stopping
  pytorch       peers/train_torch.py, with --torch-python: a tuned loop over the same
                token ids, once for each seed, with the best of --torch-rates, which
                are tried on a fifth of the training rows
  frozen        the masked mean of the encoder's last hidden states, scaled to length
                1, and a balanced logistic regression (C = 1) on top

A run whose figures stand in --work isn't made again.

    python scripts/benchmarks/quality.py --corpus 'reviews/*.jsonl.gz' \
        --set columns.label=stars --work /tmp/quality --seeds 1,2,3 \
        --torch-python peers/bin/python
"""

import argparse
import json
import random
import statistics
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from frozen_embeddings import (
    frozen_embeddings_baseline,
    read_dataset,
    read_languages,
)
from peers.environment import variables

from reviewbeam.components.common.config import load_config
from reviewbeam.components.common.encoder_directory import open_encoder
from reviewbeam.components.common.evaluate_config import EvaluateConfig
from reviewbeam.components.common.prepare_config import PrepareConfig
from reviewbeam.components.common.text_hashes import normalized_text
from reviewbeam.components.common.train_config import TrainConfig
from reviewbeam.components.ingestion.files import find_files, slice_file
from reviewbeam.components.ingestion.read import SliceReader
from reviewbeam.components.trainer.train import train
from reviewbeam.components.validation.rules import ReviewRules
from reviewbeam.pipelines.evaluate import evaluate
from reviewbeam.pipelines.options import beam_options
from reviewbeam.pipelines.prepare import prepare

_COLUMNS = {"text": "text", "id": "id", "label": "label", "language": "language"}
PEERS = Path(__file__).parent / "peers"


def main() -> None:
    """Runs all ways and prints their figures side by side."""
    arguments = _arguments()
    work = Path(arguments.work)
    config = load_config(PrepareConfig, arguments.config, arguments.set)
    config = config.model_copy(update={"input": tuple(arguments.corpus)})
    datasets = {name: work / f"{name}-dataset" for name in ("train", "test")}
    if not work.exists():
        work.mkdir(parents=True)
        learned, tested = divide(
            distinct_reviews(config), arguments.language, arguments.rows
        )
        write_dataset(config, learned, work, "train", arguments.validation)
        write_dataset(config, tested, work, "test", 0.0)
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    figures = {"reviewbeam": [ours(arguments, config, work, s) for s in seeds]}
    if arguments.torch_python:
        rates = {
            rate: torch(arguments, config, work, 1, rate, fold=0.2)
            for rate in arguments.torch_rates.split(",")
        }
        mine = arguments.language
        for rate, found in rates.items():
            print(f"pytorch, rate {rate}: macro F1 {found[mine]['macro_f1']:.4f}")
        best = max(rates, key=lambda rate: rates[rate][mine]["macro_f1"])
        figures[f"pytorch, {best}"] = [
            torch(arguments, config, work, seed, best) for seed in seeds
        ]
    figures["frozen"] = [
        _once(
            work / "frozen.json",
            lambda: frozen_embeddings_baseline(config.encoder, datasets),
        )
    ]
    report(figures)


def write_dataset(
    config: PrepareConfig,
    rows: list[dict[str, Any]],
    work: Path,
    name: str,
    validation: float,
) -> None:
    """Writes rows as NAME.jsonl, prepares NAME-dataset and writes its ids as NAME.npz.

    The arrays are those of a `Split`, of the train split, with its languages.
    """
    path = work / f"{name}.jsonl"
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")
    data = config.model_dump(mode="json") | {
        "input": [str(path)],
        "format": "jsonl",
        "columns": _COLUMNS,
        "split": {"validation": validation, "test": 0.0},
    }
    dataset = work / f"{name}-dataset"
    prepare(PrepareConfig(**data), dataset, beam_options([], None))
    split = read_dataset(dataset, "train")
    np.savez(
        work / f"{name}.npz",
        token_ids=split.token_ids,
        row_splits=split.row_splits,
        labels=split.labels,
        languages=read_languages(dataset, "train"),
    )


def ours(
    arguments: argparse.Namespace, config: PrepareConfig, work: Path, seed: int
) -> dict[str, dict[str, Any]]:
    """Trains and evaluates with a seed; returns figures by language."""
    changes = [f"encoder={config.encoder}", f"training.seed={seed}"]
    changes += arguments.train_set
    if not arguments.validation:
        changes.append("training.early_stopping_metric=none")
    training = load_config(TrainConfig, arguments.train_config, changes)
    train(training, work / "train-dataset", work / f"model-{seed}")
    metrics, _ = evaluate(
        EvaluateConfig(split="train"),  # all of the test dataset
        work / f"model-{seed}",
        work / "test-dataset",
        work / f"evaluation-{seed}",
        beam_options([], None),
    )
    return {
        language: {
            "rows": found["rows"],
            "accuracy": found["accuracy"],
            "macro_f1": found["macro"]["f1"],
            "recalls": [each["recall"] for each in found["classes"].values()],
        }
        for language, found in metrics["languages"].items()
    }


def torch(
    arguments: argparse.Namespace,
    config: PrepareConfig,
    work: Path,
    seed: int,
    rate: str,
    fold: float = 0.0,
) -> dict[str, dict[str, Any]]:
    """Runs the PyTorch loop unless it was; returns figures by language."""
    output = work / f"torch-{seed}-{rate}-{fold}.json"
    command = [arguments.torch_python, str(PEERS / "train_torch.py")]
    command += ["--encoder", str(open_encoder(config.encoder).path)]
    command += [f"--train={work / 'train.npz'}", f"--test={work / 'test.npz'}"]
    command += [f"--seed={seed}", f"--rate={rate}", f"--fold={fold}"]
    if not output.exists():
        command.append(f"--output={output}")
        subprocess.run(command, check=True, env=variables(alone=True))
    return json.loads(output.read_text())["languages"]


def _once(path: Path, run) -> dict[str, Any]:
    if not path.exists():
        path.write_text(json.dumps(run()))
    return json.loads(path.read_text())


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


def report(figures: dict[str, list[dict[str, dict[str, Any]]]]) -> None:
    """Prints means and ranges over the runs of each way, by language."""
    languages = sorted(next(iter(figures.values()))[0])
    print(f"{'':10}{'':>6} {'':20}{'runs':>5}  {'accuracy':22}{'macro F1':22}recalls")
    for language in languages:
        for way, runs in figures.items():
            found = [run[language] for run in runs]
            recalls = np.mean([each["recalls"] for each in found], axis=0)
            print(
                f"{language:<10}{found[0]['rows']:>6} {way:<20}{len(found):>5}  "
                f"{_spread([each['accuracy'] for each in found]):22}"
                f"{_spread([each['macro_f1'] for each in found]):22}"
                + " ".join(f"{recall:.2f}" for recall in recalls)
            )


def _spread(values: list[float]) -> str:
    mean = f"{statistics.mean(values):.4f}"
    least, most = min(values), max(values)
    return mean if len(values) == 1 else f"{mean} ({least:.3f}-{most:.3f})"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", required=True, action="append", help="a glob")
    parser.add_argument("--work", required=True, help="a folder; runs stay")
    parser.add_argument("--config", default="configs/laptop/prepare.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--train-config", default="configs/laptop/train.yaml")
    parser.add_argument("--train-set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--language", default="en", help="to learn from")
    parser.add_argument("--validation", type=float, default=0.0, help="share of rows")
    parser.add_argument("--rows", type=int, default=3000, help="to learn from")
    parser.add_argument("--seeds", default="1", metavar="N,…")
    parser.add_argument("--torch-python", metavar="PATH", help="has peers/requirements")
    parser.add_argument("--torch-rates", default="1e-4,3e-4,6e-4", metavar="RATE,…")
    return parser.parse_args()


if __name__ == "__main__":
    main()
