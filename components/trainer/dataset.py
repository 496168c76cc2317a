"""Opens a dataset for training and refuses what can't be trained on."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

from reviewbeam.components.common.artifacts import read_manifest
from reviewbeam.components.common.config import check_config
from reviewbeam.components.common.corpus_config import TextRules
from reviewbeam.components.common.encoder_directory import EncoderDirectory
from reviewbeam.components.common.errors import UserError, listing
from reviewbeam.components.common.prepare_config import SPLITS, LabelRules, SplitRules
from reviewbeam.components.common.train_config import TrainConfig


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A dataset directory whose manifest was checked.

    Attributes:
      path: the directory.
      fingerprint: of what it was made from.
      labels: the classes.
      text: how texts became tokens.
      split: how examples were divided.
      vocabulary_sha256: of the vocabulary they were tokenized with.
      splits: the manifest's description of each split.
      language_detector: what told missing languages; None: nothing did.
      augmented: its description of the examples made of the train split's; None
        without any.
      gold: it was set apart to evaluate models by.
    """

    path: Path
    fingerprint: str
    labels: LabelRules
    text: TextRules
    split: SplitRules
    vocabulary_sha256: str
    splits: dict[str, Any]
    language_detector: dict[str, str] | None = None
    augmented: dict[str, Any] | None = None
    gold: bool = False

    def statistics(self) -> dict[str, Any]:
        """Returns the counts of each split, for the model's metadata."""
        keys = ("examples", "tokens", "labels", "languages", "histograms")
        return {
            name: {key: described[key] for key in keys if key in described}
            for name, described in self._described().items()
        }

    def training_labels(self) -> dict[str, int]:
        """Returns how many examples of each label are trained on, augmented or not."""
        augmented = self.augmented["labels"] if self.augmented else {}
        return dict(Counter(self.splits["train"]["labels"]) + Counter(augmented))

    def training_examples(self) -> int:
        """Returns how many examples are trained on, augmented or not."""
        augmented = self.augmented["examples"] if self.augmented else 0
        return self.splits["train"]["examples"] + augmented

    def _described(self) -> dict[str, dict[str, Any]]:
        """The splits, and the augmented examples beside them."""
        augmented = {"augmented": self.augmented} if self.augmented else {}
        return self.splits | augmented


def open_dataset(path: Path) -> Dataset:
    """Reads the manifest of a dataset.

    Raises:
      UserError: there is no dataset, or its manifest doesn't fit together.
    """
    manifest = read_manifest(path, "dataset")
    origin = f"The manifest of {str(path)!r}"
    try:
        dataset = Dataset(
            path=path,
            fingerprint=manifest["fingerprint"],
            labels=check_config(LabelRules, manifest["labels"], origin),
            text=check_config(TextRules, manifest["text"], origin),
            split=check_config(SplitRules, manifest["split"], origin),
            vocabulary_sha256=manifest["vocabulary_sha256"],
            splits={name: manifest["splits"][name] for name in SPLITS},
            language_detector=manifest["language_detector"],
            augmented=manifest.get("augmented"),
            gold=manifest.get("gold", False),
        )
    except KeyError as error:
        raise UserError(f"{origin} has no {error}. Run prepare again.") from None
    for name, described in dataset._described().items():
        unknown = sorted(set(described["labels"]) - set(dataset.labels.names))
        if unknown:
            raise UserError(
                f"{origin} counts labels in the {name} split that are not among its "
                f"names {listing(dataset.labels.names)}: {listing(unknown)}. "
                "Run prepare again."
            )
    return dataset


def check_trainable(
    dataset: Dataset, encoder: EncoderDirectory, config: TrainConfig
) -> None:
    """Refuses a dataset that doesn't fit the encoder or can't teach anything.

    Raises:
      UserError: says what doesn't fit and what to do.
    """
    where = f"The dataset {str(dataset.path)!r}"
    if dataset.gold:
        raise UserError(
            f"{where} is a gold set (gold: true in its config), which no training may "
            "use: evaluate takes it as --gold. Train with another dataset."
        )
    if dataset.vocabulary_sha256 != encoder.vocabulary_sha256:
        raise UserError(
            f"{where} was tokenized with another vocabulary (SHA-256 "
            f"{dataset.vocabulary_sha256[:12]}…) than that of the encoder "
            f"{config.encoder!r} ({encoder.vocabulary_sha256[:12]}…). Train with the "
            "encoder that prepare used, or prepare the corpus again with this one."
        )
    if dataset.text.max_tokens > encoder.architecture.positions:
        raise UserError(
            f"{where} has texts of up to {dataset.text.max_tokens} tokens; the encoder "
            f"{config.encoder!r} takes {encoder.architecture.positions}. Prepare again "
            f"with text.max_tokens={encoder.architecture.positions}."
        )
    layers = encoder.architecture.layers
    if config.model.frozen_layers(layers) > layers:
        raise UserError(
            f"model.freeze_layers is {config.model.freeze_layers}, but the encoder "
            f"{config.encoder!r} has {encoder.architecture.layers} layers."
        )
    if config.model.lora and config.model.frozen_layers(layers) == layers:
        raise UserError(
            "model.lora adapts the layers that aren't frozen, and model.freeze_layers "
            f"is {config.model.freeze_layers}: all of the encoder's. Set freeze_layers "
            "to fewer."
        )
    train, validation = dataset.splits["train"], dataset.splits["validation"]
    if not train["examples"]:
        raise UserError(
            f"{where} has no training examples. Prepare more reviews, or with smaller "
            "split.validation and split.test."
        )
    _check_labels(dataset, where)
    metric = config.training.early_stopping_metric
    if metric == "error" and dataset.labels.type != "ordinal":
        raise UserError(
            "training.early_stopping_metric is 'error', which ordinal labels have; "
            f"those of {where[4:]} are {dataset.labels.type}. Set macro_f1, accuracy, "
            "loss or none."
        )
    if not validation["examples"] and metric != "none":
        raise UserError(
            f"{where} has no validation examples to choose the best epoch by. Prepare "
            "again with a larger split.validation, or set "
            "training.early_stopping_metric=none to keep the last epoch."
        )


def _check_labels(dataset: Dataset, where: str) -> None:
    """Refuses training labels that nothing can be told apart by."""
    counts = dataset.splits["train"]["labels"]
    present = [name for name in dataset.labels.names if counts.get(name)]
    if dataset.labels.type == "multilabel":
        rows = dataset.splits["train"]["examples"]
        if not any(counts[name] < rows for name in present):
            raise UserError(
                f"Each training example of {where[4:]} has the same labels: "
                f"{listing(present)}. Prepare reviews with other labels too, or check "
                "labels.mapping."
            )
    elif len(present) < 2:
        raise UserError(
            f"All training examples of {where[4:]} have the label {present[0]!r}; at "
            f"least two of {listing(dataset.labels.names)} are needed. Prepare reviews "
            "of the other classes too, or check labels.mapping."
        )
