"""Which precision the encoder computes in while it is trained."""

import tensorflow as tf

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.common.train_config import TrainingConfig

_BFLOAT16_SINCE = (8, 0)  # compute capabilities of Nvidia's GPUs
_FLOAT16_SINCE = (7, 0)


def resolve_precision(config: TrainingConfig, replicas: int) -> str:
    """Returns float32, bfloat16 or float16.

    Weights, gradients' sums, pooling and the head are float32 in any case.

    Args:
      config: `auto` takes what every GPU computes faster; on a CPU float32, since
        only few gain by less.
      replicas: devices that are trained on.

    Raises:
      UserError: what was asked for doesn't work together.
    """
    precision = config.precision
    if precision == "auto":
        gpus = () if config.logical_cpus else tf.config.list_physical_devices("GPU")
        precision = _best(
            [
                tf.config.experimental.get_device_details(gpu).get("compute_capability")
                for gpu in gpus
            ]
        )
    if precision == "float16" and config.xla and replicas > 1:
        raise UserError(
            "training.precision is float16 and training.xla true on "
            f"{replicas} devices; TensorFlow can't do these together. Set "
            "training.precision=bfloat16, or training.xla=false."
        )
    return precision


def _best(capabilities: list[tuple[int, int] | None]) -> str:
    if not capabilities or None in capabilities:
        return "float32"
    least = min(capabilities)
    if least >= _BFLOAT16_SINCE:
        return "bfloat16"
    return "float16" if least >= _FLOAT16_SINCE else "float32"
