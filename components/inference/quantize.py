"""Post-training quantization to int8 with NNCF, and how far labels move by it.

NNCF's transformer recipe: symmetric int8 weights and int8 activations of the matrix
products, ranges from calibration rows, SmoothQuant (Xiao et al. 2023) to move outliers
of activations into the weights, and corrected biases.
"""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reviewbeam.components.common.calibration import Calibration, calibrated, decide
from reviewbeam.components.common.language_codes import shown_language
from reviewbeam.components.inference.openvino_engine import read_openvino_model
from reviewbeam.components.inference.openvino_library import import_openvino
from reviewbeam.components.inference.quantized import INT8_MODEL

# How much of the outliers goes to the weights. NNCF's own is 0.95; of 0.5, 0.7, 0.8
# and 0.95, and none, this moved the probabilities of a fine-tuned encoder least.
_SMOOTH_QUANT_ALPHA = 0.8


def write_quantized(
    saved_model: str,
    rows: Sequence[tuple[np.ndarray, np.ndarray]],
    directory: Path,
    *,
    exact_narrowing: bool,
) -> None:
    """Quantizes a SavedModel that was looked through before.

    Args:
      saved_model: its directory.
      rows: token ids and mask of the calibration rows, each int32 [1, tokens].
      directory: to write `model.xml` and `model.bin` into.
      exact_narrowing: leave the second layer of each feed-forward network in
        float32: behind the activation function are the ranges that fit int8 least.
        Of the speed that is gained, a third is lost by it.
    """
    openvino = import_openvino()
    nncf = import_openvino("nncf")
    nncf.set_log_level("ERROR")
    model = read_openvino_model(saved_model)
    inputs = [{"token_ids": ids, "padding_mask": mask} for ids, mask in rows]
    alphas = nncf.AdvancedSmoothQuantParameters(matmul=_SMOOTH_QUANT_ALPHA)
    with contextlib.redirect_stdout(io.StringIO()):  # of NNCF's progress bars
        quantized = nncf.quantize(
            model,
            nncf.Dataset(inputs),
            subset_size=len(inputs),
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=nncf.IgnoredScope(names=_exact(model, exact_narrowing)),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                smooth_quant_alphas=alphas
            ),
        )
    openvino.save_model(quantized, directory / INT8_MODEL, compress_to_fp16=False)


def agreement(
    exact: np.ndarray,
    found: np.ndarray,
    languages: Sequence[str | None],
    kind: str,
    calibration: Calibration,
) -> dict[str, Any]:
    """Compares what two engines say of the same rows, calibration and all.

    Args:
      exact: probabilities, float32 [rows, classes], at least one row.
      found: those of the quantized model.
      languages: of the rows.
      kind: the type of the labels.
      calibration: of the model.

    Returns:
      `all` and `languages`, each with `rows` and `agreement`, the share of rows whose
      labels are the same; and `largest_difference` of two calibrated probabilities.
    """
    values = [calibrated(m, languages, kind, calibration) for m in (exact, found)]
    labels = [decide(m, languages, kind, calibration) for m in values]
    same = labels[0] == labels[1]
    if kind == "multilabel":
        same = same.all(axis=1)
    names = np.array([shown_language(language) or "unknown" for language in languages])
    return {
        "all": _share(same),
        "languages": {
            str(name): _share(same[names == name]) for name in np.unique(names)
        },
        "largest_difference": float(np.abs(values[0] - values[1]).max()),
    }


def _exact(model, narrowing: bool) -> list[str]:
    """Names the matrix products that stay in float32: the head, which costs nothing."""
    products = [
        node
        for node in model.get_ordered_ops()
        if node.get_type_name() == "MatMul"
        and node.input_value(1).get_node().get_type_name() == "Constant"
    ]
    head = products[-1:]
    narrower = [node for node in products if narrowing and _narrows(node)]
    return sorted({node.get_friendly_name() for node in head + narrower})


def _narrows(product) -> bool:
    """Tells whether a projection's output is narrower than its input."""
    inputs, outputs = product.input_value(1).get_node().data.shape[-2:]
    if product.get_attributes()["transpose_b"]:
        inputs, outputs = outputs, inputs
    return outputs < inputs


def _share(same: np.ndarray) -> dict[str, Any]:
    return {"rows": len(same), "agreement": float(same.mean())}
