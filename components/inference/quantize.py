"""Post-training quantization to int8 with NNCF, and how far labels move by it.

Weights have a scale and a zero point for each output channel. Activations become
int8 while the model runs (dynamic quantization): each token's vector in groups of
neighbours, each with a scale of its own. So there are no ranges to calibrate, and an
outlier costs its own group alone.
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

# Activations that share a scale. With 32 and 64 a fine-tuned encoder (12 x 384) was
# slower, with 192 and 384 as fast; with 384 its probabilities moved further.
GROUP_SIZE = 128


def write_quantized(saved_model: str, directory: Path) -> None:
    """Quantizes a SavedModel that was looked through before.

    Args:
      saved_model: its directory.
      directory: to write `model.xml` and `model.bin` into.
    """
    openvino = import_openvino()
    nncf = import_openvino("nncf")
    nncf.set_log_level("ERROR")
    model = read_openvino_model(saved_model)
    with contextlib.redirect_stdout(io.StringIO()):  # of NNCF's progress bars
        quantized = nncf.compress_weights(
            model,
            mode=nncf.CompressWeightsMode.INT8_ASYM,
            ignored_scope=nncf.IgnoredScope(names=_head(model)),
        )
    # OpenVINO takes it from the file when it compiles.
    option = ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"]
    quantized.set_rt_info(str(GROUP_SIZE), option)
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


def _head(model) -> list[str]:
    """Names the last matrix product, which stays in float32 and costs nothing."""
    products = [
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() == "MatMul"
        and node.input_value(1).get_node().get_type_name() == "Constant"
    ]
    return products[-1:]


def _share(same: np.ndarray) -> dict[str, Any]:
    return {"rows": len(same), "agreement": float(same.mean())}
