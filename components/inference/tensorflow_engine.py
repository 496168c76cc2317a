"""The SavedModel's own signature, on the CPU or a GPU."""

import contextlib

import numpy as np
import tensorflow as tf

from reviewbeam.components.common.errors import UserError


class TensorFlowEngine:
    """A SavedModel that was looked through before."""

    def __init__(
        self,
        saved_model: str,
        *,
        threads: int,
        xla: bool = False,
        device: str | None = None,
    ):
        """Loads it.

        Args:
          saved_model: directory with the signature `serving_default`.
          threads: of this process; in one that has used TensorFlow before, those
            that it then had.
          xla: compile for each new shape of a batch.
          device: where the variables are and the model runs, as in `/GPU:0`; None:
            TensorFlow's own choice, the first GPU if there is one.

        Raises:
          UserError: it is damaged.
        """
        with contextlib.suppress(RuntimeError):  # TensorFlow has its threads already
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        gpus = tf.config.list_physical_devices("GPU")
        # Threads that share one call wait for each other after every operation. A GPU
        # has its own order, and XLA was not tried.
        self.concurrency = 1 if gpus or xla else threads
        for gpu in gpus:
            with contextlib.suppress(RuntimeError):  # in use; then its setting stands
                tf.config.experimental.set_memory_growth(gpu, True)
        self._device = device
        try:
            with tf.device(device):
                self._saved_model = tf.saved_model.load(saved_model)  # has the weights
            signature = self._saved_model.signatures["serving_default"]
        except (
            AssertionError,
            AttributeError,
            KeyError,
            IndexError,
            OSError,
            TypeError,
            ValueError,
            tf.errors.OpError,
        ) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(
                f"TensorFlow {tf.__version__} can't open {saved_model}: "
                f"{reason[:300]}. Copy the model again."
            ) from error
        self._signature = tf.function(signature, jit_compile=True) if xla else signature

    def probabilities(self, token_ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Returns float32 [rows, classes] for int32 [rows, length] inputs."""
        with tf.device(self._device):
            outputs = self._signature(
                token_ids=tf.constant(token_ids), padding_mask=tf.constant(mask)
            )
        return outputs["probabilities"].numpy()
