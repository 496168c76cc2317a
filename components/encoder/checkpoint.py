"""Decides whether a directory is a usable XLM-R checkpoint, and copies one."""

import shutil
from pathlib import Path

import safetensors

from reviewbeam.components.common.encoder_directory import (
    CONFIG,
    VOCABULARY,
    WEIGHTS_INDEX,
    Architecture,
    read_architecture,
    weight_files,
)
from reviewbeam.components.common.errors import UserError, listing
from reviewbeam.components.encoder.vocabulary import check_vocabulary

# Copied where they are, for tools that read Hugging Face's layout.
TOKENIZER_FILES = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
)
# KerasHub reads weights through NumPy, which has no bfloat16.
_DTYPES = ("F64", "F32", "F16")

Shape = tuple[int, ...]


def check_checkpoint(directory: Path) -> tuple[Architecture, bool]:
    """Checks config, weights and vocabulary, each alone and against each other.

    Only the heads of the weight files are read.

    Returns:
      The architecture, and whether XLM-R's golden ids could be verified.

    Raises:
      UserError: something is missing, damaged or doesn't fit.
    """
    architecture = read_architecture(directory)
    names = weight_files(directory)
    if not (directory / VOCABULARY).is_file():
        raise UserError(
            f"{str(directory)!r} has no {VOCABULARY}. A tokenizer.json doesn't stand "
            "for it: copy the file from the original XLM-R checkpoint."
        )
    tensors: dict[str, tuple[str, Shape]] = {}
    for name in names:
        if name != WEIGHTS_INDEX:
            tensors |= _read_head(directory / name)
    _check_tensors(directory, tensors, architecture)
    verified = check_vocabulary(str(directory / VOCABULARY), architecture.vocabulary)
    return architecture, verified


def copy_checkpoint(source: Path, target: Path) -> None:
    """Copies the files that make a checkpoint, and nothing else."""
    names = [CONFIG, VOCABULARY, *weight_files(source)]
    names += [name for name in TOKENIZER_FILES if (source / name).is_file()]
    for name in names:
        shutil.copyfile(source / name, target / name)


def expected_shapes(architecture: Architecture) -> dict[str, Shape]:
    """Returns tensor name -> shape of an encoder, without a prefix."""
    hidden, ffn = architecture.hidden, architecture.ffn
    shapes: dict[str, Shape] = {
        "embeddings.word_embeddings.weight": (architecture.vocabulary, hidden),
        "embeddings.position_embeddings.weight": (architecture.positions + 2, hidden),
        "embeddings.LayerNorm.weight": (hidden,),
        "embeddings.LayerNorm.bias": (hidden,),
    }
    matrices = {
        "attention.self.query": (hidden, hidden),
        "attention.self.key": (hidden, hidden),
        "attention.self.value": (hidden, hidden),
        "attention.output.dense": (hidden, hidden),
        "intermediate.dense": (ffn, hidden),
        "output.dense": (hidden, ffn),
    }
    for layer in range(architecture.layers):
        prefix = f"encoder.layer.{layer}."
        for name, shape in matrices.items():
            shapes[f"{prefix}{name}.weight"] = shape
            shapes[f"{prefix}{name}.bias"] = shape[:1]
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"{prefix}{name}.weight"] = (hidden,)
            shapes[f"{prefix}{name}.bias"] = (hidden,)
    return shapes


def _read_head(path: Path) -> dict[str, tuple[str, Shape]]:
    if not path.is_file():
        raise UserError(
            f"{str(path.parent)!r} has no {path.name}, which its index lists."
        )
    try:
        with safetensors.safe_open(path, "np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}
            return {
                name: (part.get_dtype(), tuple(part.get_shape()))
                for name, part in slices.items()
            }
    except safetensors.SafetensorError as error:
        raise UserError(
            f"{path} is damaged or was cut short ({error}). Copy it again."
        ) from None


def _check_tensors(
    directory: Path, tensors: dict[str, tuple[str, Shape]], architecture: Architecture
) -> None:
    prefix = "roberta." if any(n.startswith("roberta.") for n in tensors) else ""
    # TensorFlow's old names of a layer norm's parameters live on in XLM-R's files.
    found = {
        name.removeprefix(prefix)
        .replace("LayerNorm.gamma", "LayerNorm.weight")
        .replace("LayerNorm.beta", "LayerNorm.bias"): value
        for name, value in tensors.items()
    }
    expected = expected_shapes(architecture)
    types = found.get("embeddings.token_type_embeddings.weight", ("F32", ()))
    missing = sorted(expected.keys() - found.keys())
    if missing or len(types[1]) != 2:
        raise UserError(
            f"The weights of {str(directory)!r} lack "
            f"{listing(missing or ['embeddings.token_type_embeddings.weight'], 3)}, "
            f"which {CONFIG} announces. Copy the checkpoint again."
        )
    for name, shape in expected.items():
        dtype, found_shape = found[name]
        if found_shape != shape:
            raise UserError(
                f"The weight {name!r} of {str(directory)!r} has shape "
                f"{list(found_shape)}; by {CONFIG} it is {list(shape)}. The two are "
                "of different checkpoints."
            )
        if dtype not in _DTYPES:
            raise UserError(
                f"The weight {name!r} of {str(directory)!r} is {dtype}; one of "
                f"{', '.join(_DTYPES)} was expected. Save the checkpoint as float32."
            )
