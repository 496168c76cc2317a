"""The folder `openvino-int8` beside a model's core: what `quantize` writes.

model.xml, model.bin    OpenVINO IR
manifest.json           fingerprint of the core it was made from, hashes, agreement
"""

import re
from pathlib import Path
from typing import Any

from reviewbeam.components.common.artifacts import (
    MANIFEST,
    check_files,
    fingerprint,
    read_manifest,
)
from reviewbeam.components.common.errors import UserError
from reviewbeam.components.inference.safe_ir import check_ir

FOLDER = "openvino-int8"
KIND = "quantization"
INT8_MODEL = "model.xml"
INT8_CONSTANTS = "model.bin"


def open_quantized(model: Path, core_fingerprint: str) -> tuple[Path, dict[str, Any]]:
    """Opens the int8 files of a model and checks that they are its own.

    Returns:
      Their folder, and its manifest.

    Raises:
      UserError: there are none, they were made from another model, or a file is
        missing, changed, or no IR of ours.
    """
    folder = model / FOLDER
    if not (folder / MANIFEST).is_file():
        raise UserError(
            f"inference.engine is openvino-int8, and {model} has no {FOLDER}/: "
            f"reviewbeam quantize --model {model} --dataset DATASET."
        )
    manifest = read_manifest(folder, KIND)
    if manifest.get("model") != core_fingerprint:
        raise UserError(
            f"{folder} was made from another model. Make it again: reviewbeam quantize "
            f"--model {model} --dataset DATASET --overwrite."
        )
    files = manifest.get("files")
    check_files(folder, files, "quantized model")
    if set(files) != {INT8_MODEL, INT8_CONSTANTS}:
        raise UserError(f"{folder / MANIFEST} is not a manifest that reviewbeam wrote.")
    check_ir(folder / INT8_MODEL, folder / INT8_CONSTANTS)
    return folder, manifest


def check_processor(cpuinfo_path: str = "/proc/cpuinfo") -> None:
    """Refuses x86 processors without VNNI, the int8 dot products.

    With oneDNN limited to AVX2, OpenVINO 2026.4 returned no rows at all; and there it
    would compute in float32.

    Raises:
      UserError: a processor of this machine has none.
    """
    try:
        cpuinfo = Path(cpuinfo_path).read_text()
    except OSError:  # no Linux: nothing to decide from
        return
    for flags in re.findall(r"^flags\s*:(.*)$", cpuinfo, re.M):
        if not {"avx512_vnni", "avx_vnni"} & set(flags.split()):
            raise UserError(
                "openvino-int8 takes a processor with VNNI instructions, avx512_vnni "
                f"or avx_vnni among the flags in {cpuinfo_path}, and this has none. "
                "Use inference.engine: auto."
            )


def files_fingerprint(manifest: dict[str, Any]) -> str:
    """Identifies the int8 files, which decide a score's bytes."""
    return fingerprint(manifest["files"])


def check_agreement(manifest: dict[str, Any], least: float, model: Path) -> None:
    """Refuses int8 files whose labels differ too often from the exact model's.

    Args:
      manifest: of the int8 files.
      least: the config's `inference.min_agreement`.
      model: their model directory.

    Raises:
      UserError: they agree on fewer rows than that, or were not measured.
    """
    try:
        told = manifest["agreement"]["all"]
        found, rows = float(told["agreement"]), int(told["rows"])
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{model / FOLDER / MANIFEST} is not a manifest that reviewbeam wrote."
        ) from None
    if not found >= least:
        raise UserError(
            f"The labels of {model / FOLDER} agree with the exact model's on "
            f"{found:.2%} of {rows} rows of validation, and inference.min_agreement "
            f"asks for {least:.2%}. Use inference.engine: auto, or set "
            f"inference.min_agreement to {found:.4f} or less."
        )
