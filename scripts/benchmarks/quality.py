"""Holds a fine-tuned model against its own encoder's frozen embeddings.

The baseline is what fine-tuning has to beat: the masked mean of the encoder's last
hidden states, and a balanced logistic regression on top.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, recall_score

from reviewbeam.components.common.encoder_directory import open_encoder
from reviewbeam.components.common.job_configs import ModelConfig
from reviewbeam.components.trainer.dataset import open_dataset
from reviewbeam.components.trainer.input import Split, read_split
from reviewbeam.components.trainer.loop import predict_split
from reviewbeam.components.trainer.model import load_backbone, masked_mean
from reviewbeam.components.trainer.step import make_predict_step


def frozen_embeddings_baseline(
    encoder: str,
    dataset: Path,
    *,
    train: tuple[str, ...] = ("train",),
    test: str = "test",
) -> dict[str, dict[str, Any]]:
    """Returns scores by language of a logistic regression on frozen embeddings.

    Args:
      encoder: directory of the encoder.
      dataset: directory that `prepare` made.
      train: splits to fit on.
      test: split to score.
    """
    data = open_dataset(dataset)
    splits = {
        name: read_split(dataset, name, data.splits[name], data.labels.names)
        for name in {*train, test}
    }
    model = mean_embeddings_model(encoder)
    embeddings = {name: embed(model, split) for name, split in splits.items()}
    predicted = logistic_regression(
        np.concatenate([embeddings[name] for name in train]),
        np.concatenate([splits[name].labels for name in train]),
        embeddings[test],
    )
    languages = read_languages(dataset, data.splits[test])
    return scores_by_language(splits[test].labels, predicted, languages)


def mean_embeddings_model(encoder: str) -> keras.Model:
    """Returns a model from tokens to the masked mean of the last hidden states."""
    backbone = load_backbone(str(open_encoder(encoder).path), ModelConfig())
    mean = masked_mean(backbone.output, backbone.input["padding_mask"])
    return keras.Model(backbone.input, mean)


def embed(model: keras.Model, split: Split, batch_tokens: int = 4096) -> np.ndarray:
    """Returns float32 [rows, width]."""
    predict = make_predict_step(tf.distribute.get_strategy(), model)
    return predict_split(predict, split, batch_tokens)


def logistic_regression(
    embeddings: np.ndarray, labels: np.ndarray, test_embeddings: np.ndarray
) -> np.ndarray:
    """Fits on some rows and returns the classes predicted for others."""
    classifier = LogisticRegression(C=1.0, class_weight="balanced", max_iter=5000)
    return classifier.fit(embeddings, labels).predict(test_embeddings)


def scores_by_language(
    labels: np.ndarray, predicted: np.ndarray, languages: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Returns rows, accuracy, macro F1 and recalls of each language."""
    classes = np.unique(labels)
    scores = {}
    for language in sorted(set(languages)):
        chosen = languages == language
        true, guessed = labels[chosen], predicted[chosen]
        recalls = recall_score(
            true, guessed, labels=classes, average=None, zero_division=0
        )
        scores[language] = {
            "rows": int(chosen.sum()),
            "accuracy": round(float(accuracy_score(true, guessed)), 4),
            "macro_f1": round(
                float(
                    f1_score(
                        true, guessed, labels=classes, average="macro", zero_division=0
                    )
                ),
                4,
            ),
            "recall": [round(float(recall), 3) for recall in recalls],
        }
    return scores


def read_languages(dataset: Path, described: dict[str, Any]) -> np.ndarray:
    """Returns the language of each row of a split, in the order of `read_split`."""
    feature = {"language": tf.io.FixedLenFeature([], tf.string, default_value=b"")}
    paths = [str(dataset / shard["name"]) for shard in described["shards"]]
    records = tf.data.TFRecordDataset(paths, compression_type="GZIP").batch(1024)
    parsed = records.map(lambda batch: tf.io.parse_example(batch, feature))
    values = [batch["language"].numpy() for batch in parsed]
    return np.concatenate(values).astype(str)


def main() -> None:
    """Prints the baseline's scores on a prepared dataset as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--dataset", required=True, type=Path)
    arguments = parser.parse_args()
    scores = frozen_embeddings_baseline(arguments.encoder, arguments.dataset)
    print(json.dumps({"frozen embeddings, logistic regression": scores}, indent=1))


if __name__ == "__main__":
    main()
