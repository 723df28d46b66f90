"""The linear evaluation without a network, and the player that looks one turn ahead with it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringrift import _core
from ringrift.rules import Game, Move


class HeuristicRow(NamedTuple):
    """One feature and its weights."""

    name: str
    meaning: str
    weights: list[float]
    """for 2, 3 and 4 seats on small boards, then on large ones"""


HEURISTIC_TABLE = tuple(HeuristicRow(*row) for row in _core.heuristic_table())


def heuristic_values(game: Game) -> NDArray[np.float32]:  # [P]
    """Each seat's probability of winning as the linear evaluation sees it; of a finished game, the result."""
    return _core.heuristic_values(game)


def greedy(games: Sequence[Game], seeds: Sequence[int]) -> list[Move]:
    """For each game the move after which the mover's value is best; equal moves are drawn by the game's seed.

    Raises:
        RulesError: a game that is over.
    """
    return [game.move(int(bits)) for game, bits in zip(games, _core.greedy(games, list(seeds)), strict=True)]
