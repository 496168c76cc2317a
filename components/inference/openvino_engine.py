"""OpenVINO on the CPU: reads the SavedModel itself, or files that NNCF quantized."""

import threading

import numpy as np

from reviewbeam.components.common.errors import UserError
from reviewbeam.components.inference.einsum import einsum_to_matmul
from reviewbeam.components.inference.faults import is_out_of_memory
from reviewbeam.components.inference.openvino_library import (
    drop_signal_stack,
    import_openvino,
)


def read_openvino_model(path: str):
    """Reads a SavedModel directory or an `.xml` file as an `openvino.Model`.

    Raises:
      UserError: OpenVINO can't read it.
    """
    openvino = import_openvino()
    frontend = openvino.frontend
    try:
        model = openvino.Core().read_model(path)
        einsum_to_matmul(model)
    except (
        RuntimeError,
        frontend.GeneralFailure,
        frontend.InitializationFailure,
        frontend.NotImplementedFailure,
        frontend.OpConversionFailure,  # an operation that OpenVINO doesn't have
        frontend.OpValidationFailure,
    ) as error:
        if is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"OpenVINO {openvino.__version__} can't open {path}: {reason[:300]}. Set "
            "inference.engine: tensorflow, or copy the model again."
        ) from error
    return model


class OpenVinoEngine:
    """A model that OpenVINO compiled for this processor."""

    concurrency = 1  # all threads work on one call; a stream each gave 3 to 9 % more

    def __init__(self, path: str, *, threads: int):
        """Reads and compiles a model that was looked through before.

        Args:
          path: of a SavedModel directory, or of an `.xml` file beside its `.bin`.
          threads: of this process.

        Raises:
          UserError: OpenVINO can't read it.
        """
        self._path = path
        self._threads = threads
        self._lock = threading.Lock()  # a request serves one thread at a time
        self._request = self._open()

    def probabilities(self, token_ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Returns float32 [rows, classes] for int32 [rows, length] inputs."""
        with self._lock:
            if self._request is None:
                self._request = self._open()
            request, self._request = self._request, None
            outputs = request.infer(
                {"token_ids": token_ids, "padding_mask": mask}, share_inputs=True
            )
            values = np.array(outputs["probabilities"])
            # After a failure, for want of memory for one, a compiled model fails on
            # whatever comes next: so it is kept only if it went well.
            self._request = request
            return values

    def _open(self):
        compiled = (
            import_openvino()
            .Core()
            .compile_model(
                read_openvino_model(self._path),
                "CPU",
                {
                    # bfloat16, the default on some processors, moves probabilities by
                    # thousandths.
                    "INFERENCE_PRECISION_HINT": "f32",
                    "INFERENCE_NUM_THREADS": self._threads,
                    "PERFORMANCE_HINT": "LATENCY",
                    "NUM_STREAMS": 1,
                    # Every process would take the first cores for its own.
                    "ENABLE_CPU_PINNING": False,
                },
            )
        )
        drop_signal_stack()
        return compiled.create_infer_request()
