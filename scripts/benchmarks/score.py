"""Holds the speed of `reviewbeam score` against what a user would run instead.

All score the same real reviews with the same weights, each in a process of its own: a
classifier with the head of transformers' XLM-R, trained on a few other reviews.

  tensorflow, openvino, openvino-int8   reviewbeam's engines
  hf-1, hf-32, hf-sorted   peers/score_transformers.py: one text, 32 as they come, 32
                           sorted by length
  beam             peers/score_beam.py: HuggingFacePipelineModelHandler, batches of 32
  onnx             peers/score_onnx.py: SentencePiece, batches as ours
  ctranslate2-int8 peers/score_ctranslate2.py: as that
  bare-tensorflow, bare-openvino   peers/score_bare.py: as that; the bound of ours

`after load` are the seconds that reading, tokenizing, inferring and writing take: of a
peer from the moment its model is loaded; of ours those of the run's record less those
of a run on one review, made just before. `bare` is the engine alone, `whole` the
process from its start. The contenders take turns at beginning a round.
Memory is the largest RSS of a process; `others` are cores that were busy with something
else, which spoils a run.

    python scripts/benchmarks/score.py --corpus 'reviews/*.jsonl.gz' --work /tmp/score \
        --torch-python peers/bin/python --rows 2000 --pairs 3
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from peers.environment import variables
from peers.measure import measure
from quality import distinct_reviews, write_dataset
from score_report import compare_scores, medians, ratios, say

from reviewbeam.components.common.calibration import calibrated
from reviewbeam.components.common.config import load_config
from reviewbeam.components.common.encoder_directory import open_encoder
from reviewbeam.components.common.model_directory import open_model
from reviewbeam.components.common.prepare_config import PrepareConfig
from reviewbeam.components.common.processor import guard_instruction_set
from reviewbeam.components.tokenization.tokenizer import Tokenizer

PEERS = Path(__file__).parent / "peers"
_INT8 = "openvino-int8"
_PEERS = "hf-1,hf-32,hf-sorted,beam,onnx,ctranslate2-int8,bare-tensorflow,bare-openvino"
_VALIDATION = 0.3  # of the reviews that are trained on; int8 is compared on it


def main() -> None:
    """Runs all contenders and prints their figures."""
    guard_instruction_set()  # for every process from here on
    arguments = _arguments()
    work = Path(arguments.work).resolve()
    config = load_config(PrepareConfig, arguments.config, arguments.set)
    config = config.model_copy(update={"input": tuple(arguments.corpus)})
    commands = ours(arguments, work) | peers(arguments, config, work)
    make_model(arguments, config, work)
    convert(arguments, work, commands)
    print(f"load {os.getloadavg()[0]:.2f}, {arguments.rows} reviews")
    tokens = count_tokens(config, work / "score.jsonl")
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    probabilities: dict[str, dict[str, list[float]]] = {}
    for number in range(arguments.pairs):
        names = list(commands)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            run, found = run_once(name, commands[name], arguments.rows, work)
            run["tokens"] = run["speed"] * tokens / arguments.rows
            runs[name].append(run)
            if name not in ours(arguments, work):
                found = calibrate(work, found)
            probabilities.setdefault(name, found)
            say(f"{name} {number + 1}", run)
    agreement = compare_scores(probabilities)
    print()
    for name, done in runs.items():
        say(f"median {name}", medians(done))
    report = {"runs": runs, "agreement": agreement, "ratios": ratios(runs)}
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n")


def make_model(options: argparse.Namespace, config: PrepareConfig, work: Path) -> None:
    """Draws the reviews and trains the model, unless they stand."""
    if (work / "model").exists():
        return
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    drawn = random.Random(7).sample(
        distinct_reviews(config), options.train_rows + options.rows
    )
    write_dataset(config, drawn[options.rows :], work, "train", _VALIDATION)
    for name, rows in (("score", drawn[: options.rows]), ("one", drawn[:1])):
        lines = [
            json.dumps({key: row[key] for key in ("id", "text", "language")}) + "\n"
            for row in rows
        ]
        (work / f"{name}.jsonl").write_text("".join(lines))
    columns = {key: key for key in ("id", "text", "language")}
    (work / "score.yaml").write_text(json.dumps({"columns": columns}))  # JSON is YAML
    width = open_encoder(config.encoder).architecture.hidden
    settings = {
        "encoder": config.encoder,
        "model.pooling": "cls",
        "model.hidden_units": str(width),
    }
    train = [options.reviewbeam, "train", "--config", options.train_config]
    train += [f"--dataset={work / 'train-dataset'}", f"--output={work / 'model'}"]
    _run([*train, *_set(settings)])


def count_tokens(config: PrepareConfig, path: Path) -> int:
    """Returns the real tokens of reviews, by SentencePiece."""
    texts = [json.loads(line)["text"] for line in path.read_text().splitlines()]
    tokenizer = Tokenizer(open_encoder(config.encoder).vocabulary, config.text)
    return len(tokenizer.encode(pa.array(texts))["token_ids"].flatten())


def calibrate(work: Path, found: dict[str, list[float]]) -> dict[str, list[float]]:
    """Does to a peer's probabilities what `score` does to ours after the model."""
    model = open_model(str(work / "model")).metadata
    rows = map(json.loads, (work / "score.jsonl").read_text().splitlines())
    languages = {row["id"]: row["language"] for row in rows}
    matrix = calibrated(
        np.array(list(found.values()), np.float32),
        [languages[key] for key in found],
        model.labels.type,
        model.calibration,
    )
    return dict(zip(found, matrix.tolist(), strict=True))


def convert(
    options: argparse.Namespace, work: Path, commands: dict[str, list[str]]
) -> None:
    """Brings the model into the formats of the int8 engine and the peers."""
    if _INT8 in commands and not (work / "model" / _INT8).exists():
        command = [options.reviewbeam, "quantize", f"--model={work / 'model'}"]
        _run([*command, f"--dataset={work / 'train-dataset'}"])
    conversions = {
        "onnx": ["score_onnx.py", "--export", str(work / "model.onnx")],
        "ctranslate2-int8": ["score_ctranslate2.py", "--convert", str(work / "ct2")],
    }
    for name, (script, option, target) in conversions.items():
        if name in commands and not Path(target).exists():
            command = [options.torch_python, str(PEERS / script), option, target]
            _run([*command, f"--model={work / 'model/hf'}"])


def ours(options: argparse.Namespace, work: Path) -> dict[str, list[str]]:
    """Returns the command of each engine."""
    command = [options.reviewbeam, "score", f"--config={work / 'score.yaml'}"]
    command += [f"--model={work / 'model'}", "--input={input}", "--output={output}"]
    same = {"inference.batch_tokens": str(options.batch_tokens)}
    same["inference.min_agreement"] = "0.9"  # told below, of more rows
    return {
        engine: [*command, *_set(same | {"inference.engine": engine})]
        for engine in options.engines.split(",")
        if engine
    }


def peers(
    options: argparse.Namespace, config: PrepareConfig, work: Path
) -> dict[str, list[str]]:
    """Returns the commands of the others."""
    vocabulary = f"--vocabulary={open_encoder(config.encoder).vocabulary}"
    same = [f"--max-tokens={config.text.max_tokens}", f"--threads={os.cpu_count()}"]
    same += ["--input={input}", "--output={output}"]
    batched = [*same, vocabulary, f"--batch-tokens={options.batch_tokens}"]
    hf, saved = f"--model={work / 'model/hf'}", f"--model={work / 'model/saved_model'}"

    def command(python: str, script: str, *more: str) -> list[str]:
        return [python, str(PEERS / f"score_{script}.py"), *more]

    torch = options.torch_python
    known = {
        "hf-1": command(torch, "transformers", hf, *same, "--batch=1"),
        "hf-32": command(torch, "transformers", hf, *same),
        "hf-sorted": command(torch, "transformers", hf, *same, "--sorted"),
        "beam": command(torch, "beam", hf, *same),
        "onnx": command(torch, "onnx", f"--model={work / 'model.onnx'}", *batched),
        "ctranslate2-int8": command(
            torch, "ctranslate2", f"--model={work / 'ct2'}", *batched
        ),
    }
    for engine in ("tensorflow", "openvino"):
        bare = command(sys.executable, "bare", f"--engine={engine}", saved, *batched)
        known[f"bare-{engine}"] = bare
    wanted = [name for name in options.peers.split(",") if name]
    if unknown := set(wanted) - known.keys():
        raise SystemExit(f"--peers names {sorted(unknown)}; known: {', '.join(known)}")
    return {name: known[name] for name in wanted}


def run_once(
    name: str, command: list[str], rows: int, work: Path
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Runs a contender; returns its figures, and the probabilities by id."""
    peer = str(PEERS) in command[1]
    folder, start = work / "run", 0.0
    if not peer:
        measured, _ = _measure(command, work / "one.jsonl", folder, alone=False)
        start = measured["seconds"]
    alone = peer and command[0] != sys.executable
    run, found = _measure(command, work / "score.jsonl", folder, alone=alone)
    shutil.rmtree(folder)
    if len(found) != rows:
        raise SystemExit(f"{name} scored {len(found)} of {rows} reviews")
    run["after load"] = run.pop("seconds") - start
    run["bare"] = rows / run["inference"] if run["inference"] else 0.0
    speeds = {"speed": rows / run["after load"], "whole": rows / run["wall"]}
    return run | speeds, found


def _measure(
    command: list[str], source: Path, folder: Path, *, alone: bool
) -> tuple[dict[str, float], dict[str, list[float]]]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    output = folder / "output"
    environment = variables(alone=alone, HF_HUB_OFFLINE="1", TF_CPP_MIN_LOG_LEVEL="2")
    places = {"{input}": str(source), "{output}": str(output)}
    for name, path in places.items():
        command = [part.replace(name, path) for part in command]
    run = measure(command, environment, folder)
    if output.is_dir():
        facts = json.loads((output / "_run.json").read_text())
        counted = facts.pop("inference")
        facts["padding"] = 1 - counted["tokens"] / counted["padded_tokens"]
        parts = sorted(output.glob("model_version=*/part-*"))
        scores = ds.dataset(parts).to_table().to_pylist()
    else:
        facts = json.loads((folder / "stdout").read_text().splitlines()[-1])
        scores = list(map(json.loads, output.read_text().splitlines()))
    run |= {key: facts.get(key, 0.0) for key in ("seconds", "inference", "padding")}
    return run, {row["id"]: row["probabilities"] for row in scores}


def _set(settings: dict[str, str]) -> list[str]:
    return [part for k, v in settings.items() for part in ("--set", f"{k}={v}")]


def _run(command: list[str]) -> None:
    environment = variables(alone=False, HF_HUB_OFFLINE="1")
    subprocess.run(command, check=True, env=environment)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    beside = str(Path(sys.executable).with_name("reviewbeam"))
    add("--corpus", required=True, action="append", help="a glob")
    add("--work", required=True, metavar="FOLDER", help="reviews and models stay there")
    add("--config", default="configs/laptop/prepare.yaml")
    add("--set", action="append", default=[], metavar="KEY=VALUE")
    add("--train-config", default="configs/laptop/train.yaml")
    add("--train-rows", type=int, default=600, metavar="N", help="that are trained on")
    add("--rows", type=int, default=2000, metavar="N", help="that are scored")
    add("--engines", default=f"tensorflow,openvino,{_INT8}", metavar="NAME,…")
    add("--peers", default=_PEERS, metavar="NAME,…")
    add("--batch-tokens", type=int, default=1024, metavar="N", help="of a sorted batch")
    add("--pairs", type=int, default=1, metavar="K", help="rounds")
    add("--reviewbeam", default=beside, metavar="COMMAND")
    add("--torch-python", required=True, metavar="PATH", help="has the peers' packages")
    add("--json", metavar="FILE", help="write the figures there too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
