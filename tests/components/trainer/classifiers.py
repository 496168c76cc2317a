"""Classifiers with the head that transformers knows, for the tests of exports."""

import keras

from reviewbeam.components.common.model_directory import ModelMetadata
from reviewbeam.components.common.train_config import TrainConfig
from reviewbeam.components.trainer.model import build_classifier, load_backbone

HASH = "0" * 64


def make_metadata(encoder, labels, model=None, **changes):
    """Returns the metadata of a model that was never trained."""
    config = {"encoder": str(encoder), "model": model or {}}
    count = {"binary": 1, "multilabel": len(labels["names"])}.get(labels["type"], 0)
    return ModelMetadata.model_validate(
        {
            "labels": labels,
            "text": {"max_tokens": 64},
            "split": {},
            "config": TrainConfig.model_validate(config).model_dump(),
            "language_detector": None,
            "vocabulary_sha256": HASH,
            "weights_sha256": HASH,
            "encoder_fingerprint": HASH,
            "dataset_fingerprint": HASH,
            "initial_model": None,
            "class_weights": (1.0,) * len(labels["names"]),
            "calibration": {"thresholds": (0.5,) * count},
            "training_statistics": {},
            "versions": {"keras": keras.__version__},
        }
        | changes
    )


def make_classifier(encoder, metadata):
    """Builds the classifier; every weight of its head is drawn at random."""
    model = metadata.config.model
    backbone = load_backbone(str(encoder), model)
    classifier = build_classifier(backbone, metadata.labels, model)
    for name in ("hidden", "logits"):
        if name in {layer.name for layer in classifier.layers}:
            layer = classifier.get_layer(name)
            for index, weight in enumerate(layer.weights):
                weight.assign(keras.random.normal(weight.shape, seed=index))
    return classifier
