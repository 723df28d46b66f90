"""What the architectures cost: size, arithmetic, and speed on this machine."""

import time
from collections.abc import Iterator, Sequence

import numpy as np

from ringrift.evaluators.onnx import OnnxEvaluator
from ringrift.nets.architectures import ARCHITECTURES
from ringrift.nets.checkpoint import initial_checkpoint
from ringrift.nets.export import export_onnx
from ringrift.nets.network import cost
from ringrift.nets.positions import Positions, random_positions


def rows(
    config: str,
    architectures: Sequence[str] = tuple(ARCHITECTURES),
    *,
    batch: int = 64,
    seconds: float = 1.0,
) -> Iterator[dict[str, object]]:
    """One row per architecture: parameters, operations per position, positions per CPU second (one thread)."""
    positions = random_positions(config, max(batch, 128))
    for name in architectures:
        parameters, flops = cost(name, config)
        row = {"architecture": name, "config": config, "parameters": parameters, "flops": flops, "batch": batch}
        for precision in ("float32", "int8"):
            file, report = export_onnx(initial_checkpoint(name, config), positions, precision=precision)
            if report.precision == precision:
                row[f"evals_per_s_{precision}"] = round(speed(OnnxEvaluator(file), positions, batch, seconds))
        yield row


def speed(evaluator: OnnxEvaluator, positions: Positions, batch: int, seconds: float = 1.0) -> float:
    """Positions per CPU second: the best of five stretches, since others may disturb but never help."""
    planes, globals_ = np.ascontiguousarray(positions.planes[:batch]), positions.globals[:batch]
    evaluator.evaluate(planes, globals_)
    best = 0.0
    for _ in range(5):
        began, done = time.process_time(), 0
        while (spent := time.process_time() - began) < seconds / 5:
            evaluator.evaluate(planes, globals_)
            done += len(planes)
        best = max(best, done / spent)
    return best
