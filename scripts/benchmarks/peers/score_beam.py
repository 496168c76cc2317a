"""What Beam brings for this: HuggingFacePipelineModelHandler under RunInference.

python score_beam.py --model MODEL/hf --input a.jsonl --output b.jsonl
"""

import importlib
import importlib.machinery
import json
import sys
import types

import apache_beam as beam
import score_files
import torch
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from transformers import AutoModel

# Beam's module imports two names for its other handlers. transformers 5 has no such
# class, and TensorFlow dies beside PyTorch's Triton: both bring LLVM.
importlib.import_module("transformers.pipelines")  # it makes the package anew
sys.modules["transformers"].TFAutoModel = AutoModel
sys.modules["tensorflow"] = types.ModuleType("tensorflow")
sys.modules["tensorflow"].Tensor = torch.Tensor
sys.modules["tensorflow"].__spec__ = importlib.machinery.ModuleSpec("tensorflow", None)
from apache_beam.ml.inference.huggingface_inference import (  # noqa: E402
    HuggingFacePipelineModelHandler,
)


class _Handler(HuggingFacePipelineModelHandler):
    def load_model(self):
        model = super().load_model()
        score_files.jobs.append(score_files.Job())
        return model


def main() -> None:
    parser = score_files.arguments(__doc__)
    parser.add_argument("--batch", type=int, default=32, metavar="ROWS")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with open(f"{options.model}/config.json", encoding="utf-8") as file:
        place = json.load(file)["label2id"]
    handler = _Handler(
        task="text-classification",
        model=options.model,
        device="CPU",
        # Keys leave a tuple, which a pipeline takes for one text.
        inference_fn=lambda texts, model, more: model(list(texts), **more),
        load_pipeline_args={"top_k": None},
        inference_args={
            "batch_size": options.batch,
            "truncation": True,
            "max_length": options.max_tokens,
        },
        min_batch_size=options.batch,
        max_batch_size=options.batch,
    )
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        _ = (
            pipeline
            | beam.io.ReadFromText(options.input)
            | beam.Map(json.loads)
            | beam.Map(lambda row: (row["id"], row["text"].strip()))
            | RunInference(KeyedModelHandler(handler))
            | beam.MapTuple(lambda key, found: _line(key, found.inference, place))
            | beam.io.WriteToText(options.output, shard_name_template="")
        )
    with open(options.output, encoding="utf-8") as lines:
        score_files.jobs[0].say(reviews=sum(1 for _ in lines))


def _line(key: str, scores: list[dict], place: dict[str, int]) -> str:
    probabilities = [0.0] * len(place)
    for each in scores:
        probabilities[place[each["label"]]] = each["score"]
    label = probabilities.index(max(probabilities))
    return json.dumps({"id": key, "label": label, "probabilities": probabilities})


if __name__ == "__main__":
    main()
