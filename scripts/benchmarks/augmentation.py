"""Measures what augmentation is worth: few and many reviews, with it and without.

Each cell is a number of reviews, a variant and a seed. Its model is made by
`reviewbeam prepare`, `train` and `evaluate`, as a user runs them, and tested on the
other reviews of the language and on those of the other languages; the test is the
same for all cells. Variants:

  none      the reviews alone
  longer    the same, for as many more epochs as the others have copies: what a
            variant gains over `none` but not over this came of training longer
  subword   other segmentations
  words     words left out and swapped
  both

A finished cell is kept as a JSON file in --work, and is not run again.

    python scripts/benchmarks/augmentation.py --corpus 'reviews/*.jsonl.gz' \
        --set columns.label=stars --work /tmp/augmentation
"""

import argparse
import dataclasses
import itertools
import json
import random
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from quality import distinct_reviews, divide

from reviewbeam.components.common.config import load_config
from reviewbeam.components.common.prepare_config import PrepareConfig
from reviewbeam.components.common.train_config import TrainConfig

VARIANTS = ("none", "longer", "subword", "words", "both")
_COLUMNS = {"text": "text", "id": "id", "label": "label", "language": "language"}
_PASS = 1 / 3  # the cost of scoring a review, in those of training on it once
_START = 2000  # the cost of starting a cell's three commands, in the same


@dataclasses.dataclass(frozen=True)
class Cell:
    """One model to make."""

    rows: int
    copies: int
    variant: str
    seed: int

    def name(self) -> str:
        return f"{self.rows}x{self.copies}-{self.variant}-{self.seed}"

    def augment(self, alpha: float, words: float) -> dict[str, Any]:
        """Returns the keys of `augment` in prepare's config."""
        if self.variant in ("none", "longer"):
            return {}
        ways = {"copies": self.copies, "seed": self.seed}
        if self.variant in ("subword", "both"):
            ways |= {"subword_alpha": alpha}
        if self.variant in ("words", "both"):
            ways |= {"delete_words": words, "swap_words": words}
        return ways

    def epochs(self, epochs: int) -> int:
        return epochs * (1 + self.copies) if self.variant == "longer" else epochs

    def cost(self, epochs: int, tested: int) -> float:
        """Returns how long it takes, in reviews trained on once."""
        copies = 0 if self.variant == "none" else self.copies
        return self.rows * (1 + copies) * epochs + tested * _PASS + _START


def main() -> None:
    """Runs the cells that are not finished; prints the table after each seed."""
    arguments = _arguments()
    work = Path(arguments.work)
    (work / "cells").mkdir(parents=True, exist_ok=True)
    config = load_config(PrepareConfig, arguments.config, arguments.set)
    config = config.model_copy(update={"input": tuple(arguments.corpus)})
    training = load_config(TrainConfig, arguments.train_config, arguments.train_set)
    # Each seed draws its reviews from the same pool, so that the test stays the same.
    reviews = distinct_reviews(config)
    learned, tested = divide(reviews, arguments.language, arguments.pool)
    tested = _at_most(tested, arguments.most_tested)
    cells = [
        Cell(rows, copies, variant, seed)
        for seed, (rows, copies), variant in itertools.product(
            arguments.seeds, arguments.sizes, arguments.variants
        )
    ]
    settings = {
        "corpus": arguments.corpus,
        "prepare": config.model_dump(mode="json"),
        "train": training.model_dump(mode="json"),
        "language": arguments.language,
        "pool": arguments.pool,
        "most_tested": arguments.most_tested,
    }
    _prepare(config, tested, work / "test", {})
    finished = {}
    for cell in cells:
        path = work / "cells" / f"{cell.name()}.json"
        mine = settings | {"augment": cell.augment(arguments.alpha, arguments.words)}
        found = json.loads(path.read_text()) if path.exists() else {}
        if found.get("settings") != mine:
            started = time.monotonic()
            chosen = random.Random(cell.seed).sample(learned, cell.rows)
            found = {"settings": mine}
            found |= _run(cell, config, training, chosen, mine["augment"], work)
            found["seconds"] = time.monotonic() - started
            aside = path.with_suffix(".unfinished")
            aside.write_text(json.dumps(found, indent=1))
            aside.rename(path)
        finished[cell] = found
        print(_progress(cells, finished, training, len(tested)), flush=True)
        if len(finished) % (len(cells) // len(arguments.seeds)) == 0:
            print("\n".join(table(finished, arguments.language)), flush=True)


def _progress(
    cells: list[Cell], finished: dict[Cell, Any], training: TrainConfig, tested: int
) -> str:
    """Returns a line: the last cell, and what the others will take at that speed."""
    costs = {cell: cell.cost(training.training.epochs, tested) for cell in cells}
    seconds = sum(found["seconds"] for found in finished.values())
    done = sum(costs[cell] for cell in finished)
    left = (sum(costs.values()) - done) * seconds / done
    last = cells[len(finished) - 1]
    return (
        f"{last.name()}: {finished[last]['seconds']:.0f} s; {len(finished)} of "
        f"{len(cells)} cells, {left / 60:.0f} minutes left at most"
    )


def table(finished: dict[Cell, dict[str, Any]], language: str) -> list[str]:
    """Returns lines: figures of each variant, mean and range over the seeds."""
    runs = defaultdict(list)
    for cell, found in finished.items():
        runs[cell.rows, cell.variant].append(found)
    lines = [f"{'':32}{language:^40}{'mean of the other languages':^40}"]
    titles = "".join(f"{title:^20}" for title in ("accuracy", "macro F1") * 2)
    lines.append(f"{'rows':>6} {'variant':<10} {'examples':>9}     {titles}")
    for (rows, variant), found in runs.items():
        examples = sum(run["examples"] for run in found) / len(found)
        figures = [_figures(run["languages"], language) for run in found]
        shown = "".join(
            f"{sum(values) / len(values):>7.3f} {min(values):.3f}..{max(values):.3f}"
            for values in zip(*figures, strict=True)
        )
        lines.append(f"{rows:>6} {variant:<10} {examples:>9.0f}     {shown}")
    return lines


def _figures(languages: dict[str, Any], mine: str) -> list[float]:
    """Returns accuracy and macro F1 of a language, then their means of the others."""
    groups = [[mine], [name for name in languages if name != mine]]
    figures = []
    for group in filter(None, groups):
        found = [languages[name] for name in group]
        figures.append(sum(one["accuracy"] for one in found) / len(found))
        figures.append(sum(one["macro"]["f1"] for one in found) / len(found))
    return figures


def _run(
    cell: Cell,
    config: PrepareConfig,
    training: TrainConfig,
    reviews: list[dict[str, Any]],
    augment: dict[str, Any],
    work: Path,
) -> dict[str, Any]:
    """Returns the number of training examples, and the metrics of each language."""
    folder = work / "cell"
    shutil.rmtree(folder, ignore_errors=True)  # of a cell that was interrupted
    _prepare(config, reviews, folder, augment)
    own = {
        "epochs": cell.epochs(training.training.epochs),
        "seed": cell.seed,
        "early_stopping_metric": "none",  # all rows are for training
    }
    changed = training.training.model_copy(update=own)
    _reviewbeam(
        "train",
        training.model_copy(update={"training": changed}).model_dump(mode="json"),
        dataset=folder / "dataset",
        output=folder / "model",
    )
    _reviewbeam(
        "evaluate",
        {"split": "train"},  # all of the test dataset
        model=folder / "model",
        dataset=work / "test" / "dataset",
        output=folder / "evaluation",
    )
    metrics = json.loads((folder / "evaluation" / "metrics.json").read_text())
    manifest = json.loads((folder / "dataset" / "manifest.json").read_text())
    examples = manifest["splits"]["train"]["examples"]
    if augment:
        examples += manifest["augmented"]["examples"]
    shutil.rmtree(folder)  # a model is a gigabyte
    return {"examples": examples, "languages": metrics["languages"]}


def _prepare(
    config: PrepareConfig,
    reviews: list[dict[str, Any]],
    folder: Path,
    augment: dict[str, Any],
) -> None:
    """Makes a dataset whose examples are all in the train split."""
    folder.mkdir(exist_ok=True)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in reviews)
    (folder / "reviews.jsonl").write_text("".join(lines), encoding="utf-8")
    data = config.model_dump(mode="json") | {
        "input": [str(folder / "reviews.jsonl")],
        "format": "jsonl",
        "columns": _COLUMNS,
        "split": {"validation": 0.0, "test": 0.0},
        "augment": augment,
    }
    _reviewbeam("prepare", data, output=folder / "dataset")


def _reviewbeam(job: str, config: dict[str, Any], **folders: Path) -> None:
    """Runs a job by its command line; what it says is shown only if it fails."""
    path = folders["output"].with_name(f"{job}.yaml")
    path.write_text(json.dumps(config))  # which is YAML too
    command = [sys.executable, "-m", "reviewbeam.pipelines.cli", job, "--overwrite"]
    command += ["--config", str(path)]
    for option, folder in folders.items():
        command += [f"--{option}", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")


def _at_most(reviews: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Draws as many reviews of each language, in their order."""
    by_language = defaultdict(list)
    for index, row in enumerate(reviews):
        by_language[row["language"]].append(index)
    draw = random.Random(7)
    chosen = set()
    for indices in by_language.values():
        chosen.update(draw.sample(indices, min(most, len(indices))))
    return [row for index, row in enumerate(reviews) if index in chosen]


def _size(text: str) -> tuple[int, int]:
    rows, _, copies = text.partition(":")
    return int(rows), int(copies)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", required=True, action="append", help="a glob")
    parser.add_argument("--work", required=True, help="a folder to make, or go on in")
    parser.add_argument("--config", default="configs/laptop/prepare.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--train-config", default="configs/laptop/train.yaml")
    parser.add_argument("--train-set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--language", default="en", help="to learn from")
    parser.add_argument(
        "--sizes",
        type=_size,
        nargs="+",
        default=[(300, 4), (3000, 1)],
        metavar="ROWS:COPIES",
        help="reviews to learn from, and copies of each",
    )
    parser.add_argument(
        "--pool", type=int, default=3000, help="reviews that the sizes are drawn from"
    )
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--alpha", type=float, default=0.3, help="of segmentations")
    parser.add_argument("--words", type=float, default=0.1, help="of each way")
    parser.add_argument(
        "--most-tested", type=int, default=2000, help="reviews of each language"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
