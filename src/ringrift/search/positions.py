"""Positions from the middle of games, to measure on."""

from __future__ import annotations

import numpy as np

from ringrift.rules import Game


def middle_positions(config: str, count: int, seed: int = 0) -> list[Game]:
    """Positions with a choice from between a quarter and seven twelfths of as many random games, the same ones for the
    same seed."""
    rng, games = np.random.default_rng(seed), list[Game]()
    while len(games) < count:
        game = Game(config)
        while not game.is_over:
            moves = game.playable_packed()
            game.push_packed(int(moves[rng.integers(len(moves))]))
        middle = int(rng.integers(game.ply // 4, 7 * game.ply // 12))
        while game.ply > middle or len(game.playable_packed()) == 1:
            game.pop()
        games.append(game)
    return games
