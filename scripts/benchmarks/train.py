"""Holds the speed of `reviewbeam train` against what a user would write instead.

All train the same encoder on the same reviews for one epoch, each in a process of its
own, with the same dropout, optimizer and frozen layers (--trained half: embeddings and
the lower half of the layers; all: nothing). Speed is real tokens a second, behind the
first two steps:

  reviewbeam       batches of near-one length under a token budget
  torch-bucketed   peers/train_torch.py with the same budget, and rows sorted by length
  torch-padded     the same with 32 shuffled rows a batch, padded to the longest
  kerashub         peers/train_kerashub.py: KerasHub's classifier with its preprocessor

The contenders take turns at beginning a round. Memory is the largest RSS of a process;
`cpu` are core-seconds of the whole run, imports included; `others` are cores that were
busy with something else, which spoils a run.

    python scripts/benchmarks/train.py --corpus 'reviews/*.jsonl.gz' --work /tmp/train \
        --torch-python peers/bin/python --rounds 5
"""

import argparse
import json
import os
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from peers.environment import variables
from peers.measure import measure
from quality import distinct_reviews, divide, write_dataset

from reviewbeam.components.common.config import load_config
from reviewbeam.components.common.encoder_directory import open_encoder
from reviewbeam.components.common.prepare_config import PrepareConfig

PEERS = Path(__file__).parent / "peers"
_CHANGES = {
    "half": {},
    "all": {"model.freeze_embeddings": "false", "model.freeze_layers": "0"},
}
_BATCH_TOKENS = 2048


def main() -> None:
    """Runs every way of training and prints its figures."""
    arguments = _arguments()
    work = Path(arguments.work).resolve()
    config = load_config(PrepareConfig, arguments.config, arguments.set)
    config = config.model_copy(update={"input": tuple(arguments.corpus)})
    if not work.exists():
        work.mkdir(parents=True)
        reviews = distinct_reviews(config)
        rows, _ = divide(reviews, arguments.language, arguments.rows)
        write_dataset(config, rows, work, "train", 0.0)
    report: dict[str, Any] = {"load": os.getloadavg()[0]}
    for trained in arguments.trained.split(","):
        commands = contenders(arguments, config, work, trained)
        runs: dict[str, list] = {name: [] for name in commands}
        print(f"\ntrained: {trained}")
        for number in range(arguments.rounds):
            names = list(commands)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                runs[name].append(run_once(name, commands[name], work / "run"))
                _line(f"{name} {number + 1}", runs[name][-1])
        report[trained] = {"runs": runs, "ratios": compare(runs)}
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n")


def contenders(
    options: argparse.Namespace, config: PrepareConfig, work: Path, trained: str
) -> dict[str, list[str]]:
    """Returns the command of each."""
    encoder = str(open_encoder(config.encoder).path)
    settings = _CHANGES[trained] | {
        "encoder": encoder,
        "training.epochs": "1",
        "training.early_stopping_metric": "none",
        "training.batch_tokens": str(_BATCH_TOKENS),
    }
    ours = [options.reviewbeam, "train", "--config", options.train_config]
    ours += [f"--dataset={work / 'train-dataset'}", "--output={output}"]
    for change in [f"{k}={v}" for k, v in settings.items()] + options.train_set:
        ours += ["--set", change]
    commands = {"reviewbeam": ours}
    same = ["--encoder", encoder, "--trained", trained, "--skip=2"]
    if options.torch_python:
        torch = [options.torch_python, str(PEERS / "train_torch.py"), *same]
        torch += ["--train", str(work / "train.npz"), "--epochs=1"]
        bucketed = ["--batches=bucketed", f"--batch-tokens={_BATCH_TOKENS}"]
        commands["torch-bucketed"] = torch + bucketed
        commands["torch-padded"] = [*torch, "--batches=padded"]
    if not options.skip_kerashub:
        kerashub = [sys.executable, str(PEERS / "train_kerashub.py"), *same]
        kerashub += [f"--max-tokens={config.text.max_tokens}"]
        commands["kerashub"] = [*kerashub, "--reviews", str(work / "train.jsonl")]
    return commands


def run_once(name: str, command: list[str], folder: Path) -> dict[str, float]:
    """Runs a contender in a fresh folder, which goes again when it succeeded."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    output = folder / "output"
    environment = variables(
        alone=name.startswith("torch"), HF_HUB_OFFLINE="1", TF_CPP_MIN_LOG_LEVEL="2"
    )
    command = [part.replace("{output}", str(output)) for part in command]
    run = measure(command, environment, folder)
    if name == "reviewbeam":
        facts = json.loads((output / "run.json").read_text())
        facts["padding"] = facts["padding_share"]
    else:
        facts = json.loads((folder / "stdout").read_text().splitlines()[-1])
    shutil.rmtree(folder)
    run["tokens_per_second"] = facts["tokens_per_second"]
    return run | {"padding": facts["padding"]}


def compare(runs: dict[str, list[dict[str, float]]]) -> dict[str, float]:
    """Prints medians; returns and prints our speed as a multiple of each peer's."""
    keys = next(iter(runs.values()))[0]
    for name, done in runs.items():
        medians = {key: statistics.median(run[key] for run in done) for key in keys}
        _line(f"median {name}", medians)
    ratios = {}
    for name, done in runs.items():
        pairs = zip(runs["reviewbeam"], done, strict=True)
        speed = "tokens_per_second"
        of_rounds = [ours[speed] / theirs[speed] for ours, theirs in pairs]
        ratios[name] = statistics.median(of_rounds)
        if name != "reviewbeam":
            least, most = min(of_rounds), max(of_rounds)
            print(
                f"reviewbeam / {name}: {ratios[name]:.2f} "
                f"({least:.2f} to {most:.2f} in {len(done)} rounds)"
            )
    return ratios


def _line(title: str, run: dict[str, float]) -> None:
    print(
        f"{title:24}{run['tokens_per_second']:8.0f} tokens/s "
        f"{run['padding']:6.1%} padding {run['rss'] / 1e6:7.0f} MB "
        f"{run['wall']:7.1f} s wall {run['cpu']:7.1f} s cpu "
        f"{run['others']:5.2f} others",
        flush=True,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    beside = str(Path(sys.executable).with_name("reviewbeam"))
    add("--corpus", required=True, action="append", help="a glob")
    add("--work", required=True, metavar="FOLDER", help="the dataset stays there")
    add("--config", default="configs/laptop/prepare.yaml")
    add("--set", action="append", default=[], metavar="KEY=VALUE")
    add("--train-config", default="configs/laptop/train.yaml")
    add("--train-set", action="append", default=[], metavar="KEY=VALUE")
    add("--language", default="en", help="of the reviews")
    add("--rows", type=int, default=1000, help="reviews of an epoch")
    add("--rounds", type=int, default=3, metavar="K")
    add("--trained", default="half,all", metavar="half,all")
    add("--reviewbeam", default=beside, metavar="COMMAND")
    add("--torch-python", metavar="PATH", help="has torch and transformers")
    add("--skip-kerashub", action="store_true")
    add("--json", metavar="FILE", help="write the figures there too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
