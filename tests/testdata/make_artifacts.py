"""Makes tiny artifacts by the project's own jobs, for later releases to open.

    python -m tests.testdata.make_artifacts DIRECTORY

Writes a new folder of `encoder`, `dataset` and `model`, and `expected.json`: what this
release says with them, that is the probabilities of reviews by id, and all figures of
the test split. Paths in them are relative to the folder. Those of a format are made
once, with the older stack, and kept in `artifacts/format-N`: that they grow old is the
point. The texts are the sample's and the vocabulary's, written for this project.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

import pandas as pd
import yaml

from reviewbeam.components.common.artifacts import read_json, write_json
from reviewbeam.pipelines.cli import main as reviewbeam
from tests.testdata.make_tiny_encoder import make_tiny_encoder

SAMPLE = Path(__file__).resolve().parent / "sample"
COLUMNS = {"id": "id", "text": "text", "language": "language"}
INFERENCE = {"engine": "tensorflow", "batch_tokens": 4096}
CONFIGS = {
    "prepare": {
        "encoder": "encoder",
        "columns": COLUMNS | {"label": "label"},
        "labels": {"type": "multiclass", "names": ["negative", "neutral", "positive"]},
        "text": {"max_tokens": 64},
        "split": {"validation": 0.15, "test": 0.25},
    },
    "train": {
        "encoder": "encoder",
        "model": {"freeze_embeddings": False, "freeze_layers": 0},
        # Until it says something of each review, whatever it is.
        "training": {
            "epochs": 10,
            "batch_tokens": 512,
            "learning_rate": 0.02,
            "early_stopping_metric": "none",
        },
    },
    "evaluate": {"inference": INFERENCE, "bootstrap": {"resamples": 0}},
    "score": {"columns": COLUMNS, "inference": INFERENCE},
}


def make_artifacts(directory: Path) -> None:
    """Fills a new folder, which becomes the working directory."""
    directory.mkdir(parents=True)
    os.chdir(directory)
    make_tiny_encoder("encoder", hidden=8)
    reviews = shutil.copy(SAMPLE / "reviews.jsonl", ".")
    run("prepare", "dataset", "--input", reviews)
    run("train", "model", "--dataset", "dataset")
    run("evaluate", "evaluation", "--dataset", "dataset", "--model", "model")
    arrivals = shutil.copy(SAMPLE / "new_arrivals.jsonl", ".")
    run("score", "scores", "--input", arrivals, "--model", "model")
    rows = pd.read_parquet("scores").sort_values("id").itertuples()
    figures = read_json(Path("evaluation/metrics.json"))["overall"]["figures"]
    expected = {
        "probabilities": {row.id: row.probabilities.tolist() for row in rows},
        "figures": {name: figure["value"] for name, figure in figures.items()},
    }
    write_json(Path("expected.json"), expected)
    for name in ("evaluation", "scores"):
        shutil.rmtree(name)
    for name in ("reviews.jsonl", "new_arrivals.jsonl", *Path().glob("*.yaml")):
        Path(name).unlink()


def run(job: str, output: str, *arguments: object) -> None:
    """Runs a job by its config here."""
    config = Path(f"{job}.yaml")
    config.write_text(yaml.safe_dump(CONFIGS[job]))
    command = [job, "--config", config, "--output", output, *arguments]
    if code := reviewbeam([str(argument) for argument in command]):
        sys.exit(f"{job} ended with {code}")


def main() -> None:
    """Makes them in the folder named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    make_artifacts(parser.parse_args().directory)


if __name__ == "__main__":
    main()
