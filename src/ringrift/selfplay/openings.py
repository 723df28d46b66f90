"""Seeds, and the random plies that games start with."""

from __future__ import annotations

import hashlib

import numpy as np

from ringrift.rules import Game, Options


def derive_seed(seed: int, *words: int | str) -> int:
    """A seed in [0, 2^63) for the purpose that `words` name: other words, another stream."""
    text = "/".join(str(word) for word in (seed, *words))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def random_opening(config: str, plies: int, seed: int, options: Options | None = None) -> tuple[int, ...]:
    """The packed moves of `plies` plies of uniformly random play, not ending the game."""
    rng = np.random.default_rng(seed)
    while True:
        game = Game(config, options)
        for _ in range(plies):
            if game.is_over:
                break
            moves = game.playable_moves()
            game.push(moves[int(rng.integers(len(moves)))])
        if not game.is_over:
            return tuple(int(move) for move in game.moves)
