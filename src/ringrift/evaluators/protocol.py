"""What every evaluator answers, and the evaluator that knows nothing."""

from typing import Protocol

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
