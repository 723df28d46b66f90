"""A network exported to ONNX, run by onnxruntime on one CPU thread."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ringrift.errors import CorruptBlob
from ringrift.evaluators.metadata import KEY, ModelMetadata
from ringrift.rules import config_info

# onnxruntime's exceptions share no base of their own.
_LOAD_ERRORS = tuple(
    getattr(ort.capi.onnxruntime_pybind11_state, name)
    for name in ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
)


def session_options(threads: int = 1) -> ort.SessionOptions:
    """`threads` compute threads that never wait busily: a process per core scales better than threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


class OnnxEvaluator:
    """A trained network as an Evaluator.

    Raises: CorruptBlob where `source` is not a network of ours, FormatTooNew, EncodingMismatch.
    """

    def __init__(self, source: Path | str | bytes, threads: int = 1) -> None:
        name = "the network" if isinstance(source, bytes) else str(source)
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        try:
            self._session = ort.InferenceSession(data, session_options(threads), providers=["CPUExecutionProvider"])
        except _LOAD_ERRORS as error:
            raise CorruptBlob(f"{name} is not an ONNX file that onnxruntime can run ({error})") from error
        properties = self._session.get_modelmeta().custom_metadata_map
        self.metadata = ModelMetadata.from_json(properties.get(KEY), name)
        self.config = self.metadata.config
        self.num_seats = config_info(self.config).players

    def evaluate(
        self, planes: NDArray[np.uint8], globals_: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        policy, value = self._session.run(None, {"planes": planes, "globals": globals_})
        return policy, value
