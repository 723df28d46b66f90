"""Evaluators: from encoded positions to policy logits and winning probabilities, without torch.

`onnxruntime` is imported with `OnnxEvaluator` alone, so that the uniform evaluator needs numpy and nothing else.
"""

from typing import TYPE_CHECKING, Any

from ringrift.evaluators.metadata import FORMAT, ModelMetadata, read_metadata
from ringrift.evaluators.protocol import Evaluator, HeuristicEvaluator, UniformEvaluator

if TYPE_CHECKING:
    from ringrift.evaluators.onnx import OnnxEvaluator

__all__ = [
    "FORMAT",
    "Evaluator",
    "HeuristicEvaluator",
    "ModelMetadata",
    "OnnxEvaluator",
    "UniformEvaluator",
    "read_metadata",
]


def __getattr__(name: str) -> Any:
    if name == "OnnxEvaluator":
        from ringrift.evaluators.onnx import OnnxEvaluator

        return OnnxEvaluator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
