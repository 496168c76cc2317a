"""Opens a Keras file without running any code that comes with it.

Keras's own safe mode refuses pickled lambdas, and still lets a file name any class
of keras and keras_hub, some of which read files, import modules or load code. Here
a file is looked through before Keras sees it: what is in the archive, each class its
config names, and what the weights are.
"""

import json
import os
import re
import struct
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn

import keras
import keras_hub  # noqa: F401  # registers its layers

from reviewbeam.components.common.errors import UserError, listing
from reviewbeam.components.trainer.safe_hdf5 import check_weights

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_MOST_CONFIG_BYTES = 16 << 20
_PATH = re.compile(r"^[/~\\]|://|(^|[/\\])\.\.([/\\]|$)")  # out of the file
_LAYERS = (
    "Activation Add Attention Average AdditiveAttention BatchNormalization "
    "Bidirectional Concatenate Conv1D Dense Dot Dropout EinsumDense ELU Embedding "
    "Flatten GaussianDropout GlobalAveragePooling1D GlobalMaxPooling1D "
    "GroupNormalization GRU InputLayer LayerNormalization LeakyReLU LSTM Masking "
    "Maximum Minimum MultiHeadAttention Multiply Permute PReLU ReLU RepeatVector "
    "Reshape ReversibleEmbedding RMSNormalization Softmax SpatialDropout1D Subtract "
    "UnitNormalization"
)
_OPTIMIZERS = "Adadelta Adagrad Adam Adamax AdamW Lion Nadam RMSprop SGD"
_LOSSES = (
    "BinaryCrossentropy BinaryFocalCrossentropy CategoricalCrossentropy "
    "CategoricalFocalCrossentropy Huber KLDivergence MeanAbsoluteError "
    "MeanSquaredError SparseCategoricalCrossentropy"
)
_INITIALIZERS = (
    "Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity LecunNormal "
    "LecunUniform Ones Orthogonal RandomNormal RandomUniform TruncatedNormal "
    "VarianceScaling Zeros"
)
# Module -> the classes that a file may name. None of them reads a file, imports a
# module or holds code.
_CLASSES = {
    "keras": {"DTypePolicy"},
    "keras.layers": set(_LAYERS.split()),
    "keras.initializers": set(_INITIALIZERS.split()),
    "keras.regularizers": {"L1", "L2", "L1L2"},
    "keras.constraints": {"MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"},
    "keras.optimizers": set(_OPTIMIZERS.split()),
    "keras.losses": set(_LOSSES.split()),
    "keras.src.models.functional": {"Functional"},
    "keras_hub.src.layers.modeling.position_embedding": {"PositionEmbedding"},
    "keras_hub.src.layers.modeling.transformer_encoder": {"TransformerEncoder"},
}
# Modules of which every class is an operation on tensors.
_OPERATIONS = {
    "keras.src.ops.linalg",
    "keras.src.ops.math",
    "keras.src.ops.nn",
    "keras.src.ops.numpy",
}
_CORE_OPERATIONS = {"Cast", "Shape", "Slice", "StopGradient"}
# What Keras writes for values that JSON has no type for.
_VALUES = {"__keras_tensor__", "__slice__", "__ellipsis__", "__tensor__", "__numpy__"}


def load_keras_model(
    path: str | os.PathLike,
    *,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = False,
) -> keras.Model:
    """Loads a Keras file after a look through it.

    Args:
      path: of the file.
      custom_objects: registered name -> class or function: the user's own that the
        file may name, imported because the config asks.
      compile: with the optimizer's state and the loss.

    Raises:
      UserError: it is damaged, no model of ours, or names what could run code.
    """
    path = Path(path)
    config = _read_archive(path)
    try:
        data = json.loads(config)
        if not compile and isinstance(data, dict):
            data.pop("compile_config", None)  # as Keras does
        _check_names(path, data, set(custom_objects or ()))
    except (ValueError, RecursionError):
        _refuse(path, f"its {_CONFIG} is not what Keras writes")
    try:
        return keras.models.load_model(
            path,
            custom_objects=dict(custom_objects or {}),
            compile=compile,
            safe_mode=True,
        )
    except (
        AttributeError,
        ImportError,
        KeyError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"Keras {keras.__version__} can't open {path}: {reason[:300]}. Copy the "
            "model again, or open it with the version that model.json names."
        ) from error


def _read_archive(path: Path) -> bytes:
    """Checks the members of the archive and the weights; returns the config."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            config = _check_members(path, members)
            text = archive.read(config)
        weights = next(m for m in members if m.filename == _WEIGHTS)
        start = _start(path, weights)
    except FileNotFoundError:
        raise UserError(f"There is no {path}. Copy the whole model again.") from None
    except (
        EOFError,
        NotImplementedError,
        OSError,
        ValueError,
        struct.error,
        zipfile.BadZipFile,
    ):
        _refuse(path, "it is no archive that Keras wrote, or was cut short")
    check_weights(path, start, weights.file_size)
    return text


def _start(path: Path, member: zipfile.ZipInfo) -> int:
    """Returns where a member's bytes begin: behind its header, name and extras."""
    with open(path, "rb") as file:
        file.seek(member.header_offset + 26)
        return member.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> zipfile.ZipInfo:
    """Returns the member that holds the config."""
    names = sorted(member.filename for member in members)
    if names != sorted([_CONFIG, _METADATA, _WEIGHTS]):
        expected = f"{_CONFIG}, {_METADATA} and {_WEIGHTS} were expected"
        _refuse(path, f"it holds {listing(names)}; {expected}")
    for member in members:
        # Keras stores members as they are, so that none is larger than the file.
        if (
            member.compress_type != zipfile.ZIP_STORED
            or member.file_size != member.compress_size
            or member.file_size > path.stat().st_size
            or member.flag_bits & 1  # encrypted
        ):
            _refuse(path, f"its {member.filename!r} is compressed; Keras doesn't do so")
    config = next(member for member in members if member.filename == _CONFIG)
    if config.file_size > _MOST_CONFIG_BYTES:
        _refuse(path, f"its {_CONFIG} has {config.file_size} bytes")
    return config


def _check_names(path: Path, value: Any, custom: Collection[str]) -> None:
    if isinstance(value, list):
        for item in value:
            _check_names(path, item, custom)
    elif isinstance(value, dict):
        if "class_name" in value:
            _check_class(path, value, custom)
        for item in value.values():
            _check_names(path, item, custom)
    elif isinstance(value, str) and _PATH.search(value):
        _refuse(path, f"its {_CONFIG} leads to {value[:80]!r}")


def _check_class(path: Path, value: dict[str, Any], custom: Collection[str]) -> None:
    name, module = value["class_name"], value.get("module")
    registered = value.get("registered_name")
    if not all(part is None or isinstance(part, str) for part in (name, module)):
        _refuse(path, f"its {_CONFIG} has a class_name {str(name)[:80]!r}")
    wanted = value.get("config") if name == "function" else registered or name
    if isinstance(wanted, str) and wanted in custom:
        return
    known = (
        name in _CLASSES.get(module, ())
        or module in _OPERATIONS
        or (module == "keras.src.ops.core" and name in _CORE_OPERATIONS)
    )
    # By another name Keras would look up what other packages have registered.
    honest = registered in (None, name, f"keras_hub>{name}")
    if name in _VALUES and module in (None, "builtins") and registered is None:
        return
    if not (known and honest):
        shown = wanted if name == "function" else registered or name
        full = ".".join(str(part) for part in (module, shown) if part)
        _refuse(
            path,
            f"its {_CONFIG} names {full[:120]!r}, which is not among the layers, "
            "operations and losses that can't run code, nor one of the user's own "
            "that the config names",
        )


def _refuse(path: Path, reason: str) -> NoReturn:
    raise UserError(
        f"{path} was not opened: {reason}. Use a model from where you trust it."
    )
