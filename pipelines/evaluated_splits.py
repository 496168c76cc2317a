"""The splits of a dataset that a model is measured on."""

from pathlib import Path
from typing import Any

from reviewbeam.components.common import artifacts
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.model_directory import ModelMetadata
from reviewbeam.components.common.prepare_config import SPLITS

ALL = "all"  # splits, of a gold set


def check_fit(model: ModelMetadata, dataset: dict[str, Any], split: str) -> None:
    """Refuses a dataset whose token ids or labels mean something else to the model.

    Args:
      model: what it was trained with.
      dataset: the manifest.
      split: which is evaluated; ALL for all of them.

    Raises:
      UserError: says what differs, or that there is no example.
    """
    try:
        pairs = {
            "vocabulary": (model.vocabulary_sha256, dataset["vocabulary_sha256"]),
            "text rules": (model.text.model_dump(mode="json"), dataset["text"]),
            "language detector": (
                model.language_detector,
                dataset["language_detector"],
            ),
            "label type": (model.labels.type, dataset["labels"]["type"]),
            "label names": (list(model.labels.names), dataset["labels"]["names"]),
        }
        examples = count_examples(dataset, split)
    except (KeyError, TypeError) as error:
        raise UserError(
            f"The dataset's manifest is not one that prepare wrote: {error} is missing "
            "or wrong. Run prepare again."
        ) from None
    for what, (of_model, of_dataset) in pairs.items():
        if of_model != of_dataset:
            raise UserError(
                f"The dataset's {what} differ from the model's: {of_dataset} against "
                f"{of_model}. Prepare the dataset with the model's rules and encoder."
            )
    if not examples:
        where = "in any split" if split == ALL else f"in its {split} split"
        raise UserError(
            f"The dataset has no example {where}. Choose another split: in the config, "
            "or prepare a larger corpus."
        )


def count_examples(dataset: dict[str, Any], split: str) -> int:
    """Returns how many examples a manifest tells of a split, or of ALL."""
    return sum(dataset["splits"][name]["examples"] for name in _names(split))


def checked_shards(path: Path, dataset: dict[str, Any], split: str) -> list[str]:
    """Returns the names of a split's shards that hold examples.

    Args:
      path: of the dataset.
      dataset: its manifest.
      split: its name, or ALL.

    Raises:
      UserError: one isn't as the manifest says.
    """
    shards = [
        shard["name"]
        for name in _names(split)
        for shard in dataset["splits"][name]["shards"]
        if shard["examples"]
    ]
    files = {name: dataset["files"][name] for name in shards}
    artifacts.check_files(path, files, "dataset")
    return shards


def _names(split: str) -> tuple[str, ...]:
    return SPLITS if split == ALL else (split,)
