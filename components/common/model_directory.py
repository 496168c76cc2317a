"""The model directory: what `train` writes and whatever uses a model reads.

saved_model/         serving_default: token_ids, padding_mask int32
                     [batch, length] -> probabilities float32 [batch, classes]
model.keras          the same model for Keras
hf/                  the same model for transformers, where it has such a one
tokenizer/           the SentencePiece vocabulary
model.json           ModelMetadata
history.json         metrics of each epoch
README.md            the model card
training_texts.u64   hashes of the texts it learned from, `text_hashes`
validation_texts.u64 and of those that chose its epoch and calibrated it
manifest.json        fingerprints; size and SHA-256 of every file

What comes later lies beside: report.html, BLESSED, openvino-int8/.
"""

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pydantic

from reviewbeam.components.common.artifacts import (
    MANIFEST,
    check_files,
    files_below,
    fingerprint,
    read_json,
    read_manifest,
    write_json,
    write_manifest,
)
from reviewbeam.components.common.calibration import Calibration
from reviewbeam.components.common.config import Config, check_config
from reviewbeam.components.common.corpus_config import TextRules
from reviewbeam.components.common.errors import UserError, listing
from reviewbeam.components.common.prepare_config import LabelRules, SplitRules
from reviewbeam.components.common.train_config import TrainConfig

SAVED_MODEL = "saved_model"
KERAS_FILE = "model.keras"
VOCABULARY = "tokenizer/sentencepiece.bpe.model"
METADATA = "model.json"
HISTORY = "history.json"
HUGGING_FACE = "hf"
MODEL_CARD = "README.md"
MODEL_NAME = re.compile(r"m-[0-9a-f]{16}")  # of a folder named by its content

_SAVED_MODEL_FILES = (
    r"(saved_model|fingerprint)\.pb"
    r"|variables/variables\.(index|data-[0-9]{5}-of-[0-9]{5})"
)
_NEEDED = {METADATA, VOCABULARY, f"{SAVED_MODEL}/saved_model.pb"}


class ModelMetadata(Config):
    """What a model must know to be applied to texts, besides its weights."""

    labels: LabelRules
    text: TextRules
    split: SplitRules  # which texts it may have been trained on
    config: TrainConfig
    language_detector: dict[str, str] | None  # None: languages are as they are given
    vocabulary_sha256: str
    weights_sha256: str  # over shapes and bytes, in the model's order
    encoder_fingerprint: str
    dataset_fingerprint: str
    initial_model: str | None  # core fingerprint of that given as --init
    # By class; multilabel: what a row that has the label counts, one without it 1.
    class_weights: tuple[float, ...]
    calibration: Calibration
    # Per split: examples, labels, languages, histograms of its reviews; and the
    # predictions on validation, with histograms of them.
    training_statistics: dict[str, Any]
    versions: dict[str, str]

    @pydantic.model_validator(mode="after")
    def _check(self):
        counts = {"binary": 1, "multilabel": len(self.labels.names)}
        expected = counts.get(self.labels.type, 0)
        slices = {"all rows": self.calibration, **self.calibration.languages}
        for name, part in slices.items():
            if len(part.thresholds) != expected:
                raise ValueError(
                    f"calibration of {name} has {len(part.thresholds)} thresholds; "
                    f"{len(self.labels.names)} {self.labels.type} labels take "
                    f"{expected}"
                )
        return self

    def core_fingerprint(self) -> str:
        """Identifies all that decides a prediction: equal for equal models."""
        return fingerprint(
            self.model_dump(
                mode="json",
                include={
                    "labels",
                    "text",
                    "vocabulary_sha256",
                    "weights_sha256",
                    "calibration",
                },
            )
        )


@dataclasses.dataclass(frozen=True)
class ModelDirectory:
    """A model directory that was checked.

    Attributes:
      path: the directory.
      metadata: what model.json says.
      core_fingerprint: of all that decides a prediction; equal for equal models.
      content_fingerprint: of every file that the manifest describes, and of what it
        says besides: of this very copy of the model.
    """

    path: Path
    metadata: ModelMetadata
    core_fingerprint: str
    content_fingerprint: str

    @property
    def saved_model(self) -> str:
        """Path of the SavedModel."""
        return str(self.path / SAVED_MODEL)

    @property
    def vocabulary(self) -> str:
        """Path of the SentencePiece vocabulary."""
        return str(self.path / VOCABULARY)


def write_model_manifest(directory: Path, identity: str, core: str) -> None:
    """Completes a staged model directory.

    Args:
      directory: with all files of the model.
      identity: fingerprint of all that it was made from, for `is_done`.
      core: its core fingerprint.
    """
    manifest = write_manifest(
        directory,
        "model",
        identity,
        files=files_below(directory),
        core_fingerprint=core,
    )
    content = {"content_fingerprint": fingerprint(manifest)}
    write_json(directory / MANIFEST, manifest | content)


def model_fingerprints(path: str | os.PathLike) -> tuple[str, str]:
    """Returns core and content fingerprint of a model, whose files aren't looked at.

    Raises:
      UserError: it is no model, its manifest was changed, or it lies in a folder that
        is named by the content of another one.
    """
    directory = Path(path)
    manifest = read_manifest(directory, "model")
    content = manifest.pop("content_fingerprint", None)
    if content != fingerprint(manifest):
        _refuse(directory, "its manifest was changed after the model was written")
    name = directory.resolve().name
    if MODEL_NAME.fullmatch(name) and name != model_name(content):
        _refuse(directory, f"it holds {model_name(content)}")
    return manifest["core_fingerprint"], content


def model_name(content_fingerprint: str) -> str:
    """Returns the name of a model's folder among others."""
    return f"m-{content_fingerprint[:16]}"


def open_model(path: str) -> ModelDirectory:
    """Opens a model directory and checks every file against its manifest.

    The manifest tells accidents, not attacks: who can change a file can write its
    hash anew, and the manifest's own. So what is loaded is looked through besides, by
    whoever loads it. A folder that is named by its content, as those of a models
    folder are, holds that content or isn't opened.

    Raises:
      UserError: it is no model, a file is missing or changed or leads out of the
        directory, the SavedModel has files that are no part of one, or labels, text
        rules, calibration or vocabulary are not those of the manifest.
    """
    directory = Path(path)
    manifest = read_manifest(directory, "model")
    described = manifest.get("files")
    check_files(directory, described, "model")
    missing = sorted(_NEEDED - described.keys())
    if missing:
        _refuse(directory, f"its manifest doesn't describe {listing(missing)}")
    _check_saved_model_files(directory / SAVED_MODEL, described)
    core, content = model_fingerprints(directory)
    try:
        data = read_json(directory / METADATA)
    except (ValueError, RecursionError):
        raise UserError(f"{directory / METADATA} is no JSON text.") from None
    metadata = check_config(ModelMetadata, data, str(directory / METADATA))
    if core != metadata.core_fingerprint():
        _refuse(
            directory,
            f"labels, text rules, weights or calibration in {METADATA} are not those "
            "that its manifest was written for",
        )
    if metadata.vocabulary_sha256 != described[VOCABULARY]["sha256"]:
        _refuse(directory, f"{VOCABULARY} is not the vocabulary that {METADATA} names")
    return ModelDirectory(directory, metadata, core, content)


def _refuse(directory: Path, reason: str) -> NoReturn:
    raise UserError(
        f"{directory} is no sound model: {reason}. Copy the model again, or train it "
        "again."
    )


def _check_saved_model_files(directory: Path, described: Mapping[str, Any]) -> None:
    for name in files_below(directory):
        if f"{SAVED_MODEL}/{name}" not in described or not re.fullmatch(
            _SAVED_MODEL_FILES, name
        ):
            raise UserError(
                f"{directory} was not opened: {name!r} is no part of a SavedModel of "
                "ours. Use a model from where you trust it."
            )
