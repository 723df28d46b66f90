"""Evaluators: from encoded positions to policy logits and winning probabilities, without torch.

`onnxruntime` is imported with `OnnxEvaluator` alone, so that the uniform evaluator needs numpy and nothing else.
"""

from typing import TYPE_CHECKING, Any

from ringrift.evaluators.metadata import FORMAT, ModelMetadata, read_metadata
from ringrift.evaluators.protocol import (
    DetailedEvaluator,
    EvaluationDetail,
    Evaluator,
    HeuristicEvaluator,
    UniformEvaluator,
)
from ringrift.evaluators.table import EVALUATORS, make_evaluator

if TYPE_CHECKING:
    from ringrift.evaluators.onnx import OnnxEvaluator

__all__ = [
    "EVALUATORS",
    "FORMAT",
    "DetailedEvaluator",
    "EvaluationDetail",
    "Evaluator",
    "HeuristicEvaluator",
    "ModelMetadata",
    "OnnxEvaluator",
    "UniformEvaluator",
    "make_evaluator",
    "read_metadata",
]


def __getattr__(name: str) -> Any:
    if name == "OnnxEvaluator":
        from ringrift.evaluators.onnx import OnnxEvaluator

        return OnnxEvaluator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
