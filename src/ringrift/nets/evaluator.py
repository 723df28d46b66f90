"""A checkpoint run by torch, as an Evaluator: for GPUs. On a CPU, the exported network is faster."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ringrift.evaluators.protocol import EvaluationDetail, run_padded
from ringrift.nets.checkpoint import load_checkpoint
from ringrift.nets.network import Inference


class TorchEvaluator:
    """A checkpoint as a DetailedEvaluator.

    `device`: as torch names it, or `auto`: CUDA, else MPS, else the CPU. `batch`: positions in each call
    (`run_padded`), 0 for as many as come; a GPU prefers one shape. `half`: 16-bit arithmetic, by default on CUDA.

    Raises: as `load_checkpoint`.
    """

    def __init__(
        self,
        source: Path | bytes,
        config: str | None = None,
        *,
        device: str = "auto",
        batch: int = 0,
        half: bool | None = None,
    ) -> None:
        network, self.metadata = load_checkpoint(source, config)
        self.config, self.num_seats = network.config, network.seats
        self.device = best_device() if device == "auto" else device
        self._half = self.device.startswith("cuda") if half is None else half
        self._batch = batch
        self._network = Inference(network).eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def evaluate(
        self, planes: NDArray[np.uint8], globals_: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        policy, value, *_ = self._run(planes, globals_)
        return policy, value

    def evaluate_full(self, planes: NDArray[np.uint8], globals_: NDArray[np.float32]) -> EvaluationDetail:
        return EvaluationDetail(*self._run(planes, globals_))

    @torch.inference_mode()
    def _run(self, planes: NDArray[np.uint8], globals_: NDArray[np.float32]) -> Sequence[NDArray[Any]]:
        def run(planes: NDArray[np.uint8], globals_: NDArray[np.float32]) -> list[NDArray[Any]]:
            inputs = (torch.from_numpy(array).to(self.device) for array in (planes, globals_))
            with torch.autocast(self.device.partition(":")[0], torch.float16, enabled=self._half):
                outputs = self._network(*inputs)
            return [output.float().cpu().numpy() for output in outputs]

        return run_padded(run, planes, globals_, self._batch)


def best_device() -> str:
    """The fastest kind of device of this machine."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
