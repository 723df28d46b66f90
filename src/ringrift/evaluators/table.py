"""The evaluators that a player may stand on. A new evaluator is a new row here and a file of its own."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from ringrift.errors import RulesError, unknown
from ringrift.evaluators.protocol import Evaluator
from ringrift.rules import config_info


@dataclass(frozen=True)
class EvaluatorSpec:
    """One row of EVALUATORS."""

    name: str
    about: str
    suffix: str
    """Suffix of the network's file, which chooses the row; empty where there is none."""
    place: str
    """`module:class`, imported when the first one is made: what a row needs, the others do not."""


EVALUATORS = {
    row.name: row
    for row in (
        EvaluatorSpec("uniform", "knows nothing", "", "ringrift.evaluators.protocol:UniformEvaluator"),
        EvaluatorSpec("heuristic", "asked by the core", "", "ringrift.evaluators.protocol:HeuristicEvaluator"),
        EvaluatorSpec("onnx", "exported network, int8 or float32", ".onnx", "ringrift.evaluators.onnx:OnnxEvaluator"),
        EvaluatorSpec("torch", "checkpoint on a GPU", ".safetensors", "ringrift.nets.evaluator:TorchEvaluator"),
    )
}


def make_evaluator(config: str, network: Path | None = None, batch: int = 0) -> Evaluator:
    """The evaluator for a network's file, by its suffix; without a file, the uniform one.

    `batch`: as of the row's class, a fixed number of positions in each call of the network, 0 for none.

    Raises: RulesError for a file of another kind or config; as the class of the row.
    """
    config_info(config)
    suffix = network.suffix if network else ""
    row = next((row for row in EVALUATORS.values() if row.suffix == suffix), None)
    if row is None or (network and not suffix):
        known = [row.suffix for row in EVALUATORS.values() if row.suffix]
        raise RulesError(f"{network}: {unknown('kind of network file', suffix, known)}")
    module, _, name = row.place.partition(":")
    kind = getattr(import_module(module), name)
    evaluator: Evaluator = kind(network, batch=batch) if network else kind(config)
    if evaluator.config != config:
        raise RulesError(f"{network} was trained for {evaluator.config}: it cannot play {config}")
    return evaluator
