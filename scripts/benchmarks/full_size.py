"""Takes an encoder of XLM-R base's size the whole way, and prints what it needs.

No model hub is asked: the encoder is a Hugging Face directory of 12 layers of 768 with
random weights, under the vocabulary of --encoder. It is brought, a few reviews are
prepared for it, it is trained for two steps on two logical devices of the CPU, with a
head that transformers has too, exported in every form, and scores new reviews. Each
stage is a process of its own, whose peak of resident memory is printed.

    python scripts/benchmarks/full_size.py --encoder runs/encoder-e5-small \
        --work /tmp/full-size
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import safetensors.numpy

from reviewbeam.components.common.encoder_directory import VOCABULARY

ROOT = Path(__file__).resolve().parents[2]
LAYERS, HIDDEN, HEADS, FFN, POSITIONS, PIECES = 12, 768, 12, 3072, 514, 250_002
_GIGABYTE = 2**30


def main() -> None:
    """Runs the stages and prints their figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--encoder", required=True, help="has the vocabulary")
    parser.add_argument("--work", required=True, help="a new folder, some 8 GB")
    parser.add_argument("--devices", type=int, default=2)
    arguments = parser.parse_args()
    work = Path(arguments.work)
    work.mkdir(parents=True)
    write_encoder(work / "checkpoint", Path(arguments.encoder) / VOCABULARY)
    sample = ROOT / "tests/testdata/sample"
    lines = (sample / "reviews.jsonl").read_text(encoding="utf-8").splitlines()
    reviews = "".join(f"{line}\n" for line in lines[:80])
    (work / "reviews.jsonl").write_text(reviews, encoding="utf-8")
    columns = {"id": "id", "text": "text", "language": "language"}
    encoder, dataset, model = (str(work / n) for n in ("encoder", "dataset", "model"))
    configs = {
        "prepare": {
            "input": [str(work / "reviews.jsonl")],
            "encoder": encoder,
            "columns": columns | {"label": "label"},
            "labels": {
                "type": "multiclass",
                "names": ["negative", "neutral", "positive"],
            },
        },
        "train": {
            "encoder": encoder,
            "model": {"pooling": "cls", "hidden_units": HIDDEN},
            "training": {
                "epochs": 1,
                "batch_tokens": 1024,
                "accumulation": 1,
                "logical_cpus": arguments.devices,
            },
        },
        "score": {"input": [str(sample / "new_arrivals.jsonl")], "columns": columns},
    }
    for name, config in configs.items():
        (work / f"{name}.yaml").write_text(json.dumps(config))  # JSON is YAML

    def config(job):
        return ["--config", str(work / f"{job}.yaml")]

    run(["encoder", "--from", str(work / "checkpoint"), "--output", encoder])
    run(["prepare", *config("prepare"), "--output", dataset])
    run(["train", *config("train"), "--dataset", dataset, "--output", model])
    scores = str(work / "scores")
    run(["score", *config("score"), "--model", model, "--output", scores])
    history = json.loads((work / "model/history.json").read_text())
    record = json.loads((work / "model/run.json").read_text())
    print(f"steps: {history['epochs'][-1]['steps']}, replicas: {record['replicas']}")
    print(
        f"exports compared on {record['compared_reviews']} reviews: "
        f"{record['largest_export_difference']:.1e}; with PyTorch: "
        f"{record['largest_hf_difference'] or 'not compared'}"
    )
    for path in sorted((work / "model").iterdir()):
        size = sum(f.stat().st_size for f in [path, *path.rglob("*")] if f.is_file())
        print(f"{path.name:<16}{size / _GIGABYTE:8.2f} GiB")


def run(command: list[str]) -> None:
    """Runs a job; prints its time and its peak of memory so far."""
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "reviewbeam.pipelines.cli", *command], check=True
    )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(
        f"{command[0]}: {time.monotonic() - started:.0f} s, the largest process so far "
        f"{peak / _GIGABYTE:.2f} GiB",
        flush=True,
    )


def write_encoder(directory: Path, vocabulary: Path) -> None:
    """Writes a checkpoint of XLM-R base's sizes, its weights drawn at random."""
    directory.mkdir()
    shutil.copyfile(vocabulary, directory / VOCABULARY)
    config = {
        "architectures": ["XLMRobertaModel"],
        "model_type": "xlm-roberta",
        "vocab_size": PIECES,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": FFN,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
    }
    (directory / "config.json").write_text(json.dumps(config))
    random = np.random.default_rng(0)

    def normal(*shape):
        return random.standard_normal(shape, np.float32) * np.float32(0.02)

    weights = {
        "embeddings.word_embeddings.weight": normal(PIECES, HIDDEN),
        "embeddings.position_embeddings.weight": normal(POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": normal(1, HIDDEN),
        "embeddings.LayerNorm.weight": np.ones(HIDDEN, np.float32),
        "embeddings.LayerNorm.bias": np.zeros(HIDDEN, np.float32),
    }
    sizes = {
        "attention.self.query": (HIDDEN, HIDDEN),
        "attention.self.key": (HIDDEN, HIDDEN),
        "attention.self.value": (HIDDEN, HIDDEN),
        "attention.output.dense": (HIDDEN, HIDDEN),
        "intermediate.dense": (FFN, HIDDEN),
        "output.dense": (HIDDEN, FFN),
    }
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}"
        for name, shape in sizes.items():
            weights[f"{prefix}.{name}.weight"] = normal(*shape)
            weights[f"{prefix}.{name}.bias"] = np.zeros(shape[0], np.float32)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            weights[f"{prefix}.{name}.weight"] = np.ones(HIDDEN, np.float32)
            weights[f"{prefix}.{name}.bias"] = np.zeros(HIDDEN, np.float32)
    safetensors.numpy.save_file(
        weights, directory / "model.safetensors", metadata={"format": "pt"}
    )


if __name__ == "__main__":
    main()
