"""A network exported to ONNX, run by onnxruntime on one CPU thread.

The file's graph computes what search asks for. The model property `forecasts` holds the rest of the network as base64:
these bytes, put after those of the file, make a file whose graph computes everything (protobuf joins the two).
onnxruntime computes all outputs of a graph whichever are asked for, so that one graph for both would slow down search.
"""

import base64
from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ringrift.errors import CorruptBlob, DataError
from ringrift.evaluators.metadata import KEY, ModelMetadata
from ringrift.evaluators.protocol import EvaluationDetail, run_padded
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


#: Model property with the rest of the network.
FORECASTS = "forecasts"
#: Outputs of an exported network that search asks for; the others are computed for `evaluate_full` alone.
SEARCHED = ("policy", "value")
#: All outputs, in the order of the fields of `EvaluationDetail`.
OUTPUTS = ("policy", *(field.name for field in fields(EvaluationDetail)[1:]))


class OnnxEvaluator:
    """A trained network as an Evaluator.

    With `batch`, the network always runs on that many positions (`run_padded`), which makes its answers reproducible.

    Raises: CorruptBlob where `source` is not a network of ours, FormatTooNew, EncodingMismatch.
    """

    def __init__(self, source: Path | str | bytes, threads: int = 1, batch: int = 0) -> None:
        name = "the network" if isinstance(source, bytes) else str(source)
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        try:
            self._session = _session(data, threads)
            properties = self._session.get_modelmeta().custom_metadata_map
        except (*_LOAD_ERRORS, ValueError, MemoryError) as error:  # the former also of texts in it
            raise CorruptBlob(f"{name} is not an ONNX file that onnxruntime can run ({error})") from error
        self.metadata = ModelMetadata.from_json(properties.get(KEY), name)
        self.config = self.metadata.config
        self.num_seats = config_info(self.config).players
        self._batch = batch
        try:
            self._forecasts = base64.b64decode(properties.get(FORECASTS, ""))
        except ValueError as error:
            raise CorruptBlob(f"{name} has forecasts that cannot be read ({error})") from error
        self._data, self._threads = data, threads

    def evaluate(
        self, planes: NDArray[np.uint8], globals_: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        policy, value = self._run(self._session, planes, globals_)
        return policy, value

    def evaluate_full(self, planes: NDArray[np.uint8], globals_: NDArray[np.float32]) -> EvaluationDetail:
        """As `DetailedEvaluator`. Raises: DataError for a file that was exported without the forecasts."""
        return EvaluationDetail(*self._run(self._whole, planes, globals_))

    @cached_property
    def _whole(self) -> ort.InferenceSession:
        if not self._forecasts:
            raise DataError("the network was exported without forecasts: export its checkpoint again")
        return _session(self._data + self._forecasts, self._threads)

    def _run(
        self, session: ort.InferenceSession, planes: NDArray[np.uint8], globals_: NDArray[np.float32]
    ) -> Sequence[NDArray[Any]]:
        def run(planes: NDArray[np.uint8], globals_: NDArray[np.float32]) -> list[NDArray[Any]]:
            outputs: list[NDArray[Any]] = session.run(None, {"planes": planes, "globals": globals_})
            return outputs

        return run_padded(run, planes, globals_, self._batch)


def _session(data: bytes, threads: int) -> ort.InferenceSession:
    return ort.InferenceSession(data, session_options(threads), providers=["CPUExecutionProvider"], enable_fallback=0)
