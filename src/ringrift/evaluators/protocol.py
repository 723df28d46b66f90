"""What every evaluator answers, and the evaluator that knows nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ringrift.encoding import policy_length
from ringrift.errors import RulesError
from ringrift.rules import config_info


class Evaluator(Protocol):
    """Judges a batch of encoded positions of one config. Pure: the same batch gives the same answer."""

    config: str
    num_seats: int

    def evaluate(
        self, planes: NDArray[np.uint8], globals_: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Policy logits [B, L] and value_rotated [B, P] of `planes` [B, C, H, W] and `globals_` [B, G].

        L is `encoding.policy_length(config)`: the policy planes flattened as [plane, x, y], then the global logits.
        `value_rotated[:, 0]` is the probability that the seat to move wins, then the next seats in turn order;
        a row sums to 1.
        """
        ...


@dataclass(frozen=True)
class EvaluationDetail:
    """All that a network says of a batch of positions. Seats are rotated: the seat to move is the first."""

    logits: NDArray[np.float32]  # [B, L]
    """policy logits, as `evaluate` gives them"""
    value: NDArray[np.float32]  # [B, P]
    """probability that the seat wins"""
    rank: NDArray[np.float32]  # [B, P, P]
    """probability that a seat (first index) takes a rank (second index, the best first)"""
    ownership: NDArray[np.float32]  # [B, 1 + P, H, W]
    """probability that the cell is nobody's territory when the game ends, or which seat's; 0 off the board"""
    territory_share: NDArray[np.float32]  # [B, P]
    """expected territory at the end as a share of the minimum that wins, at most 1"""
    eliminated_share: NDArray[np.float32]  # [B, P]
    """expected eliminated rings at the end as a share of the threshold that wins, at most 1"""
    plies_left: NDArray[np.float32]  # [B]
    """plies to the end of the game, a geometric mean"""


class DetailedEvaluator(Evaluator, Protocol):
    """An evaluator for analysis: it also says how it thinks the game will end."""

    def evaluate_full(self, planes: NDArray[np.uint8], globals_: NDArray[np.float32]) -> EvaluationDetail:
        """Policy and value as `evaluate` gives them, with the forecasts."""
        ...


def run_padded(
    run: Callable[[NDArray[np.uint8], NDArray[np.float32]], Sequence[NDArray[Any]]],
    planes: NDArray[np.uint8],
    globals_: NDArray[np.float32],
    size: int,
) -> Sequence[NDArray[Any]]:
    """The outputs of `run`, called with exactly `size` positions at a time, the last call filled up with copies of its
    last position; with `size` 0, one call with all.

    Arithmetic may depend on the shape of a batch; at one shape, an answer depends on its own position alone.
    """
    if size in (0, len(planes)):
        return run(planes, globals_)
    parts = []
    for start in range(0, len(planes), size):
        some, few = planes[start : start + size], globals_[start : start + size]
        missing = size - len(some)
        some = np.pad(some, ((0, missing), (0, 0), (0, 0), (0, 0)), "edge")
        outputs = run(some, np.pad(few, ((0, missing), (0, 0)), "edge"))
        parts.append([output[: size - missing] for output in outputs])
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


class UniformEvaluator:
    """Every move alike, every seat equally likely to win: the search alone decides."""

    def __init__(self, config: str) -> None:
        self.config = config
        self.num_seats = config_info(config).players
        self._policy_length = policy_length(config)

    def evaluate(
        self, planes: NDArray[np.uint8], globals_: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        batch = len(planes)
        logits = np.zeros((batch, self._policy_length), np.float32)
        return logits, np.full((batch, self.num_seats), 1.0 / self.num_seats, np.float32)


class HeuristicEvaluator:
    """The hand-written evaluation. Only searches in the core can ask it, and they do so by themselves."""

    def __init__(self, config: str) -> None:
        self.config = config
        self.num_seats = config_info(config).players

    def evaluate(
        self, planes: NDArray[np.uint8], globals_: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        raise RulesError("the heuristic judges positions, not their encodings: use heuristic_values(game)")
