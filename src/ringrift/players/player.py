"""What a player answers, and the players that are no more than a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ringrift.evaluators import Evaluator
from ringrift.rules import Game, Move
from ringrift.search import GumbelSettings, greedy, search

#: One generator for all games, or one per game; with the latter a game's play does not depend on the games beside it.
Rng = Generator | Sequence[Generator]


@dataclass(frozen=True)
class Decision:
    """What a player does in one position."""

    move: Move
    policy: NDArray[np.float32] | None = None  # [A]
    """What it would have a network learn: probabilities over `game.playable_moves()`; none where it has no opinion."""
    value_by_seat: NDArray[np.float32] | None = None  # [P]
    """Each seat's probability of winning, as it sees it."""
    nodes: int = 0
    """Positions that it evaluated, where it counts them."""


@dataclass(frozen=True)
class Limit:
    """What a decision may cost; None: the player's own budget."""

    simulations: int | None = None
    seconds: float | None = None


class Player(Protocol):
    """Anything that can be asked for moves."""

    def decide(self, games: Sequence[Game], rng: Rng) -> list[Decision]:
        """One decision per game, in order; no game is over. Pure given `rng`; never changes `games`."""


def draw_seeds(rng: Rng, games: int) -> list[int]:
    """A seed per game."""
    if isinstance(rng, Generator):
        return [int(seed) for seed in rng.integers(1 << 63, size=games)]
    return [int(one.integers(1 << 63)) for one in rng]


class RandomPlayer:
    """Every playable move alike."""

    def decide(self, games: Sequence[Game], rng: Rng) -> list[Decision]:
        decisions = []
        for game, seed in zip(games, draw_seeds(rng, len(games)), strict=True):
            moves = game.playable_moves()
            decisions.append(Decision(moves[seed % len(moves)]))
        return decisions


class HeuristicPlayer:
    """The move after which the hand-written evaluation likes its own seat best; ties are drawn."""

    def decide(self, games: Sequence[Game], rng: Rng) -> list[Decision]:
        decisions = []
        for game, move in zip(games, greedy(games, draw_seeds(rng, len(games))), strict=True):
            playable = game.playable_moves()
            policy = np.zeros(len(playable), np.float32)
            policy[playable.index(move)] = 1
            decisions.append(Decision(move, policy))
        return decisions


class GumbelPlayer:
    """Gumbel search over an evaluator."""

    def __init__(self, evaluator: Evaluator, settings: GumbelSettings) -> None:
        self.evaluator, self.settings = evaluator, settings

    def decide(self, games: Sequence[Game], rng: Rng) -> list[Decision]:
        results = search(games, self.evaluator, self.settings, draw_seeds(rng, len(games)))
        return [Decision(result.move, result.policy, result.root_value, result.nodes) for result in results]
