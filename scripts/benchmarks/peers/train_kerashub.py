"""What KerasHub's documentation shows: its own text classifier, fitted to strings.

The preprocessor pads every review to --max-tokens; the same layers are frozen as in
`reviewbeam train`. Prints one line of JSON: speed in real tokens, padding, peak memory.

    python train_kerashub.py --encoder DIR --reviews train.jsonl
"""

import argparse
import json
import os
import random
import resource
import time
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras  # noqa: E402
import keras_hub  # noqa: E402
import numpy as np  # noqa: E402

_CLASSES = 3


class Clock(keras.callbacks.Callback):
    """Measures from the end of the first batches to the end of the last."""

    def __init__(self, skip: int):
        super().__init__()
        self.skip = skip
        self.first = self.last = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Takes the time, behind the batch's work, since the loss was read."""
        float(logs["loss"])
        self.last = time.perf_counter()
        if batch < self.skip:
            self.first = self.last


def build(options: argparse.Namespace) -> keras.Model:
    """Returns the classifier, its lower half frozen with --trained half."""
    models = keras_hub.models
    backbone = models.XLMRobertaBackbone.from_preset(options.encoder, dropout=0.1)
    vocabulary = str(Path(options.encoder, "sentencepiece.bpe.model"))
    preprocessor = models.XLMRobertaTextClassifierPreprocessor(
        models.XLMRobertaTokenizer(proto=vocabulary),
        sequence_length=options.max_tokens,
    )
    classifier = models.XLMRobertaTextClassifier(
        backbone=backbone,
        num_classes=_CLASSES,
        preprocessor=preprocessor,
        dropout=0.1,
    )
    if options.trained == "half":
        layers = backbone.transformer_layers
        frozen = [backbone.embeddings, backbone.embeddings_layer_norm]
        for layer in frozen + layers[: len(layers) // 2]:
            layer.trainable = False
    classifier.compile(
        optimizer=keras.optimizers.AdamW(3e-4, weight_decay=0.01, global_clipnorm=1.0),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return classifier


def main() -> None:
    options = _arguments()
    keras.utils.set_random_seed(1)
    with open(options.reviews, encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    random.Random(1).shuffle(texts)
    labels = np.arange(len(texts)) % _CLASSES  # no speed depends on them
    classifier = build(options)
    clock = Clock(options.skip)
    classifier.fit(
        x=np.array(texts, object),
        y=labels,
        batch_size=options.batch_rows,
        epochs=1,
        shuffle=False,
        callbacks=[clock],
        verbose=0,
    )
    measured = texts[options.skip * options.batch_rows :]
    pieces = np.array([len(ids) for ids in classifier.preprocessor.tokenizer(measured)])
    tokens = int(np.minimum(pieces + 2, options.max_tokens).sum())  # <s>, </s>
    seconds = clock.last - clock.first
    facts = vars(options) | {
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "padding": 1 - tokens / (len(measured) * options.max_tokens),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(facts))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--encoder", required=True, help="a Hugging Face directory")
    add("--reviews", required=True, metavar="JSONL")
    add("--trained", choices=["half", "all"], default="half", help="what is trained")
    add("--batch-rows", type=int, default=32)
    add("--max-tokens", type=int, default=128)
    add("--skip", type=int, default=2, help="first batches, not measured")
    return parser.parse_args()


if __name__ == "__main__":
    main()
